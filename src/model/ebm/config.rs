//! Settings: the network, what it is trained by, and of cells the space and the condition.

use super::net::EnergyNetConfig;
use crate::{
    Error, Result,
    data::DataKind,
    model::{ModelConfig, VaeConfig},
    train::{LearningRateSchedule, TrainConfig},
};
use serde::{Deserialize, Serialize};

/// How an energy is trained.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum EnergyObjective {
    /// Noise contrastive estimation.
    Nce {
        /// Samples of noise per row.
        #[serde(default = "defaults::noise")]
        noise: usize,
    },
    /// Contrastive divergence.
    Cd {
        /// Langevin steps from the data.
        #[serde(default = "defaults::steps")]
        steps: usize,
        /// Their length, in standard deviations of the data.
        #[serde(default = "defaults::step_size")]
        step_size: f64,
        /// Weight a of the squared energies.
        #[serde(default = "defaults::regularisation")]
        regularisation: f64,
    },
    /// Persistent contrastive divergence.
    Pcd {
        /// Chains; each step of the training moves as many of them as there are rows in its batch.
        #[serde(default = "defaults::chains")]
        chains: usize,
        /// Share of the moved chains that start anew, from N(0, I).
        #[serde(default = "defaults::restart")]
        restart: f64,
        /// Langevin steps of the moved chains.
        #[serde(default = "defaults::steps")]
        steps: usize,
        /// Their length, in standard deviations of the data.
        #[serde(default = "defaults::step_size")]
        step_size: f64,
        /// Weight a of the squared energies.
        #[serde(default = "defaults::regularisation")]
        regularisation: f64,
    },
    /// Denoising score matching at several noise levels.
    Dsm {
        /// The smallest noise level, in standard deviations of the data: the trained energy is that of data with this noise.
        #[serde(default = "defaults::sigma_min")]
        sigma_min: f64,
    },
    /// Sliced score matching.
    Ssm {
        /// Random directions per row.
        #[serde(default = "defaults::projections")]
        projections: usize,
    },
}

mod defaults {
    pub fn noise() -> usize {
        4
    }
    pub fn steps() -> usize {
        20
    }
    pub fn step_size() -> f64 {
        0.2
    }
    pub fn regularisation() -> f64 {
        0.01
    }
    pub fn chains() -> usize {
        1024
    }
    pub fn restart() -> f64 {
        0.05
    }
    pub fn sigma_min() -> f64 {
        0.1
    }
    pub fn projections() -> usize {
        1
    }
}

impl Default for EnergyObjective {
    fn default() -> Self {
        Self::Nce { noise: defaults::noise() }
    }
}

impl EnergyObjective {
    /// The objective of this name, with its defaults: `nce`, `cd`, `pcd`, `dsm` or `ssm`.
    ///
    /// # Errors
    /// Another name.
    pub fn named(name: &str) -> Result<Self> {
        let (steps, step_size, regularisation) = (defaults::steps(), defaults::step_size(), defaults::regularisation());
        Ok(match name {
            "nce" => Self::Nce { noise: defaults::noise() },
            "cd" => Self::Cd { steps, step_size, regularisation },
            "pcd" => {
                let (chains, restart) = (defaults::chains(), defaults::restart());
                Self::Pcd { chains, restart, steps, step_size, regularisation }
            }
            "dsm" => Self::Dsm { sigma_min: defaults::sigma_min() },
            "ssm" => Self::Ssm { projections: defaults::projections() },
            _ => {
                return Err(Error::config(format!("there is no objective {name:?}; there are nce, cd, pcd, dsm, ssm")));
            }
        })
    }

    /// The name: `nce`, `cd`, `pcd`, `dsm` or `ssm`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Nce { .. } => "nce",
            Self::Cd { .. } => "cd",
            Self::Pcd { .. } => "pcd",
            Self::Dsm { .. } => "dsm",
            Self::Ssm { .. } => "ssm",
        }
    }

    /// # Errors
    /// A setting out of its range, by name.
    pub fn validate(&self) -> Result<()> {
        let counts = |counts: &[(&str, usize)]| match counts.iter().find(|(_, n)| *n == 0) {
            Some((name, _)) => Err(Error::config(format!("{name} = 0, but it must be at least 1"))),
            None => Ok(()),
        };
        let chain = |steps: usize, step_size: f64, regularisation: f64| {
            counts(&[("steps", steps)])?;
            above("step_size", step_size, step_size > 0.0)?;
            above("regularisation", regularisation, regularisation >= 0.0)
        };
        match *self {
            Self::Nce { noise } => counts(&[("noise", noise)]),
            Self::Cd { steps, step_size, regularisation } => chain(steps, step_size, regularisation),
            Self::Pcd { chains, restart, steps, step_size, regularisation } => {
                counts(&[("chains", chains)])?;
                if !(0.0..=1.0).contains(&restart) {
                    return Err(Error::config(format!("restart = {restart}, but it must be between 0 and 1")));
                }
                chain(steps, step_size, regularisation)
            }
            Self::Dsm { sigma_min } => above("sigma_min", sigma_min, sigma_min > 0.0),
            Self::Ssm { projections } => counts(&[("projections", projections)]),
        }
    }
}

