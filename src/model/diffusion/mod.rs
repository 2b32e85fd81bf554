//! Diffusion models.

pub mod net;
