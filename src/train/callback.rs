//! What else happens while a training runs.

use super::EpochRecord;
use crate::Result;
use std::ops::ControlFlow;

/// One optimizer step, as a [`Callback`] sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepRecord {
    /// Epoch, counted from 1.
    pub epoch: usize,
    /// Optimizer steps made since the beginning, this one included.
    pub steps: usize,
    /// Rows of the batch.
    pub rows: usize,
    /// Loss of the batch, before the step.
    pub loss: f64,
    /// Global norm of the gradient, before clipping.
    pub gradient_norm: f64,
    /// Learning rate of the step.
    pub learning_rate: f64,
}

/// Something that is told how a training goes. A closure that takes an [`&EpochRecord`](EpochRecord) is one.
pub trait Callback {
    /// After each optimizer step.
    ///
    /// # Errors
    /// Whatever is to stop the training with an error.
    fn on_step(&mut self, step: &StepRecord) -> Result<()> {
        let _ = step;
        Ok(())
    }

    /// After each epoch, when its checkpoint is written. [`ControlFlow::Break`] ends the training, as if this had been the
    /// last epoch.
    ///
    /// # Errors
    /// Whatever is to stop the training with an error.
    fn on_epoch_end(&mut self, record: &EpochRecord) -> Result<ControlFlow<()>>;
}

impl<F: FnMut(&EpochRecord) -> ControlFlow<()>> Callback for F {
    fn on_epoch_end(&mut self, record: &EpochRecord) -> Result<ControlFlow<()>> {
        Ok(self(record))
    }
}
