//! The diffusion models in the contract of all models: settings, training, what they can be asked. Their files are in `saved`.

use super::{
    cells::{Draw, LatentDiffusion, LatentDiffusionConfig, Library, Uncertain},
    effects::{EffectDiffusion, EffectDiffusionConfig},
};
use crate::{
    Error, Result,
    data::{Condition, DataKind, TrainingCells, TrainingData},
    device::Device,
    model::{
        Abilities, CountVae, Generated, Model, ModelConfig, Sampling, State, Trained, VaeConfig, VaeSettings,
        combination::CombinationModel,
    },
    train::{History, Run, TrainConfig},
};
use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Seed of the cells behind a mean effect.
const EFFECT_SEED: u64 = 0x6566_6665_6374;

/// The tables of a configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiffusionSettings {
    /// Effects datasets.
    pub effects: EffectDiffusionConfig,
    /// Cells datasets: the diffusion, with its own training.
    pub cells: LatentDiffusionConfig,
    /// Cells datasets: the VAE in whose latent space points are drawn.
    pub vae: VaeConfig,
    /// Its training.
    pub train: TrainConfig,
}

impl Default for DiffusionSettings {
    fn default() -> Self {
        Self {
            effects: EffectDiffusionConfig::default(),
            cells: LatentDiffusionConfig::default(),
            vae: VaeConfig::default(),
            train: TrainConfig {
                epochs: 60,
                early_stopping: Some(8),
                clip_norm: Some(100.0),
                ..TrainConfig::default()
            },
        }
    }
}

impl ModelConfig for DiffusionSettings {
    fn default_for(_: DataKind) -> Self {
        Self::default()
    }

    fn validate(&self) -> Result<()> {
        self.vae.validate()?;
        if !self.vae.covariates.is_empty() {
            return Err(Error::config(
                "[vae] covariates: cells drawn by a diffusion cannot be asked for by them; leave the key out, or train a vae",
            ));
        }
        self.train.validate()?;
        self.effects.combination.validate()?;
        self.effects.spread.validate()?;
        self.cells.validate()
    }

    fn set_epochs(&mut self, epochs: usize) {
        self.train.epochs = epochs;
        self.cells.training.epochs = epochs;
        self.effects.spread.training.epochs = epochs;
    }

    fn set_gene_sets(&mut self, file: &Path) {
        for effects in [&mut self.effects, &mut self.cells.effects] {
            effects.combination.gene_sets = Some(file.to_owned());
        }
    }

    fn seed(&self) -> u64 {
        self.train.seed
    }
}

/// Diffusion around the combination model's mean: of mean effects, or of cells.
#[derive(Debug, Clone)]
pub enum DiffusionModel {
    /// Trained on an effects dataset.
    Effects(Box<EffectDiffusion>),
    /// Trained on cells.
    Cells(Box<LatentDiffusion>),
}

impl Trained for DiffusionModel {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn abilities(&self) -> Abilities {
        match self {
            Self::Effects(_) => Abilities { effects: true, effect_draws: true, ..Abilities::default() },
            Self::Cells(model) => Abilities {
                effects: true,
                effect_draws: model.spread().is_ok(),
                cells: true,
                sampler: true,
                ..Abilities::default()
            },
        }
    }

    fn genes(&self) -> &[String] {
        self.mean().genes()
    }

    fn perturbs(&self, gene: &str) -> bool {
        self.mean().represents(gene)
    }

    fn effects(&self, conditions: &[Condition]) -> Result<Array2<f64>> {
        match self {
            Self::Effects(model) => model.mean().effects(conditions),
            Self::Cells(model) => {
                let mut effects = Array2::zeros((0, self.genes().len()));
                for condition in conditions {
                    let effect = model.effect(condition, EFFECT_SEED)?;
                    effects.push_row(effect.view()).expect("an effect has one value per gene");
                }
                Ok(effects)
            }
        }
    }

    fn effect_draws(&self, condition: &Condition, n: usize, seed: u64) -> Result<Array2<f64>> {
        let novelty = match self {
            Self::Effects(model) => model.novelty(condition)?,
            Self::Cells(model) => model.novelty(condition),
        };
        match (novelty, self) {
            // Its effect was measured: every draw is the measured one.
            (None, _) => Ok(self.effects(std::slice::from_ref(condition))?.select(Axis(0), &vec![0; n])),
            (Some(_), Self::Effects(model)) => model.draws(condition, n, seed),
            (Some(_), Self::Cells(model)) => model.mean_draws(condition, n, seed),
        }
    }

