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
    // `+ 0.0`, so that -0 and 0 are equal scores.
    let by_score = |&a: &usize, &b: &usize| (scores[b] + 0.0).total_cmp(&(scores[a] + 0.0)).then(a.cmp(&b));
    if k < order.len() {
        if k > 0 {
            order.select_nth_unstable_by(k - 1, by_score);
        }
        order.truncate(k);
    }
    order.sort_unstable_by(by_score);
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

/// Area under the precision-recall curve as a step function: `sum over thresholds of (recall_i - recall_(i-1))
/// precision_i`, equal scores sharing a threshold; scikit-learn's `average_precision_score`.
///
/// `None` if no gene is changed, or if a score is NaN.
pub fn average_precision(scores: &[f32], changed: &[bool]) -> Option<f64> {
    let n_changed = changed.iter().filter(|&&c| c).count();
    if scores.len() != changed.len() || n_changed == 0 || scores.iter().any(|score| score.is_nan()) {
        return None;
    }
    let order = top_k(scores, scores.len());
    let (mut seen, mut found, mut area) = (0, 0, 0.0);
    for run in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let hits = run.iter().filter(|&&gene| changed[gene]).count();
        seen += run.len();
        found += hits;
        area += hits as f64 / n_changed as f64 * (found as f64 / seen as f64);
    }
    Some(area)
}

/// Share of the `k` genes of largest observed size that are among the `k` of largest predicted size: PerturBench's
/// `top_k_recall` on absolute scores, `(both) / k`.
///
/// Every gene as large as the `k`-th observed one counts as found where it is among the predicted ones, and a gene of
/// observed size 0 never does (then there are fewer than `k` to find), so that equal sizes make no difference to the truth.
/// `None` if there are fewer than `k` genes, if `k` is 0, if all observed sizes are 0, or if a size is NaN.
pub fn top_k_recall(predicted: &[f32], observed: &[f32], k: usize) -> Option<f64> {
    if observed.iter().any(|size| size.is_nan()) || k == 0 || k > observed.len() {
        return None;
    }
    let border = observed[*top_k(observed, k).last()?];
    let truth: Vec<bool> = observed.iter().map(|&size| size >= border && size > 0.0).collect();
    let n = truth.iter().filter(|&&is| is).count().min(k);
    Some(hits_at_k(predicted, &truth, k)? / n as f64)
}

/// Expected number of changed genes among the `k` highest scored, over all orders of genes tied at the border.
fn hits_at_k(scores: &[f32], changed: &[bool], k: usize) -> Option<f64> {
    if k == 0 || k > scores.len() || !changed.contains(&true) {
        return None;
    }
    hits_among(scores, changed, k)
}

/// The same where there may be fewer than `k` scores, or none that is changed. `None` if a score is NaN.
pub(super) fn hits_among(scores: &[f32], changed: &[bool], k: usize) -> Option<f64> {
    if scores.len() != changed.len() || scores.iter().any(|score| score.is_nan()) {
        return None;
    }
    if scores.len() <= k {
        return Some(changed.iter().filter(|&&c| c).count() as f64);
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
