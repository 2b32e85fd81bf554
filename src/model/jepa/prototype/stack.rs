//! How much of each departure is used: chosen on combinations that its parts have not seen.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

/// Steps that a share is tried in.
const STEPS: usize = 4;

/// Shares of the three departures, each from 0 to 1, at most 1 together: all three estimate the same remainder.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Mixture {
    /// Of the memory of sums.
    pub sums: f64,
    /// Of the memory of predicted embeddings.
    pub embeddings: f64,
    /// Of the decoded departure.
    pub decoded: f64,
    /// Mean L2 of the mixture on the left-out training combinations, as a share of that of the scaled sum.
    pub error: f64,
}

impl Mixture {
    /// The shares with the smallest weighted mean L2 of `departures - mixture`; all arrays `(combinations, genes)`.
    pub(super) fn choose(departures: &Array2<f64>, parts: &[Array2<f64>; 3], weights: &[f64]) -> Self {
        let columns = [departures, &parts[0], &parts[1], &parts[2]];
        // |r - sum_k c_k p_k|^2 from the products of the four, for all mixtures at once.
        let products: Vec<[[f64; 4]; 4]> = (0..departures.nrows())
            .map(|row| std::array::from_fn(|a| std::array::from_fn(|b| columns[a].row(row).dot(&columns[b].row(row)))))
            .collect();
        let error = |shares: [f64; 3]| -> f64 {
            let c = [-1.0, shares[0], shares[1], shares[2]];
            let square = |m: &[[f64; 4]; 4]| {
                (0..4).flat_map(|a| (0..4).map(move |b| (a, b))).map(|(a, b)| c[a] * c[b] * m[a][b]).sum::<f64>()
            };
            products.iter().zip(weights).map(|(m, weight)| weight * square(m).max(0.0).sqrt()).sum()
        };
        let start = error([0.0; 3]);
        let mut best = Self { error: 1.0, ..Self::default() };
        if start <= 0.0 {
            return best;
        }
        for i in 0..=STEPS {
            for j in 0..=STEPS - i {
                for k in 0..=STEPS - i - j {
                    let shares = [i, j, k].map(|step| step as f64 / STEPS as f64);
                    let share = error(shares) / start;
                    if share < best.error {
                        best = Self { sums: shares[0], embeddings: shares[1], decoded: shares[2], error: share };
                    }
                }
            }
        }
        best
    }
}
