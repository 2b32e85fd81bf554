//! Distances and correlations of the effects, a condition at a time.

use super::super::{Observed, Predicted, Scores};
use crate::eval::{l2, pearson};

pub(super) fn measure(observed: &Observed, predicted: &Predicted, scores: &mut Scores) {
    for (index, condition) in observed.conditions.iter().enumerate() {
        let name = condition.to_string();
        let x = match &predicted.effects[index] {
            Ok(effect) => effect.to_vec(),
            Err(reason) => {
                ["l2", "pearson"].iter().for_each(|metric| scores.absent(metric, reason, 1));
                continue;
            }
        };
        let y = observed.effects.row(index).to_vec();
        scores.put("l2", &name, l2(&x, &y), "a value is not finite");
        scores.put("pearson", &name, pearson(&x, &y), "the predicted effect is constant");
    }
}
