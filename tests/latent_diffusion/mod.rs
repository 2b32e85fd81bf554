//! Latent diffusion: the spread of predicted means, and cells drawn around them.

mod cells;
mod means;
