//! The floor: predictors that know nothing of the perturbation.

use super::answer;
use crate::{
    Error, Result,
    data::TrainingData,
    predict::{Fitted, Predictor},
};
use ndarray::{Array1, Axis};

/// Nothing happens: the effect is zero, the profile is the control mean of the condition's own context. This is what
/// Ahlmann-Eltze et al. (Nature Methods 2025) call "no change", and what others call the control mean.
#[derive(Debug, Clone, Copy)]
pub struct NoChange;

impl Predictor for NoChange {
    fn name(&self) -> &str {
        "no_change"
    }

    fn description(&self) -> &str {
        "The control mean of the condition's context: no effect at all (Ahlmann-Eltze et al. 2025)"
    }

    fn fit(&self, data: &TrainingData) -> Result<Box<dyn Fitted>> {
        let training = data.effects()?;
        let genes = training.genes.len();
        answer(move |_| Ok(Array1::zeros(genes)))
    }
}

/// The mean control profile of the training contexts, for every condition: what a predictor gives that has not noticed
/// that the context changed. `d = mean over contexts with a training condition of control - control of this context`.
///
/// With one context this is [`NoChange`] and would be the same row twice, so it does not apply there.
#[derive(Debug, Clone, Copy)]
pub struct ControlMean;

impl Predictor for ControlMean {
    fn name(&self) -> &str {
        "control_mean"
    }

    fn description(&self) -> &str {
        "The mean of the controls of the training contexts, whatever the context of the condition"
    }

    fn fit(&self, data: &TrainingData) -> Result<Box<dyn Fitted>> {
        let training = data.effects()?;
        let controls = match data.controls()? {
            Some(controls) if controls.contexts.len() > 1 => controls.clone(),
            _ => return Err(Error::inapplicable("there is one context only, where the control mean is `no_change`")),
        };
        let trained: Vec<usize> = (0..controls.contexts.len())
            .filter(|&row| training.conditions.iter().any(|condition| condition.context == controls.contexts[row]))
            .collect();
        let mean = controls.profiles.select(Axis(0), &trained).mapv(f64::from).mean_axis(Axis(0));
        let mean = mean.ok_or_else(|| Error::inapplicable("no condition was trained on, so there is no context"))?;
        answer(move |condition| {
            let own = controls.of(condition.context.as_deref());
            let own = own.ok_or_else(|| Error::inapplicable(format!("{condition}: its context has no control")))?;
            Ok(&mean - &own.mapv(f64::from))
        })
    }
}
