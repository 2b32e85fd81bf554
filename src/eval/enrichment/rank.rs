//! Do a set's genes stand high or low among all genes? The Mann-Whitney test of the set against the rest.
//!
//! With R the sum of the ranks of the set's n genes, m other genes, N = n + m, and t over the groups of equal scores,
//!
//! ```text
//! z = (R - n (N + 1) / 2) / sqrt(n m / 12 ((N + 1) - sum (t^3 - t) / (N (N - 1))))
//! ```
//!
//! Source: Mann and Whitney 1947; `scipy.stats.mannwhitneyu(method="asymptotic", use_continuity=False)`, two-sided. Chosen
//! before the permutation test of GSEA because it needs no random draw, treats up and down alike and costs one sorting for
//! all sets; limma's `geneSetTest` and `wilcoxGST` are the same test.

use crate::{
    data::MeasuredSets,
    eval::{benjamini_hochberg, metrics::ranks, normal_two_sided},
};

/// What the test says of each set, in the order of the sets.
#[derive(Debug, Clone)]
pub struct RankEnrichment {
    /// Positive where the set's genes stand higher than the others.
    pub z: Vec<f64>,
    /// Two-sided p-values.
    pub p_values: Vec<f64>,
    /// The same, adjusted by Benjamini and Hochberg over the sets.
    pub p_adjusted: Vec<f64>,
}

/// Tests every set on `scores`, one a gene (an effect, or the z score of a test for change). `None` if the scores are all
/// equal, if one is NaN, or if there are not as many as measured genes.
pub fn rank_enrichment(scores: &[f32], sets: &MeasuredSets) -> Option<RankEnrichment> {
    let total = scores.len();
    if total != sets.n_genes || scores.iter().any(|score| score.is_nan()) {
        return None;
    }
    let ranks = ranks(scores);
    // The ranks of ties are equal, so groups of equal ranks are the ties.
    let mut sorted = ranks.clone();
    sorted.sort_unstable_by(f32::total_cmp);
    let ties: f64 = sorted
        .chunk_by(|a, b| a == b)
        .map(|group| {
            let t = group.len() as f64;
            t * t * t - t
        })
        .sum();
    let all = total as f64;
    let spread = (all + 1.0) - ties / (all * (all - 1.0));
    if spread.is_nan() || spread <= 1e-9 {
        return None;
    }
    let z: Vec<f64> = sets
        .columns
        .iter()
        .map(|set| {
            let n = set.len() as f64;
            let sum: f64 = set.iter().map(|&gene| f64::from(ranks[gene])).sum();
            let variance = n * (all - n) / 12.0 * spread;
            // A set of all genes has no rest to stand above.
            if variance > 0.0 { (sum - n * (all + 1.0) / 2.0) / variance.sqrt() } else { 0.0 }
        })
        .collect();
    let p_values: Vec<f64> = z.iter().map(|&z| normal_two_sided(z)).collect();
    Some(RankEnrichment { p_adjusted: benjamini_hochberg(&p_values), z, p_values })
}
