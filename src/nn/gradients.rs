//! Gradient buffers that live as long as a training.
//!
//! dfdx allocates the gradient of every weight anew in each backward pass: for 5 million weights that is 20 MB of fresh
//! pages a step, as slow as the optimizer itself. Here the buffers of the weights are kept from step to step (the
//! optimizer leaves them at zero), and those of everything else are freed at the end of each backward pass.

use super::{Backend, Params, Visitor};
use crate::{Error, Result};
use dfdx::prelude::{Gradients, OwnedTape, Rank0, Shape, SplitTape, Tensor, Trace, UniqueId, UnusedTensors};

/// The gradient buffers of a model's weights, between two steps.
pub struct GradientBuffers<D: Backend> {
    kept: Option<Gradients<f32, D>>,
    weights: Vec<UniqueId>,
}

impl<D: Backend> Default for GradientBuffers<D> {
    fn default() -> Self {
        Self { kept: None, weights: Vec::new() }
    }
}

impl<D: Backend> GradientBuffers<D> {
    /// A tape for the next forward pass, which adds to the kept buffers. Give the gradients back with
    /// [`Self::keep`] after the optimizer has used (and zeroed) them.
    ///
    /// # Errors
    /// A device that has no memory left.
    pub fn tape<M: Params<D>>(&mut self, model: &M, device: &D) -> Result<OwnedTape<f32, D>> {
        D::begin_step();
        let mut ids = Ids::default();
        model.walk("", &mut ids)?;
        // A weight that was replaced by another tensor has another id: its buffer must be another too.
        let mut gradients = self.kept.take().filter(|_| ids.0.ids == self.weights).unwrap_or_else(Gradients::leaky);
        gradients.retain_leafs(&ids.0.ids);
        self.weights = ids.0.ids;
        let nothing: Tensor<Rank0, f32, D> = device.try_zeros().map_err(|e| Error::device("start a tape", e))?;
        Ok(nothing.traced(gradients).split_tape().1)
    }

    /// Takes the buffers back for the next step. Every gradient must be zero, as [`Adam::step`](super::Adam::step)
    /// leaves it.
    pub fn keep(&mut self, gradients: Gradients<f32, D>) {
        self.kept = Some(gradients);
    }
}

/// Collects dfdx's ids, which have no getter but through this list of its own.
#[derive(Default)]
struct Ids(UnusedTensors);

impl<D: Backend> Visitor<D> for Ids {
    fn param<S: Shape>(&mut self, _: &str, tensor: &Tensor<S, f32, D>) -> Result<()> {
        self.0.add(tensor);
        Ok(())
    }
}
