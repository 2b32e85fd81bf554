//! The sum of the single effects.

use super::{
    answer,
    sums::{Combinations, sum},
};
use crate::{
    Result,
    data::TrainingData,
    predict::{Fitted, Predictor},
};

/// The sum of the single effects: `d_AB = d_A + d_B` (Ahlmann-Eltze et al. 2025). It uses no combination. A single
/// perturbation in a held-out context is its own effect elsewhere.
#[derive(Debug, Clone, Copy)]
pub struct Additive;

impl Predictor for Additive {
    fn name(&self) -> &str {
        "additive"
    }

    fn description(&self) -> &str {
        "The sum of the effects of the single perturbations (Ahlmann-Eltze et al., Nature Methods 2025)"
    }

    fn fit(&self, data: &TrainingData) -> Result<Box<dyn Fitted>> {
        let training = data.effects()?;
        let training = training.clone();
        answer(move |condition| sum(&training, condition))
    }
}

/// `d_AB = s (d_A + d_B)` with one s, the least-squares factor over the training combinations and all genes. A single
/// perturbation (in a held-out context) is not scaled.
#[derive(Debug, Clone, Copy)]
pub struct ScaledAdditive;

impl Predictor for ScaledAdditive {
    fn name(&self) -> &str {
        "scaled_additive"
    }

    fn description(&self) -> &str {
        "The sum of the single effects times one factor, fitted to the training combinations by least squares"
    }

    fn fit(&self, data: &TrainingData) -> Result<Box<dyn Fitted>> {
        let training = data.effects()?;
        let factor = Combinations::of(training)?.factor()?;
        let training = training.clone();
        answer(move |condition| {
            let sum = sum(&training, condition)?;
            Ok(if condition.perturbation.genes().len() > 1 { sum * factor } else { sum })
        })
    }
}
