//! genailab predicts what a genetic perturbation does to a cell, and says honestly how well.

pub mod data;
pub mod device;
mod error;
pub mod eval;
mod files;
pub mod model;
pub mod nn;
pub mod plot;
pub mod prelude;
pub mod train;

pub use dfdx;
pub use error::{Error, ErrorKind, Result};
pub use ndarray;
