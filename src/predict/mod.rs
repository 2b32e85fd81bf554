//! Predictors of effects: what a benchmark asks of them, the baselines, and adapters that make a predictor of a model.

pub mod baselines;
mod control_starts;
mod hybrid;
mod model;
mod predictor;
mod scgen;
mod vae_arithmetic;

pub use hybrid::Hybrid;
pub use model::{ModelPredictor, SavedModel, fitted};
pub use predictor::{Fitted, Predictor};
pub use scgen::Scgen;
pub use vae_arithmetic::{LatentShifts, VaeArithmetic};
