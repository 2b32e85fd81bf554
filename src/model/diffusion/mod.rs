//! Diffusion: data are noised step by step, a network learns to tell the noise, and the way back makes new samples.
//!
//! | file | what |
//! |---|---|
//! | `schedule` | how noise grows: rates and their integrals; VP, sub-VP and VE |
//! | `denoiser` | what samplers need of a model: a [`Denoiser`], a [`Velocity`]; guidance; Gaussian mixtures, where both are known exactly |
//! | `prediction` | what a network predicts (epsilon, x0, v or score), in which units, and guidance by a condition |
//! | `sampler` | DDPM, DDIM, reverse SDE, predictor-corrector, Langevin |
//! | `ode` | solvers, probability flow, likelihood |
//! | `net` | the networks that are trained |
//! | `learner` | their training (rows, noised examples, moving average, device); a trained one as a [`Denoiser`] |
//! | `config` | the settings of the model and of its samples |
//! | `model` | [`Diffusion`]: a model to train, sample, save |

pub(crate) mod config;
pub(crate) mod denoiser;
pub(crate) mod learner;
pub(crate) mod model;
pub mod net;
pub mod ode;
pub(crate) mod prediction;
pub mod sampler;
mod schedule;

pub use crate::nn::seeded;
pub use config::{DiffusionConfig, SampleConfig};
pub use denoiser::{Denoiser, GaussianMixture, Guided, MixtureDenoiser, Velocity, gaussian_noise, guide, hutchinson};
pub use model::Diffusion;
pub use ode::{Divergence, FlowLikelihood, OdeConfig, ProbabilityFlow, Solution, Solver, integrate, log_likelihood};
pub use prediction::{LossWeight, Parameterization};
pub use sampler::{Sampler, SamplerConfig, StepVariance, TimeGrid, prior, sample};
pub use schedule::{Schedule, Sde};
