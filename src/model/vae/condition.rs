//! What a cell was given and where it was measured, as a vector.

use super::{batch::ConditionBatch, config::VaeConfig, vocabulary::Vocabulary};
use crate::{
    Error, Result,
    nn::{Backend, Doser, Embedding, IndexSets, Linear, Matrix, RowSets, ops, walk_params},
};
use dfdx::prelude::{HasShape, PutTape, Tape};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Turns a [`ConditionBatch`] into the condition `c`, `(cells, width)`: what a cell was given and where it was measured.
///
/// `c = sum_{g in perturbation} e_g + l_lane + s * w + V v`, with an embedding `e_g` for each perturbed gene, `l` for each lane,
/// `w` for the standardised log library size `s`, and a column of `V` for each level and each number of further covariates `v`. Where training had doses, `e_g` is scaled by a learned saturating curve
/// of the dose, [`Doser`]. The perturbation enters as a *set*: control is the empty sum, a
/// double is the sum of its genes, so that an unseen double of known genes has a condition too. The interaction of the two
/// genes is left to the non-linear layers that follow.
#[derive(Debug, Clone)]
pub struct ConditionEncoder<D: Backend> {
    perturbation: Embedding<D>,
    doser: Option<Doser<D>>,
    lane: Option<Embedding<D>>,
    library: Option<Linear<D>>,
    covariates: Option<Linear<D>>,
}

walk_params!(ConditionEncoder { params: [], buffers: [], layers: [perturbation, doser, lane, library, covariates] });

impl<D: Backend> ConditionEncoder<D> {
    /// An encoder for `vocabulary`. A single lane carries no information and gets no embedding.
    ///
    /// # Errors
    /// No memory on the device.
    pub fn new(device: &D, vocabulary: &Vocabulary, config: &VaeConfig, rng: &mut ChaCha8Rng) -> Result<Self> {
        let (lanes, width, covariates) = (vocabulary.lanes.len(), config.condition, vocabulary.covariates.width());
        Ok(Self {
            perturbation: Embedding::new(device, vocabulary.perturbed.len().max(1), width, rng)?,
            doser: vocabulary.knows_doses().then(|| Doser::new(device, &vocabulary.first_half_doses())).transpose()?,
            lane: (config.with_lane && lanes > 1).then(|| Embedding::new(device, lanes, width, rng)).transpose()?,
            library: config.with_library.then(|| Linear::new(device, 1, width, rng)).transpose()?,
            covariates: (covariates > 0).then(|| Linear::new(device, covariates, width, rng)).transpose()?,
        })
    }

    /// The curves of [`Doser`], where there are doses.
    pub(super) fn doser(&self) -> Option<&Doser<D>> {
        self.doser.as_ref()
    }

    /// `(cells, width)`; goes on with `tape`.
    ///
    /// # Errors
    /// A batch that does not fit the vocabulary.
    pub fn forward<T: Tape<f32, D>>(&self, device: &D, batch: &ConditionBatch, tape: T) -> Result<Matrix<D, T>> {
        let mut condition = match (&self.doser, &batch.levels) {
            (Some(doser), Some(levels)) => set_sum(doser.forward(&self.perturbation, levels, tape)?, &batch.perturbed)?,
            // Without doses, or all cells as control.
            _ => self.perturbation.forward(&batch.perturbed, tape)?,
        };
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
        if let Some(covariates) = &self.covariates {
            let values = ops::upload(device, &batch.covariates)?; // (cells, width of the covariates)
            condition = ops::add(condition, covariates.forward(values.put_tape(T::default()))?)?;
        }
        Ok(condition)
    }
}

/// The sum of the rows of `table` that each set names, `(sets, width)`. The rows are results of operations, not weights, so
/// that this is no look-up of [`Embedding`].
fn set_sum<D: Backend, T: Tape<f32, D>>(table: Matrix<D, T>, sets: &IndexSets) -> Result<Matrix<D, T>> {
    let width = table.shape().1;
    let taken = D::take_rows(table, &sets.indices().into())?; // (members of all sets, width)
    let of_set = RowSets::from_sizes((0..sets.len()).map(|set| sets.set(set).len()));
    let sizes = of_set.ranges().flat_map(|range| std::iter::repeat_n(range.len() as f32, width)).collect();
    D::multiply(D::set_mean(taken, &of_set)?, sizes)
}
