//! Are the genes that a perturbation really changes at the top of the predicted ones?
//!
//! The prediction ranks genes by the size of the predicted effect; the truth is a set of genes, those that the Wilcoxon
//! test against control calls changed (adjusted p below 0.05). Where the truth is empty, nothing can be found, and the
//! answer is `None`. Genes of equal score are counted by their expected number over all orders of the tie, so no answer
//! depends on the order of the genes in the file.

use super::metrics::ranks;

/// Indices of the `k` largest `scores`, largest first; equal scores in order of index. NaN never makes the list.
pub fn top_k(scores: &[f32], k: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).filter(|&i| !scores[i].is_nan()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
    order.truncate(k);
    order
}

/// Share of the `k` highest scored genes that are truly changed: `(changed in top k) / k`.
///
/// `None` if no gene is changed, if there are fewer than `k` genes, if `k` is 0, or if a score is NaN.
/// With fewer than `k` changed genes the best that can be reached is `changed / k`.
pub fn precision_at_k(scores: &[f32], changed: &[bool], k: usize) -> Option<f64> {
    Some(hits_at_k(scores, changed, k)? / k as f64)
}

/// Share of the truly changed genes that are among the `k` highest scored: `(changed in top k) / changed`.
///
/// `None` as for [`precision_at_k`].
pub fn recall_at_k(scores: &[f32], changed: &[bool], k: usize) -> Option<f64> {
    let n_changed = changed.iter().filter(|&&c| c).count();
    Some(hits_at_k(scores, changed, k)? / n_changed as f64)
}

/// Area under the receiver operating characteristic: the probability that a changed gene is scored above an unchanged
/// one, a tie counting half. From the rank sum: `(R - n (n + 1) / 2) / (n m)` (Mann and Whitney 1947).
///
/// `None` if no gene is changed, if all are, or if a score is NaN.
pub fn auroc(scores: &[f32], changed: &[bool]) -> Option<f64> {
    if scores.len() != changed.len() || scores.iter().any(|score| score.is_nan()) {
        return None;
    }
    let n = changed.iter().filter(|&&c| c).count() as f64;
    let m = changed.len() as f64 - n;
    if n == 0.0 || m == 0.0 {
        return None;
    }
    let rank_sum: f64 = ranks(scores).iter().zip(changed).filter(|(_, c)| **c).map(|(&rank, _)| f64::from(rank)).sum();
    Some((rank_sum - n * (n + 1.0) / 2.0) / (n * m))
}

/// Expected number of changed genes among the `k` highest scored, over all orders of genes tied at the border.
fn hits_at_k(scores: &[f32], changed: &[bool], k: usize) -> Option<f64> {
    let usable = scores.len() == changed.len() && !scores.iter().any(|score| score.is_nan());
    if !usable || k == 0 || k > scores.len() || !changed.contains(&true) {
        return None;
    }
    let border = scores[*top_k(scores, k).last()?];
    let (mut above, mut above_changed, mut tied, mut tied_changed) = (0, 0, 0, 0);
    for (&score, &changed) in scores.iter().zip(changed) {
        if score > border {
            above += 1;
            above_changed += usize::from(changed);
        } else if score == border {
            tied += 1;
            tied_changed += usize::from(changed);
        }
    }
    Some(above_changed as f64 + (k - above) as f64 * tied_changed as f64 / tied as f64)
}
