//! Every metric of every condition, a family a file.

mod calibration;
mod enrichment;
mod expression;
mod interactions;

pub(super) use enrichment::EnrichmentTruth;
pub(super) use interactions::InteractionTruth;
pub use interactions::interaction_curve;

use super::{MeasureOptions, Observed, Predicted, Scores};

/// Measures one model's answers; what does not apply is noted with its reason.
pub fn measure(observed: &Observed, predicted: &Predicted, options: &MeasureOptions, seed: u64) -> Scores {
    let mut scores = Scores::new(seed, &predicted.model);
    expression::measure(observed, predicted, &mut scores);
    interactions::measure(observed, predicted, &mut scores);
    enrichment::measure(observed, predicted, options, &mut scores);
    calibration::measure(observed, predicted, &mut scores);
    scores
}
