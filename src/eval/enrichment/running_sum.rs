//! The running sum of GSEA: walking down the ranked genes, up at a gene of the set, down at any other.
//!
//! ```text
//! P(i) = sum_{j <= i, j in S} |r_j| / sum_{j in S} |r_j|  -  #(j <= i, j not in S) / (N - n)
//! ES   = the P(i) of largest absolute value
//! ```
//!
//! Source: Subramanian et al., PNAS 2005, with weight p = 1; the `ES` of gseapy's `prerank`.

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
