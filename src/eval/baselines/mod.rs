//! Predictors that every model must beat, each a few lines.

mod simple;

pub use simple::{Additive, NoChange};

use super::Predictor;

/// All baselines, in the order of the tables.
pub fn baselines() -> Vec<Box<dyn Predictor>> {
    vec![Box::new(NoChange), Box::new(Additive)]
}
