//! Are the genes that a perturbation really changes at the top of the predicted ones?
//!
//! The prediction ranks genes by the size of the predicted effect; the truth is a set of genes, those that the Wilcoxon
//! test against control calls changed (adjusted p below 0.05). Where the truth is empty, nothing can be found, and the
//! answer is `None`. Genes of equal score are counted by their expected number over all orders of the tie, so no answer
//! depends on the order of the genes in the file.
//!
//! **Scores of the Virtual Cell Challenge** and of its tool, cell-eval (Arc Institute; `cell_eval` 0.8), compare two tests for differential expression: that of the observed cells against control, and that of the
//! predicted cells against the same control. A gene is significant where its adjusted p-value is below
//! [`SIGNIFICANCE`].
//! cell-eval's own test (pdex) is Wilcoxon's with a correction for continuity and without a pseudocount in the fold change;
//! given the same tables, the numbers here are cell-eval's. Where cell-eval says 0 because nothing is significant in the
//! observed cells, here is `None`.
//!
//! PDS is [`discrimination_score`](super::discrimination_score).

use super::{de::SIGNIFICANCE, metrics::ranks};

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
fn hits_among(scores: &[f32], changed: &[bool], k: usize) -> Option<f64> {
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

/// What a test says of the genes of one perturbation, `(genes,)` each.
#[derive(Debug, Clone, Copy)]
pub struct DeTable<'a> {
    /// Adjusted p-values.
    pub p_adjusted: &'a [f64],
    /// log2 fold changes to control.
    pub log2_fold_changes: &'a [f64],
}

impl DeTable<'_> {
    /// Which genes are significant.
    pub fn significant(&self) -> Vec<bool> {
        self.p_adjusted.iter().map(|&p| p < SIGNIFICANCE).collect()
    }
}

/// The differential expression score (DES; cell-eval `overlap_at_N`): with k significant genes in the observed cells, the
/// share of them among the k significant genes of the predicted cells that have the largest |log2 fold change|.
///
/// Fewer than k predicted ones all count; genes of equal fold change at the border count by their expected number.
/// `None` if no gene is significant in the observed cells, or the tables have different lengths.
pub fn overlap_at_n(observed: DeTable<'_>, predicted: DeTable<'_>) -> Option<f64> {
    let truth = observed.significant();
    let k = count(&truth);
    if k == 0 || truth.len() != predicted.p_adjusted.len() {
        return None;
    }
    let called = predicted.significant();
    let places: Vec<usize> = (0..called.len()).filter(|&gene| called[gene]).collect();
    let sizes: Vec<f32> = places.iter().map(|&gene| predicted.log2_fold_changes[gene].abs() as f32).collect();
    let hits: Vec<bool> = places.iter().map(|&gene| truth[gene]).collect();
    Some(hits_among(&sizes, &hits, k)? / k as f64)
}

/// Share of the genes significant in the observed cells that are so in the predicted ones (cell-eval
/// `de_sig_genes_recall`). `None` if there is none.
pub fn significant_genes_recall(observed: DeTable<'_>, predicted: DeTable<'_>) -> Option<f64> {
    let (truth, called) = (observed.significant(), predicted.significant());
    let found = truth.iter().zip(&called).filter(|(truth, called)| **truth && **called).count();
    share(found, count(&truth)).filter(|_| truth.len() == called.len())
}

/// Share of the genes significant in the observed cells whose predicted change has the observed sign (cell-eval
/// `de_direction_match`). A predicted change of 0 has no sign and does not match. `None` if there is none.
///
/// `predicted` may be effects or fold changes: control being the same, their signs agree.
pub fn direction_match(significant: &[bool], observed: &[f64], predicted: &[f32]) -> Option<f64> {
    let sign = |value: f64| if value == 0.0 { 0.0 } else { value.signum() };
    let agree = |gene: &usize| sign(observed[*gene]) == sign(f64::from(predicted[*gene]));
    let places: Vec<usize> = (0..significant.len()).filter(|&gene| significant[gene]).collect();
    share(places.iter().filter(|gene| agree(gene)).count(), places.len())
}

/// How sure cell-eval takes a predicted gene to be changed: `-log10` of its adjusted p-value, at most 10. The areas under
/// its precision-recall and ROC curves (`pr_auc`, `roc_auc`) rank by it.
pub fn certainty(p_adjusted: &[f64]) -> Vec<f32> {
    p_adjusted.iter().map(|p| -(p.clamp(1e-10, 1.0).log10() as f32)).collect()
}

/// A score beside that of the baseline, for a score whose best is 1 (DES, PDS): `(user - base) / (1 - base)`; not a number
/// becomes 0, and so does any lower score.
pub fn normalised_by_one(user: f64, base: f64) -> f64 {
    clipped((user - base) / (1.0 - base))
}

/// A score beside that of the baseline, for an error whose best is 0 (MAE): `(base - user) / base`; not a number becomes
/// 0, and so does any lower score.
pub fn normalised_by_zero(user: f64, base: f64) -> f64 {
    clipped((base - user) / base)
}

/// The challenge's overall score: the mean of the normalised DES, PDS and MAE, each a mean over perturbations.
/// The challenge's baseline predicts the mean of the training perturbations.
pub fn challenge_score(user: ChallengeMeans, base: ChallengeMeans) -> f64 {
    let scores = [
        normalised_by_one(user.des, base.des),
        normalised_by_one(user.pds, base.pds),
        normalised_by_zero(user.mae, base.mae),
    ];
    scores.iter().sum::<f64>() / 3.0
}

/// Means over perturbations of the three figures of the challenge.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChallengeMeans {
    /// [`overlap_at_n`].
    pub des: f64,
    /// [`discrimination_score`](super::discrimination_score) by Manhattan distance.
    pub pds: f64,
    /// Mean absolute error of the mean profiles.
    pub mae: f64,
}

fn clipped(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score.max(0.0) }
}

fn count(of: &[bool]) -> usize {
    of.iter().filter(|&&is| is).count()
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