fn above(name: &str, value: f64, fits: bool) -> Result<()> {
    match fits && value.is_finite() {
        true => Ok(()),
        false => Err(Error::config(format!("{name} = {value}, but it must be a positive number"))),
    }
}

/// The network of an [`Ebm`](super::Ebm), and what it is trained by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EbmConfig {
    /// What it is trained by. Default: noise contrastive estimation.
    pub objective: EnergyObjective,
    /// The network.
    pub net: EnergyNetConfig,
    /// Largest momentum of the moving average of the weights, whose energies are used; default 0.99.
    pub ema: f64,
}

impl Default for EbmConfig {
    fn default() -> Self {
        Self { objective: EnergyObjective::default(), net: EnergyNetConfig::default(), ema: 0.99 }
    }
}

impl EbmConfig {
    /// # Errors
    /// A setting out of its range, by name.
    pub fn validate(&self) -> Result<()> {
        self.objective.validate()?;
        self.net.validate()?;
        match (0.0..1.0).contains(&self.ema) {
            true => Ok(()),
            false => Err(Error::config(format!("ema = {}, but it must be at least 0 and below 1", self.ema))),
        }
    }

    /// The settings of a training that suit a few thousand rows: Adam with a short warm-up, a cosine to 1 % of the learning rate,
    /// gradients clipped at 1.
    pub fn training() -> TrainConfig {
        TrainConfig {
            epochs: 60,
            batch_size: 256,
            learning_rate: 1e-3,
            schedule: LearningRateSchedule::WarmupCosine { warmup_steps: 50, final_fraction: 0.01 },
            clip_norm: Some(1.0),
            ..TrainConfig::default()
        }
    }
}

/// The space in which cells have an energy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum CellSpace {
    /// Principal components of log-normalised expression.
    Pca {
        /// Their number, or as many as there can be.
        #[serde(default = "components")]
        components: usize,
    },
    /// Latents of a count VAE that is trained first; each cell is read as a control cell, so that the effect of its perturbation
    /// stays in the latent.
    Vae,
}

fn components() -> usize {
    20
}

impl Default for CellSpace {
    fn default() -> Self {
        Self::Pca { components: components() }
    }
}

/// What the energy of a cell is conditioned on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnergyCondition {
    /// Nothing: the energy of the cells of all perturbations together.
    #[default]
    None,
    /// The genes that are perturbed.
    Perturbation,
}

/// The tables of a configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EbmSettings {
    /// The condition.
    pub condition: EnergyCondition,
    /// The space.
    pub space: CellSpace,
    /// The energy.
    pub model: EbmConfig,
    /// Its training.
    pub train: TrainConfig,
    /// The VAE of the space `vae`.
    pub vae: VaeConfig,
    /// Its training.
    pub vae_train: TrainConfig,
}

impl Default for EbmSettings {
    fn default() -> Self {
        Self {
            condition: EnergyCondition::default(),
            space: CellSpace::default(),
            model: EbmConfig::default(),
            // More and longer steps than for points in the plane: 11 epochs on 1,500 cells taught the network nothing.
            train: TrainConfig {
                epochs: 100,
                batch_size: 128,
                learning_rate: 3e-3,
                early_stopping: Some(15),
                ..EbmConfig::training()
            },
            vae: VaeConfig::default(),
            vae_train: TrainConfig {
                epochs: 60,
                early_stopping: Some(8),
                clip_norm: Some(100.0),
                ..TrainConfig::default()
            },
        }
    }
}

impl ModelConfig for EbmSettings {
    fn default_for(_: DataKind) -> Self {
        Self::default()
    }

    fn validate(&self) -> Result<()> {
        if self.space == (CellSpace::Pca { components: 0 }) {
            return Err(Error::config("components = 0, but it must be at least 1"));
        }
        self.model.validate()?;
        self.train.validate()?;
        self.vae.validate()?;
        self.vae_train.validate()
    }

    fn set_epochs(&mut self, epochs: usize) {
        self.train.epochs = epochs;
        self.vae_train.epochs = epochs;
    }

    fn seed(&self) -> u64 {
        self.train.seed
    }
}
