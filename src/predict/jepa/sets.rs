//! Levels 1 and 2 of the JEPA as predictors: `jepa_sets` and `jepa_pairs`, for cells.
//!
//! As with the VAE, a prediction starts from the training control cells of the condition's context, with their library
//! sizes. An effect is the mean that is expected of them under the perturbation, less that expected of them as control, so
//! that what the decoder gets wrong of control is not taken for an effect.

use crate::{
    Error, Result,
    data::{Condition, TrainingCells, TrainingData},
    model::jepa::{Level, SetsConfig, SetsJepa},
    predict::{
        Fitted, Predictor,
        control_starts::{CELLS_PER_EFFECT, ControlStarts},
    },
};
use ndarray::{Array1, Array2};
use serde_json::json;
use std::sync::Arc;

/// Level 1 or 2, by its settings.
#[derive(Debug, Clone)]
pub struct JepaSetsPredictor {
    /// Its settings.
    pub config: SetsConfig,
}

impl JepaSetsPredictor {
    /// `jepa_sets`: level 1.
    pub fn sets() -> Self {
        Self { config: SetsConfig::sets() }
    }

    /// `jepa_pairs`: level 2.
    pub fn pairs() -> Self {
        Self { config: SetsConfig::pairs() }
    }
}

impl Predictor for JepaSetsPredictor {
    fn name(&self) -> &str {
        match self.config.level {
            Level::Sets { .. } => "jepa_sets",
            Level::Pairs(_) => "jepa_pairs",
        }
    }

    fn description(&self) -> &str {
        match self.config.level {
            Level::Sets { .. } => {
                "The JEPA on sets of cells: control cells moved in embedding space, trained by a set distance"
            }
            Level::Pairs(_) => {
                "The JEPA on pairs of cells: control cells moved in embedding space, paired by optimal transport"
            }
        }
    }

    fn settings(&self) -> serde_json::Value {
        json!({ "model": self.config, "cells_per_effect": CELLS_PER_EFFECT })
    }

    fn fit(&self, training: &TrainingData) -> Result<Box<dyn Fitted>> {
        let Some(cells) = &training.cells else {
            return Err(Error::inapplicable("an effects dataset has no cells to take sets of"));
        };
        let model = SetsJepa::fit(&cells.data, &cells.conditions, &cells.split, &self.config, training.seed)?;
        Ok(Box::new(Trained::new(model, Arc::clone(cells), training.seed)?))
    }
}

struct Trained {
    model: SetsJepa,
    cells: Arc<TrainingCells>,
    /// With the expected log-normalised expression of the chosen cells as control, `(genes,)`.
    starts: ControlStarts<Array1<f64>>,
}

impl Trained {
    fn new(model: SetsJepa, cells: Arc<TrainingCells>, seed: u64) -> Result<Self> {
        let mean = |control: &Condition, chosen: &[usize]| model.mean(&cells.data, chosen, control);
        let starts = ControlStarts::new(&cells, &cells.split.train, seed, mean)?;
        Ok(Self { model, cells, starts })
    }
}

impl Fitted for Trained {
    fn effect(&self, condition: &Condition) -> Result<Array1<f32>> {
        let start = self.starts.of(condition)?;
        let mean = self.model.mean(&self.cells.data, &start.chosen, condition)?;
        Ok((mean - &start.of_chosen).mapv(|value| value as f32))
    }

    fn cells(&self, condition: &Condition, n: usize, seed: u64) -> Option<Result<Array2<f32>>> {
        let cells = || {
            let (rows, seed) = self.starts.of(condition)?.draw(n, seed);
            self.model.cells(&self.cells.data, &rows, condition, seed)
        };
        Some(cells())
    }
}
