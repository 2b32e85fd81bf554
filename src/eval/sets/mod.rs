//! Distances between two sets of cells: not where their means are, but how the cells lie.
//!
//! A set is an array `(cells, d)`: scores on principal components, or any other embedding. Each function is pure, sums
//! in f64, is symmetric in its two sets unless its doc says otherwise, and returns `None` where the quantity is not
//! defined (too few cells, columns that do not fit together): never NaN, never a stand-in 0.
//!
//! | file | quantity | convention of |
//! |---|---|---|
//! | `edistance` | E-distance, squared and plain; all pairs at once | scPerturb; pertpy |
//! | `energy_test` | permutation test on it, Holm-Sidak | scPerturb `etest` |
//! | `mmd` | maximum mean discrepancy: RBF, linear, energy | pertpy; geomloss |
//! | `wasserstein` | one-dimensional, and sliced | scipy; POT |
//! | `genes` | variances, shares of zeros, symmetric KL, a gene at a time | scGen; pertpy |
//! | `retrieval` | whose observed cells surround a predicted one? | ReconEval |
//!
//! **The squared E-distance sees means only.** With squared distances and unbiased within-group terms,
//! `2 delta - sigma_x - sigma_y = 2 |mean x - mean y|^2 - 2 v_x / n_x - 2 v_y / n_y`, `v` the total variance of a set:
//! twice the squared distance of the centroids less what chance adds to it. Two sets of equal means and different
//! spread are at distance 0. The plain form, the MMD with an RBF kernel and the Wasserstein distance see the spread.

mod edistance;
mod energy_test;
mod genes;
mod mmd;
mod pairs;
mod retrieval;
mod wasserstein;

pub use edistance::{EDistance, edistance, edistance_matrix};
pub use energy_test::{EnergyTest, energy_test, holm_sidak};
pub use genes::{GeneMoments, symmetric_kl, variance_correlation, zero_fraction_error};
pub use mmd::{RBF_WIDTHS, median_gamma, mmd_energy, mmd_linear, mmd_rbf};
pub use retrieval::knn_retrieval;
pub use wasserstein::{sliced_wasserstein, sliced_wasserstein_along, wasserstein_1d};

use rand::{SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;

/// At most `most` of `rows`, drawn without replacement, in the order given; the same for the same seed anywhere.
pub fn subsample(rows: &[usize], most: usize, seed: u64) -> Vec<usize> {
    if rows.len() <= most {
        return rows.to_vec();
    }
    let mut kept = index::sample(&mut ChaCha8Rng::seed_from_u64(seed), rows.len(), most).into_vec();
    kept.sort_unstable();
    kept.into_iter().map(|place| rows[place]).collect()
}
