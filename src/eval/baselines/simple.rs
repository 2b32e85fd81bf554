//! Predictors without a fitted parameter.

use crate::{
    Result,
    data::Condition,
    eval::{Fitted, Predictor, Training},
};
use ndarray::Array1;

/// Nothing happens: the effect is zero. The floor of every table.
#[derive(Debug, Clone, Copy)]
pub struct NoChange;

impl Predictor for NoChange {
    fn name(&self) -> &str {
        "no_change"
    }

    fn description(&self) -> &str {
        "The control mean: no effect at all"
    }

    fn fit(&self, training: &Training) -> Result<Box<dyn Fitted>> {
        struct Zero(usize);
        impl Fitted for Zero {
            fn effect(&self, _: &Condition) -> Result<Array1<f32>> {
                Ok(Array1::zeros(self.0))
            }
        }
        Ok(Box::new(Zero(training.genes.len())))
    }
}

/// The sum of the single effects: `d_AB = d_A + d_B`.
#[derive(Debug, Clone, Copy)]
pub struct Additive;

impl Predictor for Additive {
    fn name(&self) -> &str {
        "additive"
    }

    fn description(&self) -> &str {
        "The sum of the effects of the single perturbations (Ahlmann-Eltze et al., Nature Methods 2025)"
    }

    fn fit(&self, training: &Training) -> Result<Box<dyn Fitted>> {
        struct Sum(Training);
        impl Fitted for Sum {
            fn effect(&self, condition: &Condition) -> Result<Array1<f32>> {
                let mut sum = Array1::zeros(self.0.genes.len());
                for gene in condition.perturbation.genes() {
                    sum += &self.0.single(gene, condition.context.as_deref())?;
                }
                Ok(sum)
            }
        }
        Ok(Box::new(Sum(training.clone())))
    }
}
