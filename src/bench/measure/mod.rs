//! Every metric of every condition, a family a file.

mod calibration;
mod cells;
mod de;
mod enrichment;
mod expression;
mod identity;
mod interactions;
mod perturbench;
mod virtual_cell;
mod weighted;

pub(super) use enrichment::EnrichmentTruth;
pub(super) use interactions::InteractionTruth;
pub use interactions::interaction_curve;

use super::{MeasureOptions, Observed, Predicted, Scores};

/// Measures one model's answers; what does not apply is noted with its reason.
pub fn measure(observed: &Observed, predicted: &Predicted, options: &MeasureOptions, seed: u64) -> Scores {
    let mut scores = Scores::new(seed, &predicted.model);
    expression::measure(observed, predicted, &mut scores);
    weighted::measure(observed, predicted, &mut scores);
    identity::measure(observed, predicted, &mut scores);
    perturbench::measure(observed, predicted, &mut scores);
    de::measure(observed, predicted, &mut scores);
    virtual_cell::measure(observed, predicted, &mut scores);
    interactions::measure(observed, predicted, &mut scores);
    enrichment::measure(observed, predicted, options, &mut scores);
    calibration::measure(observed, predicted, seed, &mut scores);
    cells::measure(observed, predicted, seed, &mut scores);
    scores
}

/// The scores of one condition.
struct Sheet<'a> {
    scores: &'a mut Scores,
    condition: String,
}

impl<'a> Sheet<'a> {
    fn new(scores: &'a mut Scores, observed: &Observed, index: usize) -> Self {
        Self { scores, condition: observed.conditions[index].to_string() }
    }

    /// Adds a score; where it is `None`, for `reason`.
    fn put(&mut self, metric: &str, value: Option<f64>, reason: &str) {
        self.scores.put(metric, &self.condition, value, reason);
    }

    /// Notes that none of `metrics` exists here.
    fn absent(&mut self, metrics: &[&str], reason: &str) {
        metrics.iter().for_each(|metric| self.scores.absent(metric, reason, 1));
    }
}

/// Notes that none of `metrics` exists, because the predictor has no answer for this condition.
fn absent_without_effect(sheet: &mut Sheet<'_>, predicted: &Predicted, index: usize, metrics: &[&str]) {
    if let Err(reason) = &predicted.effects[index] {
        sheet.absent(metrics, reason);
    }
}
