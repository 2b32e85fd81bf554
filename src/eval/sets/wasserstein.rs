//! Wasserstein distance of order 1: exactly in one dimension, and averaged over directions in many.
//!
//! ```text
//! W1(x, y)  = integral of |F_x(t) - F_y(t)| dt            F the empirical distribution function
//! SW1(x, y) = mean over directions u of W1(x u, y u)      u uniform on the unit sphere
//! ```
//!
//! The first is scipy's `wasserstein_distance`, the second POT's `sliced_wasserstein_distance` with `p = 1` (Bonneel et
//! al. 2015). The sliced one needs no transport plan: `O(directions n log n)`, and no entropic smoothing.

use ndarray::{Array2, ArrayView2, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

/// Exact distance of order 1 of two samples, of any sizes. `None` where one is empty or not finite.
pub fn wasserstein_1d(x: &[f64], y: &[f64]) -> Option<f64> {
    if x.is_empty() || y.is_empty() || x.iter().chain(y).any(|value| !value.is_finite()) {
        return None;
    }
    let (mut x, mut y) = (x.to_vec(), y.to_vec());
    x.sort_unstable_by(f64::total_cmp);
    y.sort_unstable_by(f64::total_cmp);
    Some(of_sorted(&x, &y))
}

fn of_sorted(x: &[f64], y: &[f64]) -> f64 {
    let (n, m) = (x.len() as f64, y.len() as f64);
    let (mut i, mut j) = (0, 0);
    let mut sum = 0.0;
    let mut at = x[0].min(y[0]);
    while i < x.len() || j < y.len() {
        let next = match (x.get(i), y.get(j)) {
            (Some(&a), Some(&b)) => a.min(b),
            (Some(&a), None) => a,
            (None, Some(&b)) => b,
            (None, None) => break,
        };
        sum += (i as f64 / n - j as f64 / m).abs() * (next - at);
        at = next;
        if x.get(i) == Some(&next) {
            i += 1;
        } else {
            j += 1;
        }
    }
    sum
}

/// Sliced distance of order 1 of two sets `(cells, d)`, over `n_projections` directions drawn by `seed`.
///
/// `None` where a set is empty or not finite, the columns differ, or there is no direction.
pub fn sliced_wasserstein(
    x: ArrayView2<'_, f32>,
    y: ArrayView2<'_, f32>,
    n_projections: usize,
    seed: u64,
) -> Option<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut directions: Array2<f64> =
        Array2::from_shape_simple_fn((n_projections, x.ncols()), || StandardNormal.sample(&mut rng));
    for mut direction in directions.rows_mut() {
        let norm = direction.dot(&direction).sqrt();
        direction /= norm;
    }
    sliced_wasserstein_along(x, y, directions.view())
}

/// The same along given directions `(directions, d)`, which should be unit vectors.
///
/// `None` as [`sliced_wasserstein`].
pub fn sliced_wasserstein_along(
    x: ArrayView2<'_, f32>,
    y: ArrayView2<'_, f32>,
    directions: ArrayView2<'_, f64>,
) -> Option<f64> {
    if x.ncols() != y.ncols() || x.ncols() != directions.ncols() || directions.is_empty() {
        return None;
    }
    let project = |cells: ArrayView2<'_, f32>| directions.dot(&cells.mapv(f64::from).t()); // (directions, cells)
    let (x, y) = (project(x), project(y));
    let distances: Option<Vec<f64>> = (x.axis_iter(Axis(0)).into_par_iter())
        .zip(y.axis_iter(Axis(0)))
        .map(|(x, y)| wasserstein_1d(&x.to_vec(), &y.to_vec()))
        .collect();
    distances.map(|distances| distances.iter().sum::<f64>() / directions.nrows() as f64)
}
