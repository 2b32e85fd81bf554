//! genailab predicts what a genetic perturbation does to a cell, and says honestly how well.
//!
//! ```no_run
//! use genailab::prelude::*;
//!
//! # fn main() -> Result<()> {
//! let data = Dataset::open("cells.h5ad")?; // or Dataset::simulated(7)
//! let split = data.split(&SplitPlan::default())?;
//! let mut vae = CountVae::new(&data, &split, VaeConfig::default(), 0, Device::Cpu)?;
//! let history: History = vae.fit(&data, &split, &TrainConfig::default())?;
//! let held_out = evaluate_vae(&vae, &data, &split.test, 1000, 0)?;
//! println!("{}", held_out.evaluation);
//! # Ok(()) }
//! ```
//!
//! Data flows one way: [`data`] -> [`nn`] -> [`model`] -> [`train`] -> [`eval`] -> [`plot`]. A model is trained by the one
//! trainer of [`train`] through two traits and knows nothing of evaluation or figures.

#![deny(missing_docs)]

pub mod data;
pub mod device;
mod error;
pub mod eval;
mod files;
mod linalg;
pub mod model;
pub mod nn;
pub mod plot;
pub mod prelude;
pub mod train;

pub use dfdx;
pub use error::{Error, ErrorKind, Result};
pub use ndarray;
