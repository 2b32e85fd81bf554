//! genailab predicts what a genetic perturbation does to a cell, and says honestly how well.

pub mod data;
mod error;
pub mod eval;
pub mod nn;
pub mod plot;
pub mod train;

pub use dfdx;
pub use error::{Error, ErrorKind, Result};
pub use ndarray;
