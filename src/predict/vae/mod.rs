//! The count VAE as a predictor, in its three uses.
//!
//! | name | data | the effect of a condition |
//! |---|---|---|
//! | `vae` | effects | what a VAE of effects decodes at the prior mean under the perturbation |
//! | `vae_conditional` | cells | mean of cells decoded under the perturbation, less that of cells decoded as control |
//! | `vae_arithmetic` | cells | the same with the sum of the genes' shifts in latent space, decoded as control |
//!
//! On cells both start from the same training control cells of the condition's context and draw counts, which are
//! log-normalised as observed cells are: the mean of a logarithm is not the logarithm of a mean.

mod cells;
mod shifts;

use super::{Fitted, Predictor, control_starts::CELLS_PER_EFFECT};
use crate::{
    Error, Result,
    data::{Condition, Effects, Perturbation, Split, SplitPlan, Table, TrainingCells, TrainingData},
    device::Device,
    model::{CountVae, Likelihood, VaeConfig},
    train::{Progress, Run, TrainConfig},
};
use cells::OfCells;
use ndarray::Array1;
use serde_json::json;
use shifts::Shifts;
use std::sync::Arc;

/// How a VAE is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VaeUse {
    /// Trained on effects, decoded under the perturbation.
    Effects,
    /// Trained on cells, control cells decoded under the perturbation.
    Conditional,
    /// Trained on cells, control cells moved in latent space.
    Arithmetic,
}

/// The count VAE as a predictor: see the module.
#[derive(Debug, Clone)]
pub struct VaePredictor {
    /// How it is used; effects datasets and cells datasets have their own ways.
    pub used: VaeUse,
    /// The model's settings.
    pub model: VaeConfig,
    /// The training's settings; its seed is that of the task.
    pub training: TrainConfig,
    /// Part of the training fold that stops the training where the split has no validation: of the conditions
    /// (effects, see [`Training::put_aside`]) or of each perturbation's cells.
    pub put_aside: f64,
    /// Where it is computed.
    pub device: Device,
}

impl VaePredictor {
    /// `vae`: trained on effects, with the settings of `genailab train` on an effects dataset.
    pub fn effects() -> Self {
        Self {
            used: VaeUse::Effects,
            model: VaeConfig {
                latent: 16,
                hidden: vec![128],
                likelihood: Likelihood::Gaussian,
                condition: 32,
                ..VaeConfig::default()
            },
            training: TrainConfig { epochs: 200, batch_size: 32, early_stopping: Some(20), ..TrainConfig::default() },
            put_aside: 0.2,
            device: Device::Cpu,
        }
    }

    /// `vae_conditional`: trained on cells, with the settings of `genailab run`.
    pub fn conditional() -> Self {
        Self {
            used: VaeUse::Conditional,
            model: VaeConfig::default(),
            training: TrainConfig {
                epochs: 60,
                early_stopping: Some(8),
                clip_norm: Some(100.0),
                ..TrainConfig::default()
            },
            put_aside: 0.1,
            device: Device::Cpu,
        }
    }

    /// `vae_arithmetic`: trained as `vae_conditional`.
    pub fn arithmetic() -> Self {
        Self { used: VaeUse::Arithmetic, ..Self::conditional() }
    }

