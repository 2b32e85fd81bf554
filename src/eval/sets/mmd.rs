//! Maximum mean discrepancy (Gretton et al., JMLR 2012): how far apart two sets are for a kernel k.
//!
//! ```text
//! MMD^2(x, y) = mean k(x, x') + mean k(y, y') - 2 mean k(x, y)
//! ```
//!
//! Means are over all pairs, a cell with itself included (the V-statistic), as in pertpy's `mmd`; the square root is not
//! taken. It is never negative, and above 0 for two samples of one distribution.

use super::{
    EDistance, edistance,
    pairs::{Cloud, squared_distances, sum_between, sum_within},
};
use ndarray::{ArrayView2, Axis};

/// Factors on `gamma` of the RBF kernels that are added up: a single width sees differences of its own size only.
/// Five widths, each twice the next (Long et al., ICML 2015). Powers of two, so that one exponential gives all five.
pub const RBF_WIDTHS: [f64; 5] = [0.25, 0.5, 1.0, 2.0, 4.0];

/// Rows beyond which the median distance is taken of evenly spaced ones.
const MEDIAN_ROWS: usize = 1000;

/// `gamma = 1 / (2 s^2)` with s the median distance between two cells of `x` `(cells, d)`: the median heuristic
/// (Gretton et al. 2012, section 8). Of 1,000 evenly spaced cells of a larger set.
///
/// Give it the cells that stay the same while predictions change, or both sets stacked for Gretton's pooled form.
/// `None` with fewer than two cells, values that are not finite, or a median of 0.
pub fn median_gamma(x: ArrayView2<'_, f32>) -> Option<f64> {
    if x.nrows() < 2 {
        return None;
    }
    let step = x.nrows().div_ceil(MEDIAN_ROWS);
    let rows: Vec<usize> = (0..x.nrows()).step_by(step).collect();
    let thinned = x.select(Axis(0), &rows);
    let (cloud, _) = Cloud::pair(thinned.view(), thinned.view())?;
    let distances = squared_distances(&cloud, &cloud);
    let mut pairs: Vec<f64> = distances.indexed_iter().filter(|((i, j), _)| i < j).map(|(_, &value)| value).collect();
    let middle = pairs.len() / 2;
    let odd = pairs.len() % 2 == 1;
    let (below, &mut upper, _) = pairs.select_nth_unstable_by(middle, f64::total_cmp);
    // Of an even number the mean of the two middle distances, as numpy's median has it.
    let largest_below = below.iter().copied().fold(0.0, f64::max);
    let median = if odd { upper.sqrt() } else { f64::midpoint(upper.sqrt(), largest_below.sqrt()) };
    (median > 0.0).then(|| 0.5 / (median * median))
}

/// Squared MMD with a sum of five RBF kernels, `k(x, y) = sum over w of exp(-w gamma |x - y|^2)`, w in [`RBF_WIDTHS`];
/// between 0 and 10. One of its terms is pertpy's `mmd` with `kernel="rbf"`.
///
/// `None` where a set is empty, the columns differ, or `gamma` is not positive.
pub fn mmd_rbf(x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>, gamma: f64) -> Option<f64> {
    if !(gamma > 0.0 && gamma.is_finite()) {
        return None;
    }
    let (x, y) = Cloud::pair(x, y)?;
    let widest = -gamma * RBF_WIDTHS[0];
    let kernel = |squared: f64| {
        let mut term = (widest * squared).exp();
        let mut sum = term;
        for _ in 1..RBF_WIDTHS.len() {
            term *= term;
            sum += term;
        }
        sum
    };
    let (n, m) = (x.len() as f64, y.len() as f64);
    let xx = sum_within(&x, kernel) / (n * n);
    let yy = sum_within(&y, kernel) / (m * m);
    Some(xx + yy - 2.0 * sum_between(&x, &y, kernel) / (n * m))
}

/// Squared MMD with the linear kernel, pertpy's default: `|mean x - mean y|^2`. It sees means only.
///
/// `None` where a set is empty or the columns differ.
pub fn mmd_linear(x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>) -> Option<f64> {
    let (x, y) = Cloud::pair(x, y)?;
    let apart = x.cells.mean_axis(Axis(0))? - y.cells.mean_axis(Axis(0))?;
    Some(apart.dot(&apart))
}

/// Energy MMD, kernel `-|x - y|`, as geomloss' `SamplesLoss("energy")` has it: `delta - sigma_x / 2 - sigma_y / 2`, half
/// of [`EDistance::Plain`]. PerturBench reports it under the name MMD.
///
/// `None` where a set is empty or the columns differ.
pub fn mmd_energy(x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>) -> Option<f64> {
    edistance(x, y, EDistance::Plain).map(|e| 0.5 * e)
}
