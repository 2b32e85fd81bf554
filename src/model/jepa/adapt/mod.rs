//! A trained JEPA for another dataset, of which few perturbations were measured.
//!
//! The base model knows what each perturbed gene did in its own data. In the new data, the target, the effect of a gene is
//!
//! ```text
//! D(g | x, target) = s_g + F(E(x), e_g)          s_g: what the base measured, in the contexts nearest to the target
//! ```
//!
//! and adaptation trains F, and with some methods the encoder E and the decoder, on the perturbations that were measured in
//! the target, so that the others are predicted better. It never trains s: a perturbation is predicted alike whether the target
//! measured it or not. Perturbations that the base does not know are not used.
//!
//! | method | what is trained |
//! |---|---|
//! | `none` | nothing; for comparison |
//! | `film` | the layer by which the perturbation scales and shifts the cell's embedding in F |
//! | `lora` | low-rank additions to the dense weights of E, F and the decoder |
//! | `adapter` | bottleneck adapters in the blocks of E and after the hidden layers of F |
//! | `head` | F and the decoder; E stays |
//! | `full` | everything, E from epoch `unfreeze * epochs` on |
//! | `scratch` | everything, from random weights, phase A on the target's cells first; for comparison |
//!
//! With every method the offset of each gene in the decoder is first set so that the target's control cells are met, and then
//! trained with its dispersion. Learning rate and number of epochs are chosen on a quarter of the target's training
//! conditions that is left out, and the training is repeated on all of them; with fewer than [`LEAST_CHOSEN`] there is no
//! choice. An adaptation that is not better than the base on what is left out is not used.
//!
//! | file | what |
//! |---|---|
//! | `target` | genes by name, contexts by name |
//! | `start` | the network that the training begins with |
//! | `watched` | the loss of conditions that are left out |
//! | `fit` | the training and its choice |
//!
//! Sources: Hu et al. 2021 (LoRA), Houlsby et al. 2019 (adapters), Perez et al. 2018 (FiLM), Howard and Ruder 2018 (gradual
//! unfreezing).

mod fit;
mod start;
mod target;
mod watched;

pub use fit::Adaptation;
pub use target::{Target, align};

use crate::{
    Error, Result,
    nn::{LoraConfig, Mask, TrainedShare},
    train::TrainConfig,
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Training conditions from which on settings are chosen by leaving some out.
pub const LEAST_CHOSEN: usize = 3;

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdaptMethod {
    /// Nothing but the offsets that control cells tell.
    None,
    /// The FiLM layer of F.
    Film,
    /// Low-rank additions.
    Lora,
    /// Bottleneck adapters.
    Adapter,
    /// F and the decoder.
    Head,
    /// All weights.
    Full,
    /// All weights, from random ones.
    Scratch,
}

impl AdaptMethod {
    /// All of them, from the fewest trained numbers to the most.
    pub const ALL: [Self; 7] =
        [Self::None, Self::Film, Self::Lora, Self::Adapter, Self::Head, Self::Full, Self::Scratch];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Film => "film",
            Self::Lora => "lora",
            Self::Adapter => "adapter",
            Self::Head => "head",
            Self::Full => "full",
            Self::Scratch => "scratch",
        }
    }

    /// Whether a gradient reaches the encoder.
    fn trains_encoder(self) -> bool {
        matches!(self, Self::Lora | Self::Adapter | Self::Full | Self::Scratch)
    }

    /// Whether what is trained is small beside the base and worth a file of its own.
    pub fn has_file(self) -> bool {
        !matches!(self, Self::Full | Self::Scratch)
    }

    /// Which weights are trained, by their names in the network of phase B.
    fn mask(self) -> Mask {
        let (trained, low_rank): (&[&str], &[&str]) = match self {
            Self::None => (&[], &[]),
            Self::Film => (&["predictor.response.film"], &[]),
            Self::Lora => (
                &[],
                &["student.encoder", "predictor.response", "predictor.measured", "decoder.trunk", "decoder.output"],
            ),
            Self::Adapter => (&["adapter", "attention_adapter"], &[]),
            Self::Head => (&["predictor.response", "predictor.measured", "predictor.identity", "decoder"], &[]),
            Self::Full | Self::Scratch => {
                (&["student", "predictor.response", "predictor.measured", "predictor.identity", "decoder"], &[])
            }
        };
        let offsets = ["decoder.output.bias", "decoder.log_theta"];
        Mask {
            trained: trained.iter().chain(&offsets).map(|&name| name.to_owned()).collect(),
            low_rank: low_rank.iter().map(|&name| name.to_owned()).collect(),
            ..Mask::default()
        }
    }
}

