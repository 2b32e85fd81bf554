//! Every metric of every condition, a family a file.

mod cells;
mod expression;

use super::{Observed, Predicted, Scores};

/// Measures one model's answers; what does not apply is noted with its reason.
pub fn measure(observed: &Observed, predicted: &Predicted, seed: u64) -> Scores {
    let mut scores = Scores::new(seed, &predicted.model);
    expression::measure(observed, predicted, &mut scores);
    cells::measure(observed, predicted, seed, &mut scores);
    scores
}
