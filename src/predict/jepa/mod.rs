//! The JEPA as a predictor: level 0 here, levels 1 and 2 in `sets`.

mod sets;

pub use sets::JepaSetsPredictor;

use super::{Fitted, Predictor};
use crate::train::Run;
use crate::{
    Error, Result,
    data::{Condition, TrainingData},
    model::combination::{CombinationConfig, CombinationModel},
};
use ndarray::Array1;
use serde_json::json;

/// `jepa`: level 0, from the mean state of control to that of a perturbation. For effects and for cells.
#[derive(Debug, Clone, Default)]
pub struct CombinationPredictor {
    /// Its settings.
    pub config: CombinationConfig,
}

impl Predictor for CombinationPredictor {
    fn name(&self) -> &str {
        "jepa"
    }

    fn description(&self) -> &str {
        "The JEPA on mean effects: the scaled sum, and the departures that predicted embeddings tell of"
    }

    fn settings(&self) -> serde_json::Value {
        json!(self.config)
    }

    fn fit(&self, training: &TrainingData) -> Result<Box<dyn Fitted>> {
        if training.effects()?.is_empty() {
            return Err(Error::inapplicable("no perturbation was trained on"));
        }
        Ok(Box::new(Trained(CombinationModel::fit_table(
            training.effects()?,
            &self.config,
            &Run::quiet(training.seed),
        )?)))
    }
}

struct Trained(CombinationModel);

impl Fitted for Trained {
    fn effect(&self, condition: &Condition) -> Result<Array1<f32>> {
        Ok(self.0.effect(condition)?.mapv(|value| value as f32))
    }
}
