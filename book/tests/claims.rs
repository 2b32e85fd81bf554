//! Numbers that the chapters state and no test of the library holds.

/// Small and good enough to simulate with: the generator of Numerical Recipes, section 7.1 ("Ranq1").
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 >> 21;
        self.0 ^= self.0 << 35;
        self.0 ^= self.0 >> 4;
        (self.0.wrapping_mul(2_685_821_657_736_338_717) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().max(f64::MIN_POSITIVE).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    fn mean_of(&mut self, n: usize) -> f64 {
        (0..n).map(|_| self.normal()).sum::<f64>() / n as f64
    }
}

/// Chapter 1, section 4: the transform that makes the variance of a negative binomial constant, and its logarithms.
#[test]
fn pseudo_counts_of_the_acosh_transform() {
    let transform = |alpha_mu: f64| (2.0 * alpha_mu + 1.0).acosh();
    let wide = |alpha_mu: f64| (4.0 * alpha_mu + 2.0).ln();
    let narrow = |alpha_mu: f64| (4.0 * alpha_mu + 1.0).ln();
    let near = |a: f64, b: f64| (a - b).abs() < 5e-4;
    assert!(near(transform(1.0), 1.763) && near(wide(1.0), 1.792) && near(narrow(1.0), 1.609));
    assert!((transform(1e4) - wide(1e4)).abs() < 1e-8, "pseudo-count 1/(2 alpha) for large means");
    assert!(wide(1e4) - narrow(1e4) > 1e-5);
    assert_eq!((transform(0.0), narrow(0.0)), (0.0, 0.0), "pseudo-count 1/(4 alpha) at 0");
}

/// Chapter 3, section 4: a perfect mean has half of the L2 of two halves.
#[test]
fn a_perfect_mean_has_half_the_error_of_two_halves() {
    let (mut random, cells, genes) = (Random(11), 40, 4_000);
    let (mut halves, mut perfect) = (0.0, 0.0);
    for _ in 0..genes {
        let (first, second) = (random.mean_of(cells / 2), random.mean_of(cells / 2));
        halves += (first - second).powi(2);
        perfect += ((first + second) / 2.0).powi(2);
    }
    let expected = genes as f64 / cells as f64;
    assert!((halves / (4.0 * expected) - 1.0).abs() < 0.1, "{halves} against {}", 4.0 * expected);
    assert!((perfect / expected - 1.0).abs() < 0.1, "{perfect} against {expected}");
    assert!(((perfect / halves).sqrt() - 0.5).abs() < 0.04);
}

/// Chapter 8, section 2: lines of an optimal coupling may cross in space, but do not meet at the same time.
#[test]
fn optimal_lines_may_cross() {
    type Point = [f64; 2];
    let cost = |a: Point, b: Point| (b[0] - a[0]).powi(2) + (b[1] - a[1]).powi(2);
    let (starts, ends): ([Point; 2], [Point; 2]) = ([[0.0, 0.0], [1.0, -1.0]], [[10.0, 0.0], [12.0, 1.0]]);
    assert_eq!((cost(starts[0], ends[0]), cost(starts[1], ends[1])), (100.0, 125.0));
    assert_eq!((cost(starts[0], ends[1]), cost(starts[1], ends[0])), (145.0, 82.0));
    let at = |i: usize, t: f64| [0, 1].map(|axis: usize| (1.0 - t) * starts[i][axis] + t * ends[i][axis]);
    assert!(cost(at(0, 0.65), at(1, 0.5)) < 1e-20, "they cross in space");
    let apart = (0..=1000).map(|k| f64::from(k) / 1000.0).map(|t| cost(at(0, t), at(1, t))).fold(f64::MAX, f64::min);
    assert!(apart > 0.1, "and never meet at the same time: {apart}");
}

/// Chapter 7, section 4: Ho and Salimans' scale is ours minus one.
#[test]
fn two_ways_to_write_guidance() {
    let (conditional, unconditional, w): (f64, f64, f64) = (0.7, -0.2, 2.0);
    let theirs = (1.0 + w) * conditional - w * unconditional;
    let ours = unconditional + (w + 1.0) * (conditional - unconditional);
    assert!((theirs - ours).abs() < 1e-12);
}
