//! Levels 1 and 2 of the JEPA as predictors: `jepa_sets` and `jepa_pairs`, for cells.
//!
//! As with the VAE, a prediction starts from the training control cells of the condition's context, with their library
//! sizes. An effect is the mean that is expected of them under the perturbation, less that expected of them as control, so
//! that what the decoder gets wrong of control is not taken for an effect.

use crate::{
    Error, Result,
    data::{Condition, Perturbation, shuffle},
    eval::{Fitted, Predictor, Training, TrainingCells},
    model::jepa::{Level, SetsConfig, SetsJepa},
};
use ndarray::{Array1, Array2};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc};

/// Control cells of a context that an effect is the mean over; more hardly change it.
const CELLS_PER_EFFECT: usize = 500;

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

    fn fit(&self, training: &Training) -> Result<Box<dyn Fitted>> {
        let Some(cells) = &training.cells else {
            return Err(Error::inapplicable("an effects dataset has no cells to take sets of"));
        };
        let model = SetsJepa::fit(&cells.data, &cells.conditions, &cells.split, &self.config, training.seed)?;
        Ok(Box::new(Trained::new(model, Arc::clone(cells), training.seed)?))
    }
}

/// Where the predictions of a context start from.
struct Start {
    /// The training control cells of the context.
    rows: Vec<usize>,
    /// Those that effects are the mean over.
    chosen: Vec<usize>,
    /// Expected log-normalised expression of `chosen` as control, `(genes,)`.
    mean: Array1<f64>,
}

struct Trained {
    model: SetsJepa,
    cells: Arc<TrainingCells>,
    starts: BTreeMap<Option<String>, Start>,
}

impl Trained {
    fn new(model: SetsJepa, cells: Arc<TrainingCells>, seed: u64) -> Result<Self> {
        let mut rows_of: BTreeMap<Option<String>, Vec<usize>> = BTreeMap::new();
        for &row in &cells.split.train {
            let condition = &cells.conditions[row];
            if condition.perturbation.is_control() {
                rows_of.entry(condition.context.clone()).or_default().push(row);
            }
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut starts = BTreeMap::new();
        for (context, rows) in rows_of {
            let mut chosen = rows.clone();
            shuffle(&mut chosen, &mut rng);
            chosen.truncate(CELLS_PER_EFFECT);
            let control = Condition { perturbation: Perturbation::control(), context: context.clone() };
            let mean = model.mean(&cells.data, &chosen, &control)?;
            starts.insert(context, Start { rows, chosen, mean });
        }
        Ok(Self { model, cells, starts })
    }

    fn start(&self, condition: &Condition) -> Result<&Start> {
        self.starts
            .get(&condition.context)
            .ok_or_else(|| Error::inapplicable(format!("{condition}: no control cell of its context was trained on")))
    }
}

impl Fitted for Trained {
    fn effect(&self, condition: &Condition) -> Result<Array1<f32>> {
        let start = self.start(condition)?;
        let mean = self.model.mean(&self.cells.data, &start.chosen, condition)?;
        Ok((mean - &start.mean).mapv(|value| value as f32))
    }

    fn cells(&self, condition: &Condition, n: usize, seed: u64) -> Option<Result<Array2<f32>>> {
        let cells = || {
            let start = self.start(condition)?;
            // Each control cell once before any is taken again.
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut rows = start.rows.clone();
            shuffle(&mut rows, &mut rng);
            let rows: Vec<usize> = rows.into_iter().cycle().take(n).collect();
            self.model.cells(&self.cells.data, &rows, condition, rng.next_u64())
        };
        Some(cells())
    }
}
