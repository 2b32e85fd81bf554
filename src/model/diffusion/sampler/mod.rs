//! From noise to samples.
//!
//! | file | what |
//! |---|---|
//! | `config`, `grid` | which sampler, how many evaluations, at which times |
//! | `ancestral` | DDPM and DDIM: jumps between times through the predicted data |
//! | `stochastic` | the reverse SDE (Euler-Maruyama, predictor-corrector) and annealed Langevin dynamics |
//!
//! The probability-flow ODE with a fixed solver is the deterministic limit of the reverse SDE. Every sampler ends with the data
//! predicted at the earliest time, `(x - s epsilon) / m`, so that no noise is left in the samples (Tweedie; Song et al. 2021,
//! appendix G).

mod ancestral;
mod config;
mod grid;
mod stochastic;

pub use config::{Sampler, SamplerConfig, StepVariance};
pub use grid::TimeGrid;

use super::{
    Denoiser, ProbabilityFlow, Sde,
    field::{check_finite, check_samples, gaussian_noise},
    ode,
};
use crate::{Error, Result};
use ndarray::Array2;
use rand_chacha::ChaCha8Rng;

/// Turns noise `start` `(rows, dims)` into samples `(rows, dims)`. `start` is usually [`prior`] noise.
///
/// # Errors
/// Settings that make no sampler; `start` of another width or not finite; a network whose output stops being finite, with the step
/// at which it did.
pub fn sample(
    denoiser: &dyn Denoiser,
    sde: &Sde,
    config: &SamplerConfig,
    start: Array2<f64>,
    rng: &mut ChaCha8Rng,
) -> Result<Array2<f64>> {
    sde.validate()?;
    config.validate()?;
    check_samples("sampling", &start, denoiser.dims())?;
    let run = Run { denoiser, sde, config, times: config.grid.times(sde, config) };
    let x = match config.kind {
        Sampler::Ddpm => ancestral::ddpm(&run, start, rng)?,
        Sampler::Ddim => ancestral::ddim(&run, start, rng)?,
        Sampler::EulerMaruyama => stochastic::reverse_sde(&run, start, 0, rng)?,
        Sampler::PredictorCorrector => stochastic::reverse_sde(&run, start, config.corrector_steps, rng)?,
        Sampler::Langevin => stochastic::langevin(&run, start, rng)?,
        Sampler::ProbabilityFlow => {
            let flow = ProbabilityFlow::new(&run, *sde)?;
            ode::on_grid(&flow, start, &run.times, config.solver)?.x
        }
    };
    run.clean(&x)
}

/// Noise to start from, `(rows, dims)`: normal with the diffusion's [`prior_std`](Sde::prior_std), `sigma_max` for VE.
pub fn prior(sde: &Sde, rows: usize, dims: usize, rng: &mut ChaCha8Rng) -> Array2<f64> {
    gaussian_noise(rows, dims, sde.prior_std(), rng)
}

/// What all samplers share: the network with its guard, and the times.
struct Run<'a> {
    denoiser: &'a dyn Denoiser,
    sde: &'a Sde,
    config: &'a SamplerConfig,
    /// Falling, from `t_max` to `t_min`.
    times: Vec<f64>,
}

impl Run<'_> {
    /// Neighbouring times `(from, to)`, `from > to`.
    fn steps(&self) -> impl Iterator<Item = (f64, f64)> {
        self.times.windows(2).map(|pair| (pair[0], pair[1]))
    }

    /// The data that the samples mean: `(x - s epsilon) / m` at the earliest time.
    fn clean(&self, x: &Array2<f64>) -> Result<Array2<f64>> {
        let t = self.times[self.times.len() - 1];
        self.data(x, &self.noise(x, t)?, t)
    }

    fn data(&self, x: &Array2<f64>, epsilon: &Array2<f64>, t: f64) -> Result<Array2<f64>> {
        Ok((x - &(epsilon * self.sde.std(t))) / self.sde.mean(t))
    }

    /// Where in the times `t` lies, from 1; between two times, the step that is on its way.
    fn step_at(&self, t: f64) -> usize {
        self.times.partition_point(|&time| time >= t).max(1)
    }
}

impl Denoiser for Run<'_> {
    fn dims(&self) -> usize {
        self.denoiser.dims()
    }

    /// The network's noise, finite, with the data it means clipped if the settings say so.
    fn noise(&self, x: &Array2<f64>, t: f64) -> Result<Array2<f64>> {
        let epsilon = self.denoiser.noise(x, t)?;
        if epsilon.dim() != x.dim() {
            return Err(Error::shape("sampling: samples and predicted noise", x.dim(), epsilon.dim()));
        }
        check_finite(&epsilon, || {
            let (step, steps) = (self.step_at(t), self.times.len());
            format!("sampling: the predicted noise at step {step} of {steps} (t = {t:.4})")
        })?;
        let Some(bound) = self.config.clip else { return Ok(epsilon) };
        let (m, s) = (self.sde.mean(t), self.sde.std(t));
        let data = self.data(x, &epsilon, t)?.mapv(|v| v.clamp(-bound, bound));
        Ok((x - &(data * m)) / s)
    }
}
