//! Scores of the Virtual Cell Challenge and of its tool, cell-eval (Arc Institute; `cell_eval` 0.8).
//!
//! They compare two tests for differential expression: that of the observed cells against control, and that of the
//! predicted cells against the same control. A gene is significant where its adjusted p-value is below
//! [`SIGNIFICANCE`](crate::bench::SIGNIFICANCE).
//! cell-eval's own test (pdex) is Wilcoxon's with a correction for continuity and without a pseudocount in the fold change;
//! given the same tables, the numbers here are cell-eval's. Where cell-eval says 0 because nothing is significant in the
//! observed cells, here is `None`.
//!
//! PDS is [`discrimination_score`](super::discrimination_score).

use super::ranking::hits_among;
use crate::bench::SIGNIFICANCE;

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
/// becomes 0, and so does what is below.
pub fn normalised_by_one(user: f64, base: f64) -> f64 {
    clipped((user - base) / (1.0 - base))
}

/// A score beside that of the baseline, for an error whose best is 0 (MAE): `(base - user) / base`; not a number becomes
/// 0, and so does what is below.
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
