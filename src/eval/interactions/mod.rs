//! Genetic interactions: does a double perturbation do what its two singles together would do?
//!
//! | file | question |
//! |---|---|
//! | `density` | the density of many values: Poisson regression of histogram counts on a natural cubic spline |
//! | `local_fdr` | from which size on is a departure from additivity more than noise? (Efron's local false discovery rate and empirical null) |
//! | here | are the true interactions at the top of the predicted ones? (TP/FDP curve, AUPRC, AUC) |
//! | `robust` | `AB = c1 A + c2 B` without regard to outliers (Huber; Theil-Sen) |
//! | `double` | the scores, kinds and class of a double by its fit to the singles and their distance correlations (Norman, GEARS) |
//!
//! **The curve** ([`ranking_curve`]): are the true cases at the top of a ranking? With the scores descending, TP and FP the
//! true and false cases among the first, and P all true cases:
//!
//! ```text
//! FDP = FP / (FP + TP)      recall = TP / P
//! average precision = sum over steps of (recall_i - recall_(i-1)) (1 - FDP_i)        (the "AUPRC")
//! AUC = P(a true case is scored above a false one), a tie counting half
//! ```
//!
//! FDP and recall as in const-ae's `double_perturbation_analysis`; the area is the step-wise one of scikit-learn's
//! `average_precision_score`, not the trapezoid, which is too high. Equal scores are one step, so nothing depends on the
//! order of genes in a file.

#[doc(hidden)]
pub mod density;
mod double;
mod local_fdr;
mod robust;

pub use double::{DoubleScores, GiClass, GiKind, distance_correlation, precision_at_k};
pub use local_fdr::{GeneInteraction, LocalFdr, Thresholds};
pub use robust::{RobustFit, fit_pair};

/// A curve keeps each of its first steps, which readers look at, …
const FIRST_POINTS: usize = 100;
/// … and after them about this many, evenly spaced.
const LATER_POINTS: usize = 200;

/// A place of the ranking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CurvePoint {
    /// True cases down to here.
    pub true_positives: usize,
    /// False cases down to here.
    pub false_positives: usize,
}

/// How a ranking finds the true cases.
#[derive(Debug, Clone)]
pub struct RankingCurve {
    /// Places of the ranking, from the top: enough of them to draw it.
    pub points: Vec<CurvePoint>,
    /// Number of true cases.
    pub positives: usize,
    /// Number of cases.
    pub total: usize,
    /// Average precision. That of a random ranking is [`RankingCurve::prevalence`].
    pub auprc: f64,
    /// Area under the receiver operating characteristic; 0.5 for a random ranking.
    pub auc: f64,
}

impl RankingCurve {
    /// Share of the cases that are true.
    pub fn prevalence(&self) -> f64 {
        self.positives as f64 / self.total as f64
    }

    /// `(recall, false discovery proportion)` of each point.
    pub fn recall_and_fdp(&self) -> Vec<(f64, f64)> {
        self.points
            .iter()
            .map(|point| {
                let calls = point.true_positives + point.false_positives;
                (point.true_positives as f64 / self.positives as f64, point.false_positives as f64 / calls as f64)
            })
            .collect()
    }
}

/// The curve of `scores`, highest first. `None` if no case is true, if all are, or if a score is NaN.
pub fn ranking_curve(scores: &[f32], truth: &[bool]) -> Option<RankingCurve> {
    let total = scores.len();
    let positives = truth.iter().filter(|&&t| t).count();
    if truth.len() != total || positives == 0 || positives == total || scores.iter().any(|score| score.is_nan()) {
        return None;
    }
    let mut order: Vec<(f32, bool)> = scores.iter().copied().zip(truth.iter().copied()).collect();
    order.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let every = (total / LATER_POINTS).max(1);
    let (mut points, mut due) = (Vec::new(), 0);
    let (mut tp, mut fp) = (0_usize, 0_usize);
    let (mut auprc, mut auc) = (0.0, 0.0);
    // `==` rather than `total_cmp`, so that -0 and 0 are one step.
    for step in order.chunk_by(|a, b| a.0 == b.0) {
        let new = step.iter().filter(|(_, t)| *t).count();
        let false_new = step.len() - new;
        auc += false_new as f64 * (tp as f64 + 0.5 * new as f64);
        (tp, fp) = (tp + new, fp + false_new);
        auprc += new as f64 * tp as f64 / (tp + fp) as f64;
        if tp + fp <= FIRST_POINTS || tp + fp >= due || tp + fp == total {
            points.push(CurvePoint { true_positives: tp, false_positives: fp });
            due = tp + fp + every;
        }
    }
    Some(RankingCurve {
        points,
        positives,
        total,
        auprc: auprc / positives as f64,
        auc: auc / (positives as f64 * (total - positives) as f64),
    })
}
