//! Levels 1 and 2 of the JEPA: transport, pairs, training, predictions.

mod predictors;
mod transport;
