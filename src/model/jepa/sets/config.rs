//! Settings of levels 1 and 2.

use super::PairConfig;
use crate::{
    Error, Result,
    model::jepa::{CellJepaConfig, Conditioning, Size},
    nn::SetDistance,
    train::TrainConfig,
};
use ndarray::ArrayView2;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Cells that the bandwidth of a kernel is taken from.
const BANDWIDTH_CELLS: usize = 500;

/// What a predicted set is compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Level {
    /// Level 1: the set of perturbed cells.
    Sets {
        /// How far two sets are from each other.
        distance: SetLoss,
    },
    /// Level 2: pseudo-pairs by optimal transport.
    Pairs(PairConfig),
}

/// A distance between sets of embeddings; see [`SetDistance`].
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum SetLoss {
    /// Energy distance.
    #[default]
    Energy,
    /// Maximum mean discrepancy with Gaussian kernels of one half, one and two median bandwidths.
    Mmd,
    /// Sliced Wasserstein distance.
    SlicedWasserstein {
        /// Random directions, drawn anew in each step.
        directions: usize,
    },
}

impl SetLoss {
    /// The distance for embeddings like `z` `(cells, width)`.
    ///
    /// # Errors
    /// Embeddings that are all the same have no bandwidth.
    pub(super) fn distance(self, z: ArrayView2<'_, f32>, rng: &mut ChaCha8Rng) -> Result<SetDistance> {
        match self {
            Self::Energy => Ok(SetDistance::Energy),
            Self::SlicedWasserstein { directions } => Ok(SetDistance::sliced(z.ncols(), directions, rng)),
            Self::Mmd => {
                let some = z.slice(ndarray::s![..z.nrows().min(BANDWIDTH_CELLS), ..]);
                let gamma = crate::nn::median_gamma(some).ok_or_else(|| {
                    Error::data("MMD: more than half of the embeddings are the same, so that no bandwidth fits them")
                })?;
                // A bandwidth goes into gamma with its square.
                Ok(SetDistance::Mmd { gammas: Arc::from([4.0 * gamma, gamma, 0.25 * gamma]) })
            }
        }
    }
}

/// Where the noise of a predicted cell comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drawing {
    /// Counts are drawn from the decoder's distribution.
    Anew,
    /// Each count of the control cell is taken over at its quantile: see `quantile`.
    #[default]
    FromControl,
}

/// Settings of a [`SetsJepa`](super::SetsJepa).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SetsConfig {
    /// What is learnt from: sets, or pairs.
    pub level: Level,
    /// The encoder of cells.
    pub cell: CellJepaConfig,
    /// How the encoder is pretrained; the seed is that of the task.
    pub pretraining: TrainConfig,
    /// How the perturbation enters F.
    pub conditioning: Conditioning,
    /// Width of F's hidden layers.
    pub hidden: usize,
    /// Whether each gene has a learned vector beside its shift.
    pub learned: bool,
    /// Probability that a hidden unit of F is dropped in training.
    pub dropout: f32,
    /// Control cells, and perturbed cells, of a set; fewer where there are no more.
    pub cells: usize,
    /// Sets drawn from each condition; an epoch passes over all of them.
    pub draws: usize,
    /// Parts that the training combinations are divided into: a network is trained without each, stopped by it, and the
    /// share of the departure is chosen on all of them.
    pub folds: usize,
    /// How F is trained; a batch is of sets, the seed is that of the task.
    pub training: TrainConfig,
    /// Width of the decoder's hidden layer.
    pub decoder: usize,
    /// How the decoder is trained; the seed is that of the task.
    pub decoding: TrainConfig,
    /// Part of each condition's training cells that stops the decoder's training.
    pub put_aside: f64,
    /// Whether log fold changes of single perturbations that embeddings do not carry are added in decoding.
    pub offsets: bool,
    /// Where the noise of a predicted cell comes from.
    pub drawing: Drawing,
}

impl Default for SetsConfig {
    fn default() -> Self {
        Self {
            level: Level::Sets { distance: SetLoss::default() },
            cell: CellJepaConfig::mlp(Size::Small),
            pretraining: TrainConfig { epochs: 20, ..TrainConfig::default() },
            conditioning: Conditioning::default(),
            hidden: 64,
            learned: false,
            dropout: 0.1,
            cells: 64,
            draws: 8,
            folds: 3,
            training: TrainConfig {
                epochs: 20,
                batch_size: 8,
                validation_batch_size: 32,
                weight_decay: 1e-2,
                early_stopping: Some(4),
                ..TrainConfig::default()
            },
            decoder: 256,
            decoding: TrainConfig { epochs: 30, early_stopping: Some(4), ..TrainConfig::default() },
            put_aside: 0.1,
            offsets: true,
            drawing: Drawing::default(),
        }
    }
}

impl SetsConfig {
    /// Level 1: sets, by the energy distance.
    pub fn sets() -> Self {
        Self::default()
    }

    /// Level 2: pseudo-pairs.
    pub fn pairs() -> Self {
        Self { level: Level::Pairs(PairConfig::default()), ..Self::default() }
    }

    /// Refuses settings that cannot train.
    ///
    /// # Errors
    /// A width of 0, a share out of range: named.
    pub fn validate(&self) -> Result<()> {
        let no_directions =
            matches!(self.level, Level::Sets { distance: SetLoss::SlicedWasserstein { directions: 0 } });
        let rules = [
            ([self.hidden, self.decoder].contains(&0), "hidden and decoder must be at least 1"),
            (self.cells < 2, "cells must be at least 2: one cell has no spread"),
            (self.draws == 0, "draws must be at least 1"),
            (self.folds < 2, "folds must be at least 2"),
            (no_directions, "level.distance.directions must be at least 1"),
            (!(0.0..1.0).contains(&self.dropout), "dropout must be at least 0 and below 1"),
            (!(self.put_aside > 0.0 && self.put_aside < 1.0), "put_aside must be above 0 and below 1"),
        ];
        if let Some((_, rule)) = rules.iter().find(|(broken, _)| *broken) {
            return Err(Error::config(format!("model configuration: {rule}")));
        }
        if let Level::Pairs(pairs) = &self.level {
            pairs.validate()?;
        }
        self.cell.validate()
    }
}
