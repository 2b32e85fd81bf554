//! What the trainer needs to know of a model and of its data: nothing but these two traits.

use crate::{
    Result,
    nn::{Backend, Params, Scalar},
};
use dfdx::prelude::Tape;
use rand_chacha::ChaCha8Rng;

/// Where training stands, handed to the model at each step.
pub struct StepContext<'a> {
    /// Epoch, from 0.
    pub epoch: usize,
    /// Optimizer step since the beginning, from 0.
    pub step: usize,
    /// Optimizer steps that the whole training takes.
    pub total_steps: usize,
    /// Epochs that the whole training takes.
    pub total_epochs: usize,
    /// False while validating: no dropout, no sampling noise that a validation figure should not have.
    pub training: bool,
    /// The source of all randomness of this step; the same for the same seed and step.
    pub rng: &'a mut ChaCha8Rng,
}

impl StepContext<'_> {
    /// The number of this step in its epoch, from 0.
    pub fn step_of_epoch(&self) -> usize {
        self.step % self.steps_per_epoch()
    }

    /// Whether this is the last step of its epoch.
    pub fn ends_epoch(&self) -> bool {
        self.step_of_epoch() + 1 == self.steps_per_epoch()
    }

    fn steps_per_epoch(&self) -> usize {
        (self.total_steps / self.total_epochs.max(1)).max(1)
    }
}

/// A scalar loss to descend, and named figures to record beside it.
pub struct Loss<D: Backend, T: Tape<f32, D>> {
    /// What the gradient is taken of: the mean over the batch's rows.
    pub total: Scalar<D, T>,
    /// Name and mean over the batch's rows, for the history: `("nll", 812.3)`.
    pub parts: Vec<(&'static str, f32)>,
}

/// A model that the trainer can train.
pub trait Trainable<D: Backend>: Params<D> {
    /// What one step consumes.
    type Batch;

    /// Forward pass: the loss of a batch, with its tape.
    ///
    /// # Errors
    /// A batch that does not fit the model.
    fn loss<T: Tape<f32, D>>(
        &mut self,
        batch: &Self::Batch,
        tape: T,
        context: &mut StepContext<'_>,
    ) -> Result<Loss<D, T>>;

    /// Called after each optimizer step (an EMA teacher moves here).
    ///
    /// # Errors
    /// Whatever stops the training.
    fn after_step(&mut self, context: &StepContext<'_>) -> Result<()> {
        let _ = context;
        Ok(())
    }
}

/// Rows that can be gathered into batches.
pub trait BatchSource {
    /// What one step consumes.
    type Batch;

    /// Number of rows.
    fn len(&self) -> usize;

    /// Whether there are no rows.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gathers rows (indices below `len`) into a batch.
    ///
    /// # Errors
    /// Rows that cannot be read.
    fn batch(&self, rows: &[usize]) -> Result<Self::Batch>;

    /// What a row is called in an error message: the cell's name.
    fn name(&self, row: usize) -> String;
}
