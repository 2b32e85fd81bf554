//! Diffusion: data are noised step by step, a network learns to tell the noise, and the way back makes new samples.
//!
//! | file | what |
//! |---|---|
//! | `schedule`, `sde` | how noise grows: rates and their integrals; VP, sub-VP and VE |
//! | `field` | what samplers need of a model: a [`Denoiser`], a [`Velocity`] |
//! | `parameterization` | epsilon, x0, v and score; loss weights |

mod field;
pub mod net;
mod parameterization;
mod schedule;
mod sde;

pub use field::{Denoiser, Velocity, hutchinson};
pub use parameterization::{LossWeight, Parameterization};
pub use schedule::Schedule;
pub use sde::Sde;
