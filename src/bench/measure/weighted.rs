//! Errors with genes weighted by how much the perturbation's cells differ from all others (Mejia et al. 2025).
//!
//! `wmse` is the weighted mean squared error; `r2w` is R2_w of the effect against the mean of the training perturbations
//! (Mejia's is the mean of all perturbations, the judged ones among them, which a benchmark must not tell). The weights
//! come from a t-test (`t-test_overestim_var`) of the held-out cells of a condition against all other cells of the
//! dataset, so they need cells.

use super::{
    super::{Observed, Predicted, Scores},
    Sheet, absent_without_effect,
};
use crate::eval::{difference, r2_weighted, wmse};

const METRICS: [&str; 2] = ["wmse", "r2w"];

pub(super) fn measure(observed: &Observed, predicted: &Predicted, scores: &mut Scores) {
    let mean = observed.training_mean.to_vec();
    let truth = observed.expression_truth().conditions.iter().zip(&observed.de_truth().conditions);
    for (index, (effect, de)) in truth.enumerate() {
        let mut sheet = Sheet::new(scores, observed, index);
        let Some(x) = predicted.effect(index) else {
            absent_without_effect(&mut sheet, predicted, index, &METRICS);
            continue;
        };
        let weights = match de {
            Ok(de) => de.weights.as_ref().ok_or("the cells do not differ from all others, so no gene has weight"),
            Err(reason) => Err(reason.as_str()),
        };
        match weights {
            Err(reason) => sheet.absent(&METRICS, reason),
            Ok(weights) => {
                let x = x.to_vec();
                sheet.put("wmse", wmse(&x, &effect.effect, weights), "a value is not finite");
                let x = difference(&x, &mean);
                sheet.put("r2w", r2_weighted(&x, &effect.specific, weights), "the weighted truth does not vary");
            }
        }
    }
}