    fn options() -> Run<'static> {
        Run { progress: Progress::Silent, ..Run::default() }
    }

    /// The training's settings for a task; early stopping needs something to watch.
    fn config(&self, training: &TrainingData, watches: bool) -> TrainConfig {
        let early_stopping = self.training.early_stopping.filter(|_| watches);
        TrainConfig { seed: training.seed, early_stopping, ..self.training.clone() }
    }

    fn fit_effects(&self, training: &TrainingData) -> Result<Box<dyn Fitted>> {
        if training.cells.is_some() {
            return Err(Error::inapplicable("this is the VAE of effects datasets; vae_conditional is that of cells"));
        }
        let table = training.effects()?;
        if table.is_empty() {
            return Err(Error::inapplicable("no perturbation was trained on"));
        }
        let mut perturbations: Vec<Perturbation> =
            table.conditions.iter().map(|condition| condition.perturbation.clone()).collect();
        let mut values = table.effects.clone();
        let mut train: Vec<usize> = (0..perturbations.len()).collect();
        let mut watched = Vec::new();
        if training.validation()?.is_empty() {
            watched = table.validation_rows(self.put_aside, training.seed);
            train.retain(|row| watched.binary_search(row).is_err());
        } else {
            let known = |gene: &String| table.conditions.iter().any(|c| c.perturbation.genes().contains(gene));
            for (condition, effect) in
                training.validation()?.conditions.iter().zip(training.validation()?.effects.rows())
            {
                // The model has no embedding for a gene that is perturbed in validation only.
                if condition.perturbation.genes().iter().all(known) {
                    watched.push(perturbations.len());
                    perturbations.push(condition.perturbation.clone());
                    values.push_row(effect).expect("an effect has a value a gene");
                }
            }
        }
        let names = perturbations.iter().map(Perturbation::to_string).collect();
        let genes = Table::from_names(training.genes.to_vec());
        let data = Effects { values, genes, perturbations, table: Table::from_names(names) };
        let mut vae = CountVae::for_effects(&data, &train, self.model.clone(), training.seed, self.device)?;
        let config = self.config(training, !watched.is_empty());
        vae.fit_effects(&data, &train, &watched, &config, &mut Self::options())?;
        Ok(Box::new(OfEffects(vae)))
    }

    fn fit_cells(&self, training: &TrainingData) -> Result<Box<dyn Fitted>> {
        let Some(cells) = &training.cells else {
            return Err(Error::inapplicable("an effects dataset has no cells to train a model of cells on"));
        };
        let (vae, split) = self.train_on_cells(training, cells)?;
        let shifts = (self.used == VaeUse::Arithmetic).then(|| Shifts::of(&vae, cells, &split)).transpose()?;
        Ok(Box::new(OfCells::new(vae, Arc::clone(cells), shifts, &split, training.seed)?))
    }

    /// A VAE trained on the training cells, and how they were divided to watch the training.
    ///
    /// # Errors
    /// Those of the training.
    pub(super) fn train_on_cells(&self, training: &TrainingData, cells: &TrainingCells) -> Result<(CountVae, Split)> {
        let mut split = cells.split.clone();
        if split.validation.is_empty() {
            split = SplitPlan::Stratified { validation: self.put_aside, test: 0.0, seed: training.seed }
                .apply(&cells.data)?;
        }
        // Validation cells may be of genes that are perturbed nowhere else; the model has no embedding for them.
        let perturbed = |row: usize| cells.conditions[row].perturbation.genes();
        let mut known: Vec<&String> = split.train.iter().flat_map(|&row| perturbed(row)).collect();
        known.sort_unstable();
        known.dedup();
        split.validation.retain(|&row| perturbed(row).iter().all(|gene| known.binary_search(&gene).is_ok()));

        let mut vae = CountVae::new(&cells.data, &split, self.model.clone(), training.seed, self.device)?;
        let config = self.config(training, !split.validation.is_empty());
        vae.fit_with(&cells.data, &split, &config, &mut Self::options())?;
        Ok((vae, split))
    }
}

impl Predictor for VaePredictor {
    fn name(&self) -> &str {
        match self.used {
            VaeUse::Effects => "vae",
            VaeUse::Conditional => "vae_conditional",
            VaeUse::Arithmetic => "vae_arithmetic",
        }
    }

    fn description(&self) -> &str {
        match self.used {
            VaeUse::Effects => "The VAE of effects, decoded at the prior mean under the perturbation",
            VaeUse::Conditional => "The count VAE: control cells of the context decoded under the perturbation",
            VaeUse::Arithmetic => "The count VAE: control cells moved by the genes' mean latent shifts (scGen)",
        }
    }

    fn settings(&self) -> serde_json::Value {
        json!({
            "model": self.model,
            "training": self.training,
            "put_aside": self.put_aside,
            "device": self.device.to_string(),
            "cells_per_effect": CELLS_PER_EFFECT,
        })
    }

    fn fit(&self, training: &TrainingData) -> Result<Box<dyn Fitted>> {
        match self.used {
            VaeUse::Effects => self.fit_effects(training),
            VaeUse::Conditional | VaeUse::Arithmetic => self.fit_cells(training),
        }
    }
}

/// A reason where a gene was never perturbed in training.
fn check(vae: &CountVae, condition: &Condition) -> Result<()> {
    match condition.perturbation.genes().iter().find(|gene| !vae.vocabulary().perturbs(gene)) {
        Some(gene) => Err(Error::inapplicable(format!("{gene} was not perturbed in training"))),
        None => Ok(()),
    }
}

/// A VAE trained on effects.
struct OfEffects(CountVae);

impl Fitted for OfEffects {
    fn effect(&self, condition: &Condition) -> Result<Array1<f32>> {
        check(&self.0, condition)?;
        let effects = self.0.predict_effects(std::slice::from_ref(&condition.perturbation))?;
        Ok(effects.row(0).to_owned())
    }
}
