//! Distances between sets: fused, composed, plain loops, PyTorch; and what a distance must do.

use super::{harness::*, oracle};
use genailab::{
    ErrorKind,
    dfdx::prelude::*,
    ndarray::ArrayView2,
    nn::{Backend, RowSets, SetDistance, composed, median_gamma},
};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

const TOLERANCE: f64 = 2e-5;

fn all(width: usize) -> [(&'static str, SetDistance); 3] {
    [
        ("energy", SetDistance::Energy),
        ("mmd", SetDistance::Mmd { gammas: [0.02, 0.1, 0.5].into() }),
        ("sliced", SetDistance::sliced(width, 9, &mut ChaCha8Rng::seed_from_u64(1))),
    ]
}

fn operation(
    is_fused: bool,
    width: usize,
    sets: &[RowSets; 2],
    y: &[f32],
    distance: &SetDistance,
) -> impl Fn(&[Vec<f32>], &[f32]) -> Outcome + Sync {
    move |inputs, upstream| {
        let (x, y) = (matrix(&inputs[0], width), matrix(y, width));
        let f: fn(_, &_, &_, &_, &_) -> _ = if is_fused { Cpu::set_distance } else { composed::set_distance };
        let value = f(x.leaky_trace(), &sets[0], &y, &sets[1], distance).expect("shapes fit");
        outcome(value, upstream, &[Leaf::Matrix(x)])
    }
}

fn square(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

/// The distance of two sets of rows, by the definition.
fn plain(x: &[f64], y: &[f64], width: usize, distance: &SetDistance) -> f64 {
    let mean = |a: &[f64], b: &[f64], f: &dyn Fn(f64) -> f64| {
        let pairs = (a.len() / width) * (b.len() / width);
        a.chunks(width).map(|a| b.chunks(width).map(|b| f(square(a, b))).sum::<f64>()).sum::<f64>() / pairs as f64
    };
    let radial = |f: &dyn Fn(f64) -> f64| 2.0 * mean(x, y, f) - mean(x, x, f) - mean(y, y, f);
    match distance {
        SetDistance::Energy => radial(&f64::sqrt),
        SetDistance::Mmd { gammas } => {
            radial(&|s| -gammas.iter().map(|&g| (-f64::from(g) * s).exp()).sum::<f64>() / gammas.len() as f64)
        }
        SetDistance::SlicedWasserstein { directions } => {
            let count = directions.len() / width;
            // Quantile functions on a grid that both sizes divide.
            let line = |rows: &[f64], direction: usize| {
                let project = |row: &[f64]| -> f64 {
                    row.iter().enumerate().map(|(j, v)| v * f64::from(directions[j * count + direction])).sum()
                };
                let mut values: Vec<f64> = rows.chunks(width).map(project).collect();
                values.sort_by(f64::total_cmp);
                values
            };
            let one = |direction| {
                let (a, b) = (line(x, direction), line(y, direction));
                let grid = a.len() * b.len();
                (0..grid).map(|at| (a[at / b.len()] - b[at / a.len()]).powi(2)).sum::<f64>() / grid as f64
            };
            (0..count).map(one).sum::<f64>() / count as f64
        }
    }
}

#[test]
fn fused_composed_and_plain_agree() {
    let (width, sets) = (3, [RowSets::from_sizes([4, 1, 3, 1]), RowSets::from_sizes([4, 3, 2, 1])]);
    let y: Vec<f32> = normal(30, 2).iter().map(|y| 0.7 * y + 0.3).collect();
    let values = [normal(27, 3)];
    let upstream = [1.0, -2.0, 3.0, 0.5];
    for (name, distance) in all(width) {
        let f = |i: &[Vec<f64>]| {
            let pairs = sets[0].ranges().zip(sets[1].ranges());
            let rows = |values: &[f64], range: std::ops::Range<usize>| values[range.start * 3..range.end * 3].to_vec();
            pairs.map(|(a, b)| plain(&rows(&i[0], a), &rows(&wide(&y), b), width, &distance)).collect()
        };
        let (output, gradients) = oracle::differentiate(&f, &[wide(&values[0])], &upstream);
        for is_fused in [true, false] {
            let got = operation(is_fused, width, &sets, &y, &distance)(&values, &upstream);
            agree(&format!("{name}, fused {is_fused}"), &got, &output, &gradients, TOLERANCE);
        }
    }
}

#[test]
fn distances_match_pytorch() {
    let case = reference("energy");
    let sets = [RowSets::from_sizes(case.queries), RowSets::from_sizes(case.keys)];
    let distances = [
        ("energy", SetDistance::Energy),
        ("mmd", SetDistance::Mmd { gammas: case.gammas.into() }),
        ("sliced", SetDistance::SlicedWasserstein { directions: case.directions.into() }),
    ];
    for (name, distance) in &distances {
        matches_reference(name, &["x"], &operation(true, 4, &sets, &case.target, distance), 1e-5);
        matches_reference(name, &["x"], &operation(false, 4, &sets, &case.target, distance), 1e-5);
    }
}

#[test]
fn equal_sets_are_at_distance_zero_wherever_they_lie() {
    // Far from 0, and each row twice: the matrix product alone would see distances of rounding errors.
    let rows: Vec<f32> = normal(40 * 20, 4).iter().map(|v| 100.0 + v).collect();
    let x = [rows.clone(), rows].concat();
    let reversed: Vec<f32> = x.chunks(20).rev().flatten().copied().collect();
    let sets = [RowSets::uniform(1, 80), RowSets::uniform(1, 80)];
    for (name, distance) in all(20) {
        let got = operation(true, 20, &sets, &reversed, &distance)(std::slice::from_ref(&x), &[1.0]);
        assert!(got.output[0].abs() < 1e-5, "{name} of a set to itself is {}", got.output[0]);
        let largest = got.gradients[0].iter().fold(0.0f32, |a, g| a.max(g.abs()));
        assert!(largest < 1e-4, "{name}: a gradient of {largest} where nothing can improve");
    }
}

#[test]
fn following_the_gradient_brings_sets_together() {
    let (width, n) = (2, 40);
    let y: Vec<f32> = normal(n * width, 5).iter().map(|v| 2.0 + 0.5 * v).collect();
    let sets = [RowSets::uniform(1, n), RowSets::uniform(1, n)];
    for (name, distance) in all(width) {
        let run = operation(true, width, &sets, &y, &distance);
        let mut x = [normal(n * width, 6)];
        let before = run(&x, &[1.0]).output[0];
        for _ in 0..200 {
            let gradient = run(&x, &[1.0]).gradients.remove(0);
            x[0].iter_mut().zip(gradient).for_each(|(x, g)| *x -= 0.25 * n as f32 * g);
        }
        let after = run(&x, &[1.0]).output[0];
        assert!(after < 0.05 * before && after > -1e-5, "{name}: {before} -> {after}");
    }
}

#[test]
fn directions_are_unit_vectors_and_gamma_is_the_median() {
    let SetDistance::SlicedWasserstein { directions } = SetDistance::sliced(5, 7, &mut ChaCha8Rng::seed_from_u64(2))
    else {
        panic!("another distance");
    };
    for column in 0..7 {
        let square: f32 = directions.iter().skip(column).step_by(7).map(|v| v * v).sum();
        assert!((square - 1.0).abs() < 1e-5);
    }
    // Squared distances 1, 4, 9
    let y = [0.0, 1.0, 3.0];
    assert_eq!(median_gamma(ArrayView2::from_shape((3, 1), &y).expect("3 rows")), Some(0.125));
    assert_eq!(median_gamma(ArrayView2::from_shape((3, 1), &[1.0; 3]).expect("3 rows")), None);
    assert_eq!(median_gamma(ArrayView2::from_shape((1, 1), &[1.0]).expect("1 row")), None);
}

#[test]
fn what_has_no_distance_is_refused() {
    let (x, one) = (matrix(&[0.0; 6], 3), RowSets::uniform(1, 2));
    let run = |distance: &SetDistance, x_sets: &RowSets, y_sets: &RowSets| {
        distance.forward(x.clone(), x_sets, &x, y_sets).expect_err("refused").to_string()
    };
    let empty = RowSets::from_sizes([2, 0]);
    assert_eq!(
        run(&SetDistance::Energy, &empty, &empty),
        "distance of sets: set 1 of the batch is empty, and has no distance to anything"
    );
    assert!(run(&SetDistance::Energy, &one, &RowSets::uniform(2, 1)).contains("1 predicted sets, but 2 observed"));
    assert!(run(&SetDistance::Energy, &RowSets::uniform(1, 3), &one).contains("3 rows in all"));
    for gammas in [vec![], vec![0.0], vec![1.0, f32::NAN]] {
        assert!(run(&SetDistance::Mmd { gammas: gammas.into() }, &one, &one).contains("all positive"));
    }
    let nothing = matrix(&[], 1).reshape_like(&(2, 0));
    let error = SetDistance::Energy.forward(nothing.clone(), &one, &nothing, &one).expect_err("no feature");
    assert_eq!(error.to_string(), "distance of sets: rows without features have no distance");
    let none =
        SetDistance::Energy.forward(matrix(&[], 3), &RowSets::uniform(0, 1), &matrix(&[], 3), &RowSets::uniform(0, 1));
    assert_eq!(*none.expect("no pair of sets").shape(), (0,));
    let directions = vec![1.0; 4].into();
    assert!(run(&SetDistance::SlicedWasserstein { directions }, &one, &one).contains("4 numbers are no directions"));
    let error = SetDistance::Energy.forward(x.clone(), &one, &matrix(&[0.0; 4], 2), &one).expect_err("2 is not 3");
    assert_eq!(error.kind(), ErrorKind::Shape);
}

#[test]
fn threads_do_not_change_a_bit() {
    let (width, sets) = (32, [RowSets::from_sizes([150, 70]), RowSets::from_sizes([90, 130])]);
    let (values, y) = ([normal(220 * width, 7)], normal(220 * width, 8));
    for (name, distance) in all(width) {
        same_bits_with_any_threads(name, &|| operation(true, width, &sets, &y, &distance)(&values, &[1.0, 2.0]));
    }
}
