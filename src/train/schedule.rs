//! Learning-rate schedules: the factor of the base learning rate at each step.
//!
//! Sources: `torch.optim.lr_scheduler` (`StepLR`, `ExponentialLR`, `ReduceLROnPlateau`, `SequentialLR` of `LinearLR` and
//! `CosineAnnealingLR`); the cosine is Loshchilov & Hutter 2017 (SGDR).

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How the learning rate changes during training.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum LearningRateSchedule {
    /// The same at every step.
    #[default]
    Constant,
    /// Linear warm-up over the first steps (`(step + 1) / warmup_steps`), then half a cosine down to the last step.
    WarmupCosine {
        /// Steps of the warm-up; 0 for none.
        warmup_steps: usize,
        /// The learning rate at the last step, as a fraction of the base learning rate.
        final_fraction: f64,
    },
    /// Multiplied by `factor` after every `every` epochs.
    Step {
        /// Epochs between two reductions.
        every: usize,
        /// Above 0.
        factor: f64,
    },
    /// Multiplied by `factor` after each epoch.
    Exponential {
        /// Above 0.
        factor: f64,
    },
    /// Multiplied by `factor` after more than `patience` epochs in which the monitored loss (validation, or training
    /// where there is no validation) did not improve on the best one by at least the fraction `threshold`.
    ReduceOnPlateau {
        /// Above 0 and below 1.
        factor: f64,
        /// Epochs without improvement before the learning rate is reduced.
        patience: usize,
        /// Smallest improvement that counts, relative to the best loss.
        threshold: f64,
        /// The learning rate is never reduced below this.
        minimum: f64,
    },
}

impl LearningRateSchedule {
    /// Checks that the settings make sense.
    ///
    /// # Errors
    /// A setting out of its range, with its name.
    pub fn validate(&self) -> Result<()> {
        let fails = |what: String| Err(Error::config(format!("schedule: {what}")));
        match *self {
            Self::WarmupCosine { final_fraction, .. } if !(0.0..=1.0).contains(&final_fraction) => {
                fails(format!("final_fraction = {final_fraction}, but it must be from 0 to 1"))
            }
            Self::Step { every: 0, .. } => fails("every = 0, but it must be at least 1 epoch".to_owned()),
            Self::Step { factor, .. } | Self::Exponential { factor } if !(factor > 0.0 && factor.is_finite()) => {
                fails(format!("factor = {factor}, but it must be above 0"))
            }
            Self::ReduceOnPlateau { factor, .. } if !(factor > 0.0 && factor < 1.0) => {
                fails(format!("factor = {factor}, but it must be above 0 and below 1"))
            }
            Self::ReduceOnPlateau { threshold, minimum, .. } if !(threshold >= 0.0 && minimum >= 0.0) => {
                fails(format!("threshold = {threshold} and minimum = {minimum}, but both must be 0 or more"))
            }
            _ => Ok(()),
        }
    }

    /// The learning rate of `step` (from 0, of `total_steps`) in `epoch` (from 0).
    pub fn learning_rate(&self, base: f64, epoch: usize, step: usize, total_steps: usize, plateau: &Plateau) -> f64 {
        match *self {
            Self::Constant => base,
            Self::WarmupCosine { warmup_steps, .. } if step < warmup_steps => {
                base * (step + 1) as f64 / warmup_steps as f64
            }
            Self::WarmupCosine { warmup_steps, final_fraction } => {
                let steps = total_steps.saturating_sub(warmup_steps).max(1);
                let progress = (step - warmup_steps).min(steps) as f64 / steps as f64;
                let cosine = (1.0 + (std::f64::consts::PI * progress).cos()) / 2.0;
                base * (final_fraction + (1.0 - final_fraction) * cosine)
            }
            Self::Step { every, factor } => base * factor.powf((epoch / every) as f64),
            Self::Exponential { factor } => base * factor.powf(epoch as f64),
            Self::ReduceOnPlateau { factor, minimum, .. } => {
                // A base below the minimum is what the user asked for: it is never raised.
                (base * factor.powf(plateau.reductions as f64)).max(minimum.min(base))
            }
        }
    }
}

/// The state of [`LearningRateSchedule::ReduceOnPlateau`] between epochs.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Plateau {
    best: Option<f64>,
    bad_epochs: usize,
    reductions: usize,
}

impl Plateau {
    /// Records the monitored loss of an epoch. Does nothing for other schedules.
    pub fn observe(&mut self, schedule: &LearningRateSchedule, loss: f64) {
        let LearningRateSchedule::ReduceOnPlateau { patience, threshold, .. } = *schedule else { return };
        // PyTorch compares with `best * (1 - threshold)`, which for a negative loss calls a worse one better.
        if self.best.is_none_or(|best| loss < best - threshold * best.abs()) {
            self.best = Some(loss);
            self.bad_epochs = 0;
        } else {
            self.bad_epochs += 1;
        }
        if self.bad_epochs > patience {
            self.reductions += 1;
            self.bad_epochs = 0;
        }
    }
}
