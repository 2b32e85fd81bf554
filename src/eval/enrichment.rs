//! Which gene sets does an effect touch?
//!
//! The genes that are tested are those that were measured: a set is its measured genes, and the background is all measured
//! genes, so a panel of few genes does not make its own theme look enriched. p-values are adjusted over the tested sets by
//! Benjamini and Hochberg. All tests take genes for independent, which genes of a set are not: small p-values are too small
//! (Wu and Smyth, NAR 2012), and serve to compare a prediction with the truth rather than to prove a biology.
//!
//! **Over-representation** ([`over_representation`]): are there more of a set's genes among the changed ones than a random draw
//! would hold? Of N measured genes, K are in the set and n are changed. k of the set's genes are changed with a probability of
//! at least
//!
//! ```text
//! P(X >= k) = sum_{i >= k} C(K, i) C(N - K, n - i) / C(N, n)
//! ```
//!
//! Source: the one-sided Fisher exact test; `scipy.stats.hypergeom.sf(k - 1, N, K, n)`, gseapy's `enrich`.
//!
//! **Ranks** ([`rank_enrichment`]): do a set's genes stand high or low among all genes? The Mann-Whitney test of the set against
//! the rest. With R the sum of the ranks of the set's n genes, m other genes, N = n + m, and t over the groups of equal scores,
//!
//! ```text
//! z = (R - n (N + 1) / 2) / sqrt(n m / 12 ((N + 1) - sum (t^3 - t) / (N (N - 1))))
//! ```
//!
//! Source: Mann and Whitney 1947; `scipy.stats.mannwhitneyu(method="asymptotic", use_continuity=False)`, two-sided. It is
//! preferred to the permutation test of GSEA because it needs no random draw, treats up and down alike and costs one sorting
//! for all sets; limma's `geneSetTest` and `wilcoxGST` are the same test.
//!
//! **The running sum of GSEA** ([`running_sum`]): walking down the ranked genes, up at a gene of the set, down at any other.
//!
//! ```text
//! P(i) = sum_{j <= i, j in S} |r_j| / sum_{j in S} |r_j|  -  #(j <= i, j not in S) / (N - n)
//! ES   = the P(i) of largest absolute value
//! ```
//!
//! Source: Subramanian et al., PNAS 2005, with weight p = 1; the `ES` of gseapy's `prerank`.

use super::{benjamini_hochberg, metrics::ranks, normal_two_sided, top_k};
use crate::{
    Result,
    data::{GeneSets, MeasuredSets},
};

/// Sets with fewer measured genes say little. GSEA's default of 15 is for whole transcriptomes; the panels here are 300 to
/// 2,000 genes, on which most sets keep five to twenty.
pub const MIN_SET: usize = 5;
/// GSEA's default: larger sets are about everything.
pub const MAX_SET: usize = 500;
/// An adjusted p below it makes a set significant.
pub const SIGNIFICANT: f64 = 0.05;
/// Number of genes of largest absolute effect that count as changed where there is no test.
pub const TOP_GENES: usize = 100;

/// The sets as columns of a dataset with these genes, [`MIN_SET`] to [`MAX_SET`] measured genes each.
///
/// # Errors
/// No set is left.
pub fn testable(sets: &GeneSets, genes: &[String]) -> Result<MeasuredSets> {
    sets.measured(genes, MIN_SET, MAX_SET)
}

/// The genes of largest absolute effect: [`TOP_GENES`] of them, at most a tenth of all.
pub fn most_changed(effect: &[f32]) -> Vec<usize> {
    let sizes: Vec<f32> = effect.iter().map(|value| value.abs()).collect();
    top_k(&sizes, TOP_GENES.min(effect.len() / 10))
}

/// Share of the sets that both find among those that either finds (Jaccard). `None` if neither finds one.
pub fn agreement(first: &[bool], second: &[bool]) -> Option<f64> {
    let (mut both, mut either) = (0_usize, 0_usize);
    for (&a, &b) in first.iter().zip(second) {
        both += usize::from(a && b);
        either += usize::from(a || b);
    }
    (either > 0).then(|| both as f64 / either as f64)
}

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

/// Tests every set on `scores`, one per gene (an effect, or the z score of a test for change). `None` if the scores are all
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
            // A set of all genes has no rest to be compared with.
            if variance > 0.0 { (sum - n * (all + 1.0) / 2.0) / variance.sqrt() } else { 0.0 }
        })
        .collect();
    let p_values: Vec<f64> = z.iter().map(|&z| normal_two_sided(z)).collect();
    Some(RankEnrichment { p_adjusted: benjamini_hochberg(&p_values), z, p_values })
}

/// The enrichment score of a set (columns of `scores`) in -1..=1, and the number of genes from the top down to its peak.
/// `None` if the set is empty, holds all genes or only genes of score 0, or if a score is NaN.
pub fn running_sum(scores: &[f32], set: &[usize]) -> Option<(f64, usize)> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
    let mut inside = vec![false; scores.len()];
    set.iter().for_each(|&gene| inside[gene] = true);
    let weight: f64 = set.iter().map(|&gene| f64::from(scores[gene]).abs()).sum();
    if scores.iter().any(|score| score.is_nan()) || weight == 0.0 || set.is_empty() || set.len() >= scores.len() {
        return None;
    }
    let down = 1.0 / (scores.len() - set.len()) as f64;
    let (mut sum, mut best, mut place) = (0.0_f64, 0.0_f64, 0);
    for (walked, gene) in order.into_iter().enumerate() {
        sum += if inside[gene] { f64::from(scores[gene]).abs() / weight } else { -down };
        if sum.abs() > best.abs() {
            (best, place) = (sum, walked + 1);
        }
    }
    Some((best.clamp(-1.0, 1.0), place))
}
