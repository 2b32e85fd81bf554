//! One trainer for all models.

mod objective;

pub use objective::{BatchSource, Loss, StepContext, Trainable};