impl fmt::Display for AdaptMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for AdaptMethod {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|method| method.name()).collect();
            Error::config(format!("there is no method {name:?}; there are {}", names.join(", ")))
        })
    }
}

/// Settings of an adaptation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaptConfig {
    /// What is trained. Default LoRA.
    pub method: AdaptMethod,
    /// Rank and alpha of the low-rank additions.
    pub lora: LoraConfig,
    /// Width of the bottleneck adapters. Default 8.
    pub bottleneck: usize,
    /// `full`: the share of the epochs in which the encoder still stays as it was; default 0. Between 0 and 1.
    pub unfreeze: f64,
    /// Learning rates that are tried; with too few conditions to choose, the first.
    pub learning_rates: Vec<f64>,
    /// The training; a batch is of sets of cells. `epochs` is the largest number, and `learning_rate` is not used.
    pub training: TrainConfig,
    /// Control cells, and perturbed cells, of a set.
    pub cells: usize,
    /// Sets of an epoch, at least.
    pub sets: usize,
}

impl Default for AdaptConfig {
    fn default() -> Self {
        Self {
            method: AdaptMethod::Lora,
            lora: LoraConfig::default(),
            bottleneck: 8,
            unfreeze: 0.0,
            learning_rates: vec![5e-4, 2e-3],
            training: TrainConfig {
                epochs: 12,
                batch_size: 8,
                validation_batch_size: 8,
                clip_norm: Some(5.0),
                weight_decay: 1e-2,
                early_stopping: Some(3),
                ..TrainConfig::default()
            },
            cells: 32,
            sets: 64,
        }
    }
}

impl AdaptConfig {
    /// # Errors
    /// A setting out of its range, by name.
    pub fn validate(&self) -> Result<()> {
        self.lora.validate()?;
        self.training.validate()?;
        let positive = |rate: &f64| *rate > 0.0 && rate.is_finite();
        let rules = [
            (self.bottleneck == 0, "bottleneck must be at least 1"),
            (!(0.0..=1.0).contains(&self.unfreeze), "unfreeze must be between 0 and 1"),
            (self.unfreeze > 0.0 && self.method != AdaptMethod::Full, "unfreeze is for the method full"),
            (
                self.learning_rates.is_empty() || !self.learning_rates.iter().all(positive),
                "learning_rates must be positive numbers, at least one",
            ),
            (self.training.early_stopping.is_none(), "training.early_stopping must be set: it chooses the epochs"),
            (self.cells < 2, "cells must be at least 2"),
        ];
        match rules.into_iter().find(|(broken, _)| *broken) {
            Some((_, rule)) => Err(Error::config(format!("adaptation: {rule}"))),
            None => Ok(()),
        }
    }
}

/// What an adaptation chose and trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdaptReport {
    /// What was trained.
    pub method: AdaptMethod,
    /// Numbers that were trained, and weights of the base.
    pub share: TrainedShare,
    /// Target conditions that it was trained on.
    pub conditions: usize,
    /// The learning rate; `None` where the base was kept.
    pub learning_rate: Option<f64>,
    /// Passes over the sets.
    pub epochs: usize,
    /// Loss of the conditions that were left out, of the base and of the best adaptation; `None` where none was left out.
    pub left_out: Option<(f64, f64)>,
    /// SHA-256 of the base's weights.
    pub base: String,
}
