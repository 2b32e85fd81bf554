//! The settings of a JEPA: its sizes, and what a configuration file and the command line can change.

use super::{
    config::{PretrainingConfig, Size},
    response::ResponseConfig,
};
use crate::{
    Error, Result,
    data::{DataKind, FeatureSources},
    model::ModelConfig,
    train::{LearningRateSchedule, TrainConfig},
};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Which part of the training is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The encoder alone, without labels.
    A,
    /// Predictor and decoder with an encoder of random weights, which phase A is compared with, or with that of `from`.
    B,
    /// The encoder, then predictor and decoder with it, end to end.
    #[default]
    Ab,
}

/// The sizes by their names.
const SIZES: [(&str, Size); 4] =
    [("tiny", Size::Tiny), ("small", Size::Small), ("medium", Size::Medium), ("large", Size::Large)];

/// The tables of a configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JepaSettings {
    /// Which part of the training is done.
    pub phase: Phase,
    /// The folder of a trained JEPA to begin with, of other data: its encoder, whose settings then are `encoder`. Genes are
    /// matched by name, and those that the data does not have are hidden. `phase` is then `b`, or `ab` or `a` to go on with phase
    /// A on the new cells.
    pub from: Option<PathBuf>,
    /// Whether a training of phase B on more single perturbations than the embedding has features takes the settings for that in
    /// place of its own: see [`Self::widened`]. Default true.
    pub widen: bool,
    /// The encoder, and what phase A trains it by.
    pub encoder: PretrainingConfig,
    /// Phase A.
    pub pretraining: TrainConfig,
    /// Phase B.
    pub response: ResponseConfig,
}

impl Default for JepaSettings {
    fn default() -> Self {
        Self::preset(Size::Small)
    }
}

impl JepaSettings {
    /// The settings of a size.
    pub fn preset(size: Size) -> Self {
        let (epochs, batch_size, hidden) = match size {
            Size::Tiny => (6, 256, 32),
            Size::Small => (10, 256, 64),
            Size::Medium => (20, 256, 128),
            Size::Large => (40, 256, 256),
        };
        let warmup = LearningRateSchedule::WarmupCosine { warmup_steps: 20, final_fraction: 0.01 };
        Self {
            phase: Phase::default(),
            from: None,
            widen: true,
            encoder: PretrainingConfig::groups(size),
            pretraining: TrainConfig { epochs, batch_size, schedule: warmup, ..TrainConfig::default() },
            response: ResponseConfig { hidden, ..ResponseConfig::default() },
        }
    }
}

/// Widths that an embedding is widened to.
const WIDTHS: [usize; 3] = [64, 128, 256];
/// Weight of the effects' error as a share of their mean square, with many perturbations.
const RELATIVE_EFFECT: f32 = 5.0;

impl JepaSettings {
    /// The settings for this many single perturbations. They are unchanged where the embedding has as many features, or a width that no
    /// size has (it was set by hand); without `widen`; in phase A, which knows no perturbation; and with the encoder of another model
    /// (`from`). Else they have
    ///
    /// - the first of 64, 128 and 256 features that is enough, or 256: the effects of n genes may lie in n directions, and those of
    ///   Norman 2019 nearly do (`benches/effect_rank.py`);
    /// - `response.weights.relative_effect` of 5, unless one is set: with many perturbations the effects are small beside the other terms;
    /// - `response.similar_combinations`: many perturbations have many combinations to learn from.
    pub fn widened(&self, singles: usize) -> Self {
        let mut settings = self.clone();
        let by_hand = SIZES.iter().all(|&(_, size)| Self::preset(size).encoder.width != self.encoder.width);
        if !self.widen || by_hand || self.phase == Phase::A || self.from.is_some() || singles <= self.encoder.width {
            return settings;
        }
        let enough = WIDTHS.into_iter().find(|&width| width >= singles).unwrap_or(WIDTHS[WIDTHS.len() - 1]);
        settings.encoder.width = enough.max(self.encoder.width);
        settings.response.similar_combinations = true;
        let relative = &mut settings.response.weights.relative_effect;
        if *relative == 0.0 {
            *relative = RELATIVE_EFFECT;
        }
        settings
    }
}

impl ModelConfig for JepaSettings {
    fn default_for(_: DataKind) -> Self {
        Self::default()
    }

    fn validate(&self) -> Result<()> {
        // The loss of phase A is against a teacher that moves, and the tuning is short.
        if [&self.pretraining, &self.response.tuning].iter().any(|training| training.early_stopping.is_some()) {
            return Err(Error::config(
                "early_stopping: of a jepa only response.training can be stopped early; leave it out of pretraining and \
                 response.tuning",
            ));
        }
        let of_sizes = || SIZES.map(|(_, size)| Self::preset(size).encoder);
        if self.from.is_some() && !of_sizes().contains(&self.encoder) {
            return Err(Error::config(
                "the encoder's settings are those of the model that `from` (--from) names; leave the table [encoder] out",
            ));
        }
        if self.phase == Phase::A && !self.response.features.is_empty() {
            return Err(Error::config(
                "features of perturbations (--gene-sets, --regulons, --co-expression, --perturbation-features) are for phase b, and \
                 phase a knows no perturbation; leave them out",
            ));
        }
        self.encoder.validate()?;
        self.pretraining.validate()?;
        self.response.validate()
    }

    /// Those of both phases; the later trainings make at most as many.
    fn set_epochs(&mut self, epochs: usize) {
        self.pretraining.epochs = epochs;
        self.response.training.epochs = epochs;
        let ResponseConfig { tuning, interaction, transfer, .. } = &mut self.response;
        for later in [tuning, interaction, transfer] {
            later.epochs = later.epochs.min(epochs);
        }
    }

    fn set_features(&mut self, sources: &FeatureSources) {
        self.response.features.add(sources);
    }

    fn seed(&self) -> u64 {
        self.pretraining.seed
    }

    fn of_size(size: &str) -> Option<Self> {
        SIZES.iter().find(|(name, _)| *name == size).map(|&(_, size)| Self::preset(size))
    }

    /// `large` is never chosen by itself: it is for a GPU.
    fn size_for(cells: usize) -> Option<&'static str> {
        Some(match cells {
            0..2_000 => "tiny",
            2_000..100_000 => "small",
            _ => "medium",
        })
    }

    fn set_phase(&mut self, phase: &str) -> Result<()> {
        self.phase = match phase {
            "a" => Phase::A,
            "b" => Phase::B,
            "ab" => Phase::Ab,
            _ => return Err(Error::config(format!("--phase {phase}: there are a, b and ab"))),
        };
        Ok(())
    }

    fn set_from(&mut self, dir: &Path) -> Result<()> {
        self.from = Some(dir.to_owned());
        Ok(())
    }

    fn encoder_alone(&self) -> bool {
        self.phase == Phase::A
    }
}
