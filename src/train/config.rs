//! The settings of a training.

use super::LearningRateSchedule;
use crate::{
    Error, Result,
    nn::{AdamConfig, WeightDecay},
};
use serde::{Deserialize, Serialize};

/// Settings of a training. What is not given has its default: `TrainConfig { epochs: 10, ..Default::default() }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the training rows. Default 50.
    pub epochs: usize,
    /// Rows an optimizer step. Default 128 (scvi-tools).
    pub batch_size: usize,
    /// Rows at once while validating; has no influence on the result beyond rounding. Default 512.
    pub validation_batch_size: usize,
    /// Base learning rate, which the schedule multiplies. Default 1e-3 (Kingma & Ba 2015, scvi-tools).
    pub learning_rate: f64,
    /// How the learning rate goes. Default constant.
    pub schedule: LearningRateSchedule,
    /// Strength of the weight decay. Default 0.
    pub weight_decay: f64,
    /// Form of the weight decay. Default decoupled (AdamW).
    pub decay: WeightDecay,
    /// Adam's decay of the first moment. Default 0.9.
    pub beta1: f64,
    /// Adam's decay of the second moment. Default 0.999.
    pub beta2: f64,
    /// Added to Adam's denominator. Default 1e-8.
    pub epsilon: f64,
    /// Gradients whose global norm is above this are scaled down to it. Default none.
    pub clip_norm: Option<f64>,
    /// Epochs without a better validation loss after which training stops; at the end the best weights are put back.
    /// Default none: all epochs, and the last weights.
    pub early_stopping: Option<usize>,
    /// What the validation loss must improve by to count as better. Default 0.
    pub min_delta: f64,
    /// Seed of shuffling and of everything random in the model's steps. Default 0.
    pub seed: u64,
    /// Whether every epoch puts the rows into a new random order. Default true.
    pub shuffle: bool,
    /// Whether the last rows of an epoch are left out if they do not fill a batch. Default false.
    pub drop_last: bool,
}

impl Default for TrainConfig {
    fn default() -> Self {
        let AdamConfig { beta1, beta2, epsilon, weight_decay, decay } = AdamConfig::default();
        Self {
            epochs: 50,
            batch_size: 128,
            validation_batch_size: 512,
            learning_rate: 1e-3,
            schedule: LearningRateSchedule::Constant,
            weight_decay,
            decay,
            beta1,
            beta2,
            epsilon,
            clip_norm: None,
            early_stopping: None,
            min_delta: 0.0,
            seed: 0,
            shuffle: true,
            drop_last: false,
        }
    }
}

impl TrainConfig {
    /// The optimizer's settings.
    pub fn adam(&self) -> AdamConfig {
        let Self { beta1, beta2, epsilon, weight_decay, decay, .. } = *self;
        AdamConfig { beta1, beta2, epsilon, weight_decay, decay }
    }

    /// Checks that the settings make sense.
    ///
    /// # Errors
    /// A setting out of its range, with its name.
    pub fn validate(&self) -> Result<()> {
        let fails = |name: &str, value: f64, range: &str| {
            Err(Error::config(format!("{name} = {value}, but it must be {range}")))
        };
        for (name, value) in [
            ("epochs", self.epochs),
            ("batch_size", self.batch_size),
            ("validation_batch_size", self.validation_batch_size),
            ("early_stopping", self.early_stopping.unwrap_or(1)),
        ] {
            if value == 0 {
                return fails(name, 0.0, "at least 1");
            }
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return fails("learning_rate", self.learning_rate, "above 0");
        }
        if let Some(clip) = self.clip_norm.filter(|clip| !(*clip > 0.0 && clip.is_finite())) {
            return fails("clip_norm", clip, "above 0");
        }
        if !(self.min_delta >= 0.0 && self.min_delta.is_finite()) {
            return fails("min_delta", self.min_delta, "0 or more");
        }
        self.schedule.validate()?;
        self.adam().validate()
    }

    /// Optimizer steps of one epoch over `rows` rows.
    pub fn steps_per_epoch(&self, rows: usize) -> usize {
        if self.drop_last { rows / self.batch_size } else { rows.div_ceil(self.batch_size) }
    }
}
