//! What a cell was given and where it was measured, as a vector.

use super::{
    batch::{ConditionBatch, Vocabulary},
    config::VaeConfig,
};
use crate::{
    Error, Result,
    nn::{Backend, Embedding, IndexSets, Linear, Matrix, ops, walk_params},
};
use dfdx::prelude::{PutTape, Tape};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Turns a [`ConditionBatch`] into the condition `c`, `(cells, width)`: what a cell was given and where it was measured.
///
/// `c = sum_{g in perturbation} e_g + l_lane + s * w`, with an embedding `e_g` for each perturbed gene, `l` for each lane
/// and `w` for the standardised log library size `s`. The perturbation enters as a *set*: control is the empty sum, a
/// double is the sum of its genes, so that an unseen double of known genes has a condition too. The interaction of the two
/// genes is left to the non-linear layers that follow.
#[derive(Debug, Clone)]
pub struct ConditionEncoder<D: Backend> {
    perturbation: Embedding<D>,
    lane: Option<Embedding<D>>,
    library: Option<Linear<D>>,
}

walk_params!(ConditionEncoder { params: [], buffers: [], layers: [perturbation, lane, library] });

impl<D: Backend> ConditionEncoder<D> {
    /// An encoder for `vocabulary`. A single lane carries no information and gets no embedding.
    ///
    /// # Errors
    /// No memory on the device.
    pub fn new(device: &D, vocabulary: &Vocabulary, config: &VaeConfig, rng: &mut ChaCha8Rng) -> Result<Self> {
        let (lanes, width) = (vocabulary.lanes.len(), config.condition);
        Ok(Self {
            perturbation: Embedding::new(device, vocabulary.perturbed.len().max(1), width, rng)?,
            lane: (config.with_lane && lanes > 1).then(|| Embedding::new(device, lanes, width, rng)).transpose()?,
            library: config.with_library.then(|| Linear::new(device, 1, width, rng)).transpose()?,
        })
    }

    /// `(cells, width)`; goes on with `tape`.
    ///
    /// # Errors
    /// A batch that does not fit the vocabulary.
    pub fn forward<T: Tape<f32, D>>(&self, device: &D, batch: &ConditionBatch, tape: T) -> Result<Matrix<D, T>> {
        let mut condition = self.perturbation.forward(&batch.perturbed, tape)?;
        if let Some(lane) = &self.lane {
            let lanes = Arc::new(IndexSets::from_indices(batch.lanes.clone()));
            condition = ops::add(condition, lane.forward(&lanes, T::default())?)?;
        }
        if let Some(library) = &self.library {
            let column = device
                .try_tensor_from_vec(batch.log_library.clone(), (batch.log_library.len(), 1))
                .map_err(|e| Error::device("log library size", e))?;
            condition = ops::add(condition, library.forward(column.put_tape(T::default()))?)?;
        }
        Ok(condition)
    }
}
