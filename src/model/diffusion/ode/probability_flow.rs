//! The probability-flow ODE of a diffusion: the velocity that carries the same densities without noise,
//! `dx/dt = f(t) x - g(t)^2 score / 2 = f(t) x + g(t)^2 epsilon / (2 std(t))` (Song et al. 2021, eq. 13).
//!
//! It maps data to noise and back one to one. Encoding is the abduction of a counterfactual: the noise that made this sample, kept
//! while the condition is changed.

use super::{Divergence, FlowLikelihood, OdeConfig, Solution, integrate, log_likelihood, standard_normal_log_density};
use crate::{
    Error, Result,
    model::diffusion::{Denoiser, Sde, Velocity},
};
use ndarray::Array2;

/// A [`Denoiser`] as a [`Velocity`] over diffusion time.
#[derive(Clone, Copy)]
pub struct ProbabilityFlow<'a> {
    denoiser: &'a dyn Denoiser,
    sde: Sde,
    earliest: f64,
}

impl<'a> ProbabilityFlow<'a> {
    /// Where data end by default: at time 0 itself the score of data without noise may be infinite.
    pub const EARLIEST: f64 = 1e-5;

    /// The flow of this denoiser, trained (or exact) under `sde`.
    ///
    /// # Errors
    /// Settings that make no diffusion.
    pub fn new(denoiser: &'a dyn Denoiser, sde: Sde) -> Result<Self> {
        sde.validate()?;
        Ok(Self { denoiser, sde, earliest: Self::EARLIEST })
    }

    /// Ends at another time than [`Self::EARLIEST`]: a network is no use before the earliest time it was trained at.
    ///
    /// # Errors
    /// A time outside (0, 1).
    pub fn ending_at(self, earliest: f64) -> Result<Self> {
        if !(earliest > 0.0 && earliest < 1.0) {
            return Err(Error::config(format!("the earliest time is {earliest}; it must lie between 0 and 1")));
        }
        Ok(Self { earliest, ..self })
    }

    /// Data to noise, `(rows, dims)`.
    ///
    /// # Errors
    /// See [`integrate`].
    pub fn encode(&self, x: &Array2<f64>, config: &OdeConfig) -> Result<Solution> {
        integrate(self, x.clone(), self.earliest, 1.0, config)
    }

    /// Noise to data, `(rows, dims)`.
    ///
    /// # Errors
    /// See [`integrate`].
    pub fn decode(&self, noise: &Array2<f64>, config: &OdeConfig) -> Result<Solution> {
        integrate(self, noise.clone(), 1.0, self.earliest, config)
    }

    /// Log density of data `x` `(rows, dims)` in nats, if the noise at time 1 is the samplers' prior.
    ///
    /// # Errors
    /// See [`integrate`].
    pub fn log_likelihood(
        &self,
        x: &Array2<f64>,
        divergence: Divergence,
        config: &OdeConfig,
    ) -> Result<FlowLikelihood> {
        let prior = |noise: &Array2<f64>| standard_normal_log_density(noise, self.sde.prior_std());
        log_likelihood(self, x, self.earliest, 1.0, &prior, divergence, config)
    }
}

impl Velocity for ProbabilityFlow<'_> {
    fn dims(&self) -> usize {
        self.denoiser.dims()
    }

    fn velocity(&self, x: &Array2<f64>, t: f64) -> Result<Array2<f64>> {
        let noise = self.denoiser.noise(x, t)?;
        if noise.dim() != x.dim() {
            return Err(Error::shape("probability flow: samples and predicted noise", x.dim(), noise.dim()));
        }
        let pull = 0.5 * self.sde.diffusion_squared(t) / self.sde.std(t);
        Ok(x * self.sde.drift(t) + noise * pull)
    }

    fn difference_step(&self) -> f64 {
        self.denoiser.difference_step()
    }
}
