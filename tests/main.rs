//! Everything that is tested from outside the library, in one binary: linked once, and run on all cores.
//!
//! ```text
//! cargo test --release --test integration                 everything
//! cargo test --release --test integration commands::      one area
//! ```
//!
//! Areas mirror the modules of `src/`; `commands`, `cli` and `bench` start the tool in a process of its own.

mod common;

mod anndata;
mod baselines;
mod bench;
mod biology;
mod causal_vae;
mod cli;
mod commands;
mod covariates;
mod diffusion;
mod ebm;
mod eval;
mod expression_flow;
mod fetch;
mod formats;
mod fuzz;
mod gpu;
mod jepa;
mod mean_residual;
mod model;
mod nn;
mod plot;
mod prep;
mod report;
mod sets;
mod static_dynamic;
mod synthetic;
mod train;
mod vae;
mod vae_disentanglement;
mod vae_objectives;
mod wild;
mod world;

// Tests in these share a model, and a network on CUDA cannot be shared between threads.
#[cfg(not(feature = "cuda"))]
mod diffusion_nets;
#[cfg(not(feature = "cuda"))]
mod doses;
#[cfg(not(feature = "cuda"))]
mod jepa_diffusion;
#[cfg(not(feature = "cuda"))]
mod latent_diffusion;
