//! Every metric of every condition, a family a file.

mod expression;

use super::{MeasureOptions, Observed, Predicted, Scores};

/// Measures one model's answers; what does not apply is noted with its reason.
pub fn measure(observed: &Observed, predicted: &Predicted, options: &MeasureOptions, seed: u64) -> Scores {
    let _ = options;
    let mut scores = Scores::new(seed, &predicted.model);
    expression::measure(observed, predicted, &mut scores);
    scores
}
