//! The settings of a diffusion model, and of its samples.

use super::{LossWeight, Parameterization, Sampler, Sde, net::ScoreNetConfig, sampler::SamplerConfig};
use crate::{
    Error, Result,
    train::{LearningRateSchedule, TrainConfig},
};
use serde::{Deserialize, Serialize};

/// How noise is put on and taken off, and by which network.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiffusionConfig {
    /// How the noise grows. Default: variance preserving, with a linear rate.
    pub sde: Sde,
    /// What the network predicts. Default: v, of unit size at every time (Salimans and Ho 2022).
    pub parameterization: Parameterization,
    /// What the times weigh. Default: all the same.
    pub weight: LossWeight,
    /// The earliest time, in training and in sampling; default 1e-3 (Song et al. 2021, appendix C).
    pub t_min: f64,
    /// The network.
    pub net: ScoreNetConfig,
    /// Probability that a training row's condition is dropped, which is what guidance needs; default 0.1 (Ho and Salimans
    /// 2022). Of no effect without conditions.
    pub condition_dropout: f64,
    /// Numbers at the end of a condition that are never dropped, so that guidance is by the others; default 0.
    pub condition_kept: usize,
    /// Largest momentum of the moving average of the weights; default 0.999.
    pub ema: f64,
}

impl Default for DiffusionConfig {
    fn default() -> Self {
        Self {
            sde: Sde::default(),
            parameterization: Parameterization::V,
            weight: LossWeight::Uniform,
            t_min: 1e-3,
            net: ScoreNetConfig::default(),
            condition_dropout: 0.1,
            condition_kept: 0,
            ema: 0.999,
        }
    }
}

impl DiffusionConfig {
    /// Checks that the settings make sense.
    ///
    /// # Errors
    /// A setting out of its range, with its name.
    pub fn validate(&self) -> Result<()> {
        self.sde.validate()?;
        self.weight.validate()?;
        self.net.validate()?;
        if !(self.t_min > 0.0 && self.t_min < 0.5) {
            return Err(Error::config(format!("t_min = {}, but it must be above 0 and below 0.5", self.t_min)));
        }
        check_shares(self.condition_dropout, self.ema)
    }

    /// The settings of a training that suit a network of these sizes on a few thousand rows: Adam with a short warm-up,
    /// a cosine to 1 % of the learning rate, gradients clipped at 1.
    pub fn training() -> TrainConfig {
        TrainConfig {
            epochs: 100,
            batch_size: 256,
            learning_rate: 1e-3,
            schedule: LearningRateSchedule::WarmupCosine { warmup_steps: 50, final_fraction: 0.01 },
            clip_norm: Some(1.0),
            ..TrainConfig::default()
        }
    }
}

/// The two settings that diffusions and flows share.
pub(crate) fn check_shares(condition_dropout: f64, ema: f64) -> Result<()> {
    for (name, value) in [("condition_dropout", condition_dropout), ("ema", ema)] {
        if !(0.0..1.0).contains(&value) {
            return Err(Error::config(format!("{name} = {value}, but it must be at least 0 and below 1")));
        }
    }
    Ok(())
}

/// How samples are drawn from a trained [`Diffusion`](super::Diffusion).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SampleConfig {
    /// The sampler and its steps. Default: DDIM without noise, 50 steps. Its `t_min` is raised to the model's.
    pub sampler: SamplerConfig,
    /// Scale of classifier-free guidance: 1, the default, is the conditional model, 0 ignores the condition, above 1 samples
    /// lie where the condition is most certain, at the cost of their spread.
    pub guidance: f64,
}

impl Default for SampleConfig {
    fn default() -> Self {
        Self { sampler: SamplerConfig::default(), guidance: 1.0 }
    }
}

impl SampleConfig {
    /// A sampler with so many steps, without guidance.
    pub fn new(kind: Sampler, steps: usize) -> Self {
        Self { sampler: SamplerConfig::new(kind, steps), ..Self::default() }
    }

    /// DDIM without noise.
    pub fn ddim(steps: usize) -> Self {
        Self::new(Sampler::Ddim, steps)
    }

    /// The same with this guidance.
    #[must_use]
    pub fn guided(self, guidance: f64) -> Self {
        Self { guidance, ..self }
    }
}
