//! Diffusion: data are noised step by step, a network learns to tell the noise, and the way back makes new samples.
//!
//! | file | what |
//! |---|---|
//! | `schedule`, `sde` | how noise grows: rates and their integrals; VP, sub-VP and VE |
//! | `field` | what samplers need of a model: a [`Denoiser`], a [`Velocity`] |
//! | `parameterization` | epsilon, x0, v and score; loss weights |
//! | `sampler` | DDPM, DDIM, reverse SDE, predictor-corrector, Langevin |
//! | `ode` | solvers, probability flow, likelihood |
//! | `guidance` | two models as one |
//! | `closed_form` | Gaussian mixtures, where all of this is known exactly |

mod closed_form;
pub(crate) mod field;
mod guidance;
pub mod ode;
mod parameterization;
pub mod sampler;
mod schedule;
mod sde;

pub use closed_form::{GaussianMixture, MixtureDenoiser};
pub use field::{Denoiser, Velocity, gaussian_noise, hutchinson};
pub use guidance::{Guided, guide};
pub use ode::{Divergence, Likelihood, OdeConfig, ProbabilityFlow, Solution, Solver, integrate, log_likelihood};
pub use parameterization::{LossWeight, Parameterization};
pub use sampler::{Sampler, SamplerConfig, StepVariance, TimeGrid, prior, sample};
pub use schedule::Schedule;
pub use sde::Sde;
