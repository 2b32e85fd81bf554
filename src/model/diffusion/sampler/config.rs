//! Which sampler, with how many evaluations.

use super::grid::TimeGrid;
use crate::{Error, Result, model::diffusion::ode::Solver};
use serde::{Deserialize, Serialize};

/// A way from noise to data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// The ancestral sampler of DDPM (Ho et al. 2020, algorithm 2).
    Ddpm,
    /// DDIM (Song, Meng and Ermon 2021, eq. 12), with `eta` of the noise of DDPM; without noise the fewest steps suffice.
    #[default]
    Ddim,
    /// The reverse SDE `dx = (f x - g^2 score) dt + g dw` in Euler's steps.
    EulerMaruyama,
    /// The same, with Langevin steps after each (Song et al. 2021, algorithms 2 and 3).
    PredictorCorrector,
    /// Langevin steps alone, at falling noise (Song and Ermon 2019, algorithm 1).
    Langevin,
    /// The probability-flow ODE with a solver of fixed steps.
    ProbabilityFlow,
}

/// The variance of a DDPM step (Ho et al. 2020, section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepVariance {
    /// Of the step back, given the data: right if the data are one point.
    #[default]
    Posterior,
    /// Of the step forward: right if the data are standard normal.
    Transition,
}

/// Settings of [`sample`](super::sample). What a sampler does not use is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplerConfig {
    /// The sampler.
    pub kind: Sampler,
    /// Times at which the network is evaluated, the first `t_max` and the last `t_min`; one evaluation each, and more for Heun, RK4 and
    /// Langevin steps.
    pub steps: usize,
    /// How these times are spread.
    pub grid: TimeGrid,
    /// The earliest time. A network is no use before the earliest time it was trained at.
    pub t_min: f64,
    /// Where the samples start, the time of pure noise.
    pub t_max: f64,
    /// DDIM: noise, as a part of DDPM's; 0 is deterministic.
    pub eta: f64,
    /// DDPM: how much noise.
    pub variance: StepVariance,
    /// Predictor-corrector and Langevin: Langevin steps at each time.
    pub corrector_steps: usize,
    /// Predictor-corrector and Langevin: size r of a Langevin step, whose length is `2 (r std)^2`; 0.16 in Song et al. 2021.
    pub corrector_snr: f64,
    /// Probability flow: the solver.
    pub solver: Solver,
    /// Bounds the predicted data to `-clip..=clip` in every dimension, which tames a network's errors at times of nearly pure noise.
    pub clip: Option<f64>,
}

impl Default for SamplerConfig {
    fn default() -> Self {
        Self {
            kind: Sampler::default(),
            steps: 50,
            grid: TimeGrid::default(),
            t_min: 1e-3,
            t_max: 1.0,
            eta: 0.0,
            variance: StepVariance::default(),
            corrector_steps: 1,
            corrector_snr: 0.16,
            solver: Solver::Heun,
            clip: None,
        }
    }
}

impl SamplerConfig {
    /// A sampler with a number of steps.
    pub fn new(kind: Sampler, steps: usize) -> Self {
        Self { kind, steps, ..Self::default() }
    }

    /// # Errors
    /// A setting that makes no sampler.
    pub fn validate(&self) -> Result<()> {
        let fail = |message: String| Err(Error::config(format!("sampler: {message}")));
        if self.steps == 0 {
            return fail("the number of steps is 0; it must be at least 1".to_owned());
        }
        if !(self.t_min > 0.0 && self.t_min < self.t_max && self.t_max <= 1.0) {
            return fail(format!("the times go from {} to {}; they must fall within (0, 1]", self.t_max, self.t_min));
        }
        if !(self.eta >= 0.0 && self.eta <= 1.0) {
            return fail(format!(
                "eta is {}; it must lie between 0 (deterministic) and 1 (the noise of DDPM)",
                self.eta
            ));
        }
        if !(self.corrector_snr > 0.0 && self.corrector_snr < 1.0) {
            return fail(format!("corrector_snr is {}; it must lie between 0 and 1", self.corrector_snr));
        }
        if self.kind == Sampler::Langevin && self.corrector_steps == 0 {
            return fail("corrector_steps is 0, but Langevin dynamics has no other steps".to_owned());
        }
        if self.kind == Sampler::ProbabilityFlow && self.solver == Solver::DormandPrince {
            return fail(
                "the adaptive solver chooses its own times; take euler, heun or rk4, or decode with the probability flow"
                    .to_owned(),
            );
        }
        match self.clip {
            Some(clip) if !(clip > 0.0 && clip.is_finite()) => {
                fail(format!("clip is {clip}; it must be a positive number"))
            }
            _ => Ok(()),
        }
    }
}
