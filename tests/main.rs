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
mod diffusion_nets;
mod doses;
mod ebm;
mod eval;
mod expression_flow;
mod fetch;
mod formats;
mod fuzz;
mod gpu;
mod jepa;
mod jepa_diffusion;
mod latent_diffusion;
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
