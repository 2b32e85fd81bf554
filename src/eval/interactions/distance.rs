//! Distance correlation: zero only where two vectors are independent, so it sees what a line does not.
//!
//! With `a_ij = |x_i - x_j|` and `b_ij = |y_i - y_j|` over genes i and j, and `a_i.`, `a_..` their means,
//!
//! ```text
//! dCov^2(x, y) = mean_ij(a b) - 2 mean_i(a_i. b_i.) + a_.. b_..
//! dCor = sqrt(dCov^2(x, y) / sqrt(dCov^2(x, x) dCov^2(y, y)))
//! ```
//!
//! Source: Szekely, Rizzo and Bakirov, Annals of Statistics 2007, the V-statistic; `dcor.distance_correlation` in Python,
//! which GEARS calls. x may have several columns (both singles): the distance is Euclidean. Time is O(genes^2).

/// The squared distance (co)variances that a double needs, of one pass over all pairs of genes.
pub(super) struct Distances {
    /// Distance correlation of the two singles.
    pub singles: Option<f64>,
    /// Of the first single and the double.
    pub first: Option<f64>,
    /// Of the second single and the double.
    pub second: Option<f64>,
    /// Of both singles together and the double.
    pub both: Option<f64>,
}

impl Distances {
    pub fn of(first: &[f32], second: &[f32], double: &[f32]) -> Self {
        let n = double.len();
        // 0: first, 1: second, 2: double, 3: both singles together.
        let mut sums = vec![[0.0_f64; 4]; n];
        // Products of distances: each with itself, then the four pairs.
        let mut products = [0.0_f64; 8];
        for i in 0..n {
            let (a, b, d) = (f64::from(first[i]), f64::from(second[i]), f64::from(double[i]));
            let mut own = [0.0_f64; 4];
            for j in i + 1..n {
                let x = (a - f64::from(first[j])).abs();
                let y = (b - f64::from(second[j])).abs();
                let z = (d - f64::from(double[j])).abs();
                let both = (x * x + y * y).sqrt();
                let distance = [x, y, z, both];
                own.iter_mut().zip(distance).for_each(|(sum, d)| *sum += d);
                sums[j].iter_mut().zip(distance).for_each(|(sum, d)| *sum += d);
                let new = [x * x, y * y, z * z, x * x + y * y, x * y, x * z, y * z, both * z];
                products.iter_mut().zip(new).for_each(|(sum, p)| *sum += p);
            }
            sums[i].iter_mut().zip(own).for_each(|(sum, d)| *sum += d);
        }
        let size = n as f64;
        let means: Vec<[f64; 4]> = sums.iter().map(|row| row.map(|sum| sum / size)).collect();
        let grand: [f64; 4] = std::array::from_fn(|k| means.iter().map(|row| row[k]).sum::<f64>() / size);
        let covariance = |x: usize, y: usize, product: f64| {
            let rows = means.iter().map(|row| row[x] * row[y]).sum::<f64>() / size;
            2.0 * product / (size * size) - 2.0 * rows + grand[x] * grand[y]
        };
        let own: [f64; 4] = std::array::from_fn(|k| covariance(k, k, products[k]));
        let correlation = |x: usize, y: usize, product: f64| {
            // A constant vector has no distance variance; rounding may leave a trace of it.
            let known = |k: usize| own[k] > 1e-14 * grand[k] * grand[k];
            (known(x) && known(y))
                .then(|| (covariance(x, y, product).max(0.0) / (own[x] * own[y]).sqrt()).sqrt().min(1.0))
        };
        Self {
            singles: correlation(0, 1, products[4]),
            first: correlation(0, 2, products[5]),
            second: correlation(1, 2, products[6]),
            both: correlation(3, 2, products[7]),
        }
    }
}

/// Distance correlation of two vectors, in 0..=1. `None` if they differ in length or one is constant.
pub fn distance_correlation(x: &[f32], y: &[f32]) -> Option<f64> {
    if x.len() != y.len() || x.len() < 2 { None } else { Distances::of(x, y, y).singles }
}
