//! Early stopping: ends a training whose validation loss has not improved for a number of epochs, and keeps the best epoch.

use super::TrainConfig;
use serde::{Deserialize, Serialize};

/// The state of early stopping between epochs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Stopping {
    best_loss: Option<f64>,
    /// The epoch (from 1) of the best loss.
    pub(super) best_epoch: usize,
    bad_epochs: usize,
}

impl Stopping {
    /// Records the validation loss of `epoch` (from 1); true if it is the best so far.
    pub(super) fn observe(&mut self, config: &TrainConfig, epoch: usize, loss: f64) -> bool {
        let better = self.best_loss.is_none_or(|best| loss < best - config.min_delta);
        if better {
            *self = Self { best_loss: Some(loss), best_epoch: epoch, bad_epochs: 0 };
        } else {
            self.bad_epochs += 1;
        }
        better
    }

    /// Whether training has to stop: no improvement for as many epochs as the patience allows.
    pub(super) fn is_over(&self, config: &TrainConfig) -> bool {
        config.early_stopping.is_some_and(|patience| self.bad_epochs >= patience)
    }
}
