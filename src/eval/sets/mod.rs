//! Distances between two sets of cells: not where their means are, but how the cells lie.
//!
//! A set is an array `(cells, d)`: scores on principal components, or any other embedding. Each function is pure, sums
//! in f64, is symmetric in its two sets unless its doc says otherwise, and returns `None` where the quantity is not
//! defined (too few cells, columns that do not fit together): never NaN, and never 0 in place of nothing.
//!
//! | file | quantity | convention of |
//! |---|---|---|
//! | `edistance` | E-distance, squared and plain, all pairs at once; the permutation test on it, Holm-Sidak | scPerturb and its `etest`; pertpy |
//! | `mmd` | maximum mean discrepancy: RBF, linear, energy | pertpy; geomloss |
//! | `wasserstein` | one-dimensional, and sliced | scipy; POT |
//! | `genes` | variances, shares of zeros, symmetric KL, one gene at a time | scGen; pertpy |
//! | here | whose observed cells surround a predicted one? | ReconEval |
//!
//! **The squared E-distance sees means only.** With squared distances and unbiased within-group terms,
//! `2 delta - sigma_x - sigma_y = 2 |mean x - mean y|^2 - 2 v_x / n_x - 2 v_y / n_y`, `v` the total variance of a set:
//! twice the squared distance of the centroids less what chance adds to it. Two sets of equal means and different
//! spread are at distance 0. The plain form, the MMD with an RBF kernel and the Wasserstein distance see the spread.

mod edistance;
mod genes;
mod mmd;
mod pairs;
mod wasserstein;

pub use edistance::{EDistance, EnergyTest, edistance, edistance_matrix, energy_test, holm_sidak};
pub use genes::{GeneMoments, symmetric_kl, variance_correlation, zero_fraction_error};
pub use mmd::{RBF_WIDTHS, median_gamma, mmd_energy, mmd_linear, mmd_rbf};
pub use wasserstein::{sliced_wasserstein, sliced_wasserstein_along, wasserstein_1d};

use ndarray::{Array2, ArrayView2, Axis};
use pairs::{Cloud, squared_distances};
use rand::{SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Predicted cells whose distances to the whole pool are held at once by a thread.
const BLOCK: usize = 64;

/// At most `most` of `rows`, drawn without replacement, in the order given; the same for the same seed anywhere.
pub fn subsample(rows: &[usize], most: usize, seed: u64) -> Vec<usize> {
    if rows.len() <= most {
        return rows.to_vec();
    }
    let mut kept = index::sample(&mut ChaCha8Rng::seed_from_u64(seed), rows.len(), most).into_vec();
    kept.sort_unstable();
    kept.into_iter().map(|place| rows[place]).collect()
}

/// At most `most` of the rows of `cells`, as [`subsample`] draws them.
pub fn subsample_cells(cells: ArrayView2<'_, f32>, most: usize, seed: u64) -> Array2<f32> {
    cells.select(Axis(0), &subsample(&(0..cells.nrows()).collect::<Vec<_>>(), most, seed))
}

/// Share of the `k` nearest observed cells of each predicted cell that belong to `own`, the predicted condition, averaged
/// over the predicted cells.
///
/// `pool` `(observed cells, d)` are observed cells of several conditions, `labels` the condition of each; let each
/// condition have the same number of cells, then an uninformative prediction gets `1 / conditions`. Equal distances
/// go by the order of the pool. This is ReconEval's kNN purity (its pool: the true cells and control, k = 20) with every
/// other condition in the pool, so that a prediction must be specific and not only unlike control. Not symmetric.
///
/// `None` where a set is empty, the columns differ, a label is missing, a value is not finite, or `k` is 0 or larger
/// than the pool.
pub fn knn_retrieval(
    predicted: ArrayView2<'_, f32>,
    own: u32,
    pool: ArrayView2<'_, f32>,
    labels: &[u32],
    k: usize,
) -> Option<f64> {
    if k == 0 || k > pool.nrows() || labels.len() != pool.nrows() {
        return None;
    }
    let (predicted, pool) = Cloud::pair(predicted, pool)?;
    let found: usize = predicted
        .cells
        .axis_chunks_iter(Axis(0), BLOCK)
        .into_par_iter()
        .zip(predicted.squares.axis_chunks_iter(Axis(0), BLOCK))
        .map(|(cells, squares)| {
            let block = Cloud { cells: cells.to_owned(), squares: squares.to_owned() };
            let distances = squared_distances(&block, &pool); // (block, pool)
            let mut order: Vec<u32> = (0..pool.len() as u32).collect();
            let mut own_cells = 0;
            for distances in distances.rows() {
                let nearer =
                    |a: &u32, b: &u32| distances[*a as usize].total_cmp(&distances[*b as usize]).then(a.cmp(b));
                order.select_nth_unstable_by(k - 1, nearer);
                own_cells += order[..k].iter().filter(|&&cell| labels[cell as usize] == own).count();
            }
            own_cells
        })
        .sum();
    Some(found as f64 / (k * predicted.len()) as f64)
}
