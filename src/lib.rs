//! genailab predicts what a genetic perturbation does to a cell, and says honestly how well.
//!
//! ```no_run
//! use genailab::prelude::*;
//! use std::sync::Arc;
//!
//! # fn main() -> Result<()> {
//! let data = Arc::new(Dataset::open("cells.h5ad")?); // or Dataset::simulated(7)
//! let split = data.split(&SplitPlan::default())?;
//! let training = TrainingData::of_dataset(Arc::clone(&data), &split, 0)?;
//! let (vae, history) = CountVae::fit(&training, &VaeSettings::default(), &mut Run::new(0))?;
//! let held_out = evaluate_vae(&vae, &data, &split.test, 1000, 0)?;
//! println!("{}", held_out.evaluation);
//! # Ok(()) }
//! ```
//!
//! Each module may use those above it in this list, and none below:
//!
//! | module | what it holds |
//! |---|---|
//! | [`math`] | numerical methods: no biology, no models |
//! | [`data`] | files, counts, conditions, splits, simulation |
//! | [`nn`] | layers, fused operations, optimizers, on dfdx's tape |
//! | [`train`] | one trainer, which knows no model |
//! | [`model`] | the models, one folder per family |
//! | [`predict`] | baselines, and models as predictors of effects |
//! | [`eval`] | metrics and tests of predictions: knows no model |
//! | [`mod@bench`] | benchmarks, ablations, calibration, screens |
//! | [`show`] | figures, tables, reports |

#![deny(missing_docs)]

pub mod bench;
pub mod data;
pub mod device;
mod error;
pub mod eval;
#[doc(hidden)]
pub mod files;
#[doc(hidden)]
pub mod guard;
pub mod math;
pub mod model;
pub mod nn;
mod notebook;
pub mod predict;
pub mod prelude;
pub mod show;
pub mod train;

pub use dfdx;
pub use error::{Error, ErrorKind, Result};
pub use ndarray;
