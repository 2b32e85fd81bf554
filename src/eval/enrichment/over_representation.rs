//! Over-representation: more of a set's genes among the changed ones than a random draw would hold?
//!
//! Of N measured genes, K are in the set and n are changed. k of the set's genes are changed with a probability of at least
//!
//! ```text
//! P(X >= k) = sum_{i >= k} C(K, i) C(N - K, n - i) / C(N, n)
//! ```
//!
//! Source: the one-sided Fisher exact test; `scipy.stats.hypergeom.sf(k - 1, N, K, n)`, gseapy's `enrich`.

use crate::{data::MeasuredSets, eval::benjamini_hochberg};

/// What the test says of each set, in the order of the sets.
#[derive(Debug, Clone)]
pub struct OverRepresentation {
    /// Changed genes in each set.
    pub hits: Vec<usize>,
    /// Changed genes that a random draw would put there, `K n / N`.
    pub expected: Vec<f64>,
    /// One-sided p-values.
    pub p_values: Vec<f64>,
    /// The same, adjusted by Benjamini and Hochberg over the sets.
    pub p_adjusted: Vec<f64>,
}

/// Tests every set for the genes `changed` (columns; each counts once).
pub fn over_representation(changed: &[usize], sets: &MeasuredSets) -> OverRepresentation {
    let mut is_changed = vec![false; sets.n_genes];
    changed.iter().for_each(|&gene| is_changed[gene] = true);
    let n = is_changed.iter().filter(|&&c| c).count();
    let log_factorials = log_factorials(sets.n_genes);
    let hits: Vec<usize> =
        sets.columns.iter().map(|set| set.iter().filter(|&&gene| is_changed[gene]).count()).collect();
    let p_values: Vec<f64> = sets
        .columns
        .iter()
        .zip(&hits)
        .map(|(set, &k)| upper_tail(k, sets.n_genes, set.len(), n, &log_factorials))
        .collect();
    OverRepresentation {
        expected: sets.columns.iter().map(|set| set.len() as f64 * n as f64 / sets.n_genes as f64).collect(),
        hits,
        p_adjusted: benjamini_hochberg(&p_values),
        p_values,
    }
}

/// P(X >= `hits`) for a draw of `drawn` from `total`, of which `marked` are marked.
pub fn hypergeometric_upper(hits: usize, total: usize, marked: usize, drawn: usize) -> f64 {
    upper_tail(hits, total, marked, drawn, &log_factorials(total))
}

fn upper_tail(hits: usize, total: usize, marked: usize, drawn: usize, log_factorials: &[f64]) -> f64 {
    let choose = |n: usize, k: usize| log_factorials[n] - log_factorials[k] - log_factorials[n - k];
    let least = (marked + drawn).saturating_sub(total);
    if hits <= least {
        return 1.0;
    }
    let all = choose(total, drawn);
    let term = |i: usize| (choose(marked, i) + choose(total - marked, drawn - i) - all).exp();
    // From the far end, so that small terms are added first.
    (hits..=marked.min(drawn)).rev().map(term).sum::<f64>().min(1.0)
}

/// ln(i!) for i up to `n`.
fn log_factorials(n: usize) -> Vec<f64> {
    let mut sum = 0.0;
    std::iter::once(0.0)
        .chain((1..=n).map(|i| {
            sum += (i as f64).ln();
            sum
        }))
        .collect()
}
