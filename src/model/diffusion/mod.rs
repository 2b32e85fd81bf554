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
//! | `net` | the networks that are trained |
//! | `denoising`, `learner`, `rows`, `placed` | what they are trained on, with their moving average, on which device |
//! | `config`, `model`, `saved` | [`Diffusion`]: a model to train, sample, save |
//! | `standard`, `guided_net`, `learned` | its units, its condition, and the network as a [`Denoiser`] |

mod closed_form;
pub(crate) mod field;
mod guidance;
pub mod ode;
mod parameterization;
pub mod sampler;
mod schedule;
mod sde;

pub(crate) mod config;
mod denoising;
pub(crate) mod guided_net;
pub(crate) mod learned;
pub(crate) mod learner;
mod model;
pub mod net;
pub(crate) mod placed;
pub(crate) mod rows;
pub(crate) mod saved;
pub(crate) mod standard;

pub use config::{DiffusionConfig, SampleConfig};
pub use model::Diffusion;

pub use closed_form::{GaussianMixture, MixtureDenoiser};
pub use field::{Denoiser, Velocity, gaussian_noise, hutchinson, seeded};
pub use guidance::{Guided, guide};
pub use ode::{Divergence, Likelihood, OdeConfig, ProbabilityFlow, Solution, Solver, integrate, log_likelihood};
pub use parameterization::{LossWeight, Parameterization};
pub use sampler::{Sampler, SamplerConfig, StepVariance, TimeGrid, prior, sample};
pub use schedule::Schedule;
pub use sde::Sde;
