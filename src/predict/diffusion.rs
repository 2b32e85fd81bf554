//! The diffusion models as a predictor: `diffusion`, for effects and for cells.

use super::{Fitted, Predictor};
use crate::{
    Error, ErrorKind, Result,
    data::{Condition, TrainingData},
    model::{
        CountVae, Model, VaeSettings,
        latent_diffusion::{
            Draw, EffectDiffusion, EffectDiffusionConfig, FoldCells, LatentDiffusion, LatentDiffusionConfig,
        },
    },
    train::{Progress, Run},
};
use ndarray::{Array1, Array2, Axis};
use serde_json::json;

/// Draws that a predicted effect is the mean of.
const DRAWS: usize = 100;
/// Seed of the draws behind an effect.
const EFFECT_SEED: u64 = 0x6566_6665_6374;

/// On effects: the JEPA's mean and draws around it. On cells: latent diffusion around the JEPA's mean, in the latent
/// space of a VAE that is trained on the same cells.
#[derive(Debug, Clone)]
pub struct DiffusionPredictor {
    /// For effects datasets.
    pub effects: EffectDiffusionConfig,
    /// For cells.
    pub cells: LatentDiffusionConfig,
    /// How the VAE of cells is trained.
    pub vae: VaeSettings,
}

impl Default for DiffusionPredictor {
    fn default() -> Self {
        Self {
            effects: EffectDiffusionConfig::default(),
            cells: LatentDiffusionConfig::default(),
            vae: VaeSettings::benchmark_cells(),
        }
    }
}

impl DiffusionPredictor {
    /// The model of effects, fitted to a training fold.
    ///
    /// # Errors
    /// As [`EffectDiffusion::fit`].
    pub fn fit_effects(&self, training: &TrainingData) -> Result<EffectDiffusion> {
        let mut options = Run { progress: Progress::Silent, ..Run::default() };
        EffectDiffusion::fit(training.effects()?, &self.effects, training.seed, &mut options)
    }

    /// The model of cells, fitted to a training fold, and the VAE in it.
    ///
    /// # Errors
    /// A fold without cells ([`ErrorKind::Inapplicable`]); those of the trainings.
    pub fn fit_cells(&self, training: &TrainingData) -> Result<LatentDiffusion> {
        let Some(cells) = &training.cells else {
            return Err(Error::inapplicable("an effects dataset has no cells to train a model of cells on"));
        };
        let mut options = Run { progress: Progress::Silent, ..Run::default() };
        let split = self.vae.divide_cells(cells, training.seed)?;
        let (vae, _) = CountVae::fit(training, &self.vae, &mut Run::quiet(training.seed))?;
        let fold = FoldCells { data: &cells.data, conditions: &cells.conditions, split: &split };
        Ok(LatentDiffusion::fit(fold, vae, &self.cells, training.seed, &mut options)?.0)
    }
}

impl Predictor for DiffusionPredictor {
    fn name(&self) -> &str {
        "diffusion"
    }

    fn description(&self) -> &str {
        "Diffusion around the JEPA's mean: how far it may be off (effects), how cells differ (cells)"
    }

    fn settings(&self) -> serde_json::Value {
        json!({ "effects": self.effects, "cells": self.cells, "vae": self.vae, "draws": DRAWS })
    }

    fn fit(&self, training: &TrainingData) -> Result<Box<dyn Fitted>> {
        Ok(match training.cells {
            None => Box::new(OfEffects(self.fit_effects(training)?)),
            Some(_) => Box::new(OfCells(self.fit_cells(training)?)),
        })
    }
}

struct OfEffects(EffectDiffusion);

impl Fitted for OfEffects {
    /// The mean of draws, where there are any: what a user of the draws would take.
    fn effect(&self, condition: &Condition) -> Result<Array1<f32>> {
        let effect = match self.0.novelty(condition)? {
            None => self.0.mean().effect(condition)?,
            Some(_) => match self.0.draws(condition, DRAWS, EFFECT_SEED) {
                Ok(draws) => draws.mean_axis(Axis(0)).expect("there are draws"),
                // Nothing is known of the spread of such a prediction; the mean is predicted all the same.
                Err(error) if error.kind() == ErrorKind::Inapplicable => self.0.mean().effect(condition)?,
                Err(error) => return Err(error),
            },
        };
        Ok(effect.mapv(|value| value as f32))
    }
}

struct OfCells(LatentDiffusion);

impl Fitted for OfCells {
    fn effect(&self, condition: &Condition) -> Result<Array1<f32>> {
        Ok(self.0.effect(condition, EFFECT_SEED)?.mapv(|value| value as f32))
    }

    fn cells(&self, condition: &Condition, n: usize, seed: u64) -> Option<Result<Array2<f32>>> {
        let draw = Draw { cells: n, ..Draw::default() };
        Some(self.0.sample(condition, draw, seed).map(|drawn| drawn.log_normalised()))
    }
}