    fn cells(&self, condition: &Condition, sampling: &Sampling) -> Result<Generated> {
        let Self::Cells(model) = self else {
            return Err(Error::inapplicable("a diffusion of mean effects draws no cells"));
        };
        let known = self.why_mean_is_fixed(condition).is_some() || model.novelty(condition).is_none();
        let uncertain = if sampling.draw_mean && !known { Uncertain::CellsAndMean } else { Uncertain::Cells };
        let library = sampling.library_size.map_or(Library::Sampled, Library::Given);
        let draw = Draw { cells: sampling.cells, library, uncertain };
        if sampling.steps.is_none() && sampling.guidance.is_none() {
            return model.sample(condition, draw, sampling.seed);
        }
        let mut model = model.clone();
        model.set_sampling(sampling.steps, sampling.guidance)?;
        model.sample(condition, draw, sampling.seed)
    }

    fn why_mean_is_fixed(&self, condition: &Condition) -> Option<String> {
        match self {
            Self::Cells(model) if model.novelty(condition).is_some() => model.spread().err().map(str::to_owned),
            _ => None,
        }
    }

    fn notes(&self) -> Vec<String> {
        match self {
            Self::Cells(model) => {
                let reason = model.spread().err();
                reason.map(|reason| format!("note: how far predicted means are off is not known: {reason}")).into_iter()
            }
            .collect(),
            Self::Effects(_) => Vec::new(),
        }
    }

    fn state(&self) -> Result<State> {
        match self {
            Self::Effects(model) => model.state(),
            Self::Cells(model) => model.state(),
        }
    }
}

impl DiffusionModel {
    fn mean(&self) -> &CombinationModel {
        match self {
            Self::Effects(model) => model.mean(),
            Self::Cells(model) => model.mean(),
        }
    }
}

impl Model for DiffusionModel {
    const KIND: &'static str = "diffusion";
    const ABOUT: &'static str = "diffusion around the combination model's mean: how far it may be off (effects), how cells \
                                 differ (cells)";
    const LEARNS_FROM: &'static [DataKind] = &[DataKind::Cells, DataKind::Effects];
    const TRAINS_ON_GPU: bool = true;
    const TRAINS_ON_CUDA: bool = true;
    type Config = DiffusionSettings;

    fn fit(data: &TrainingData, config: &DiffusionSettings, run: &mut Run<'_>) -> Result<(Self, History)> {
        data.require_counts(Self::KIND)?;
        if data.cells.is_none() {
            let table = data.effects_with_validation()?;
            let combination = config.effects.fit_mean(&table, run)?;
            let (model, history) = EffectDiffusion::around(combination, &table, &config.effects, run)?;
            return Ok((Self::Effects(Box::new(model)), history));
        }
        let (model, history) = LatentDiffusion::fit(data, config, run)?;
        Ok((Self::Cells(Box::new(model)), history))
    }

    fn restore(state: State, _: Device) -> Result<Self> {
        match state.has_part("vae") {
            true => LatentDiffusion::restore(state).map(|model| Self::Cells(Box::new(model))),
            false => EffectDiffusion::restore(state).map(|model| Self::Effects(Box::new(model))),
        }
    }
}

impl LatentDiffusion {
    /// Trains a VAE on the cells, as the part `vae` of `run`, and the diffusion in its latent space.
    ///
    /// # Errors
    /// An effects dataset ([`ErrorKind::Inapplicable`](crate::ErrorKind)); those of the two trainings.
    pub fn fit(data: &TrainingData, config: &DiffusionSettings, run: &mut Run<'_>) -> Result<(Self, History)> {
        let Some(cells) = &data.cells else {
            return Err(Error::inapplicable("an effects dataset has no cells to train a model of cells on"));
        };
        let vae = VaeSettings { model: config.vae.clone(), train: config.train.clone(), ..VaeSettings::default() };
        // The diffusion must not be trained on the cells that the VAE's training is stopped by.
        let split = vae.divide_cells(cells, run.seed)?;
        let mut cells = TrainingCells::clone(cells);
        cells.split = split;
        let data = TrainingData::of_cells(cells.clone(), run.seed);
        let mut part = Run { progress: run.progress, ..run.part("vae") };
        let (vae, _) = CountVae::fit(&data, &vae, &mut part)?;
        Self::around(vae, &cells, &config.cells, run)
    }
}
