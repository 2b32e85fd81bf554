//! The network of the mean: embeddings of levels and a linear map of the numbers, summed, then an MLP.

use super::MeanConfig;
use crate::{
    Error, Result,
    data::EncodedMetadata,
    nn::{Backend, Embedding, IndexSets, Linear, Matrix, Mlp, init, ops, walk_params},
    train::{BatchSource, Loss, StepContext, Trainable, portable},
};
use dfdx::prelude::{Axis, NoneTape, PutTape, SumTo, Tape, TryMul, TrySub};
use ndarray::Array2;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// f: metadata to coordinates `(rows, components)`.
#[derive(Debug, Clone)]
pub struct MeanNet<D: Backend> {
    device: D,
    levels: Option<Embedding<D>>,
    numbers: Option<Linear<D>>,
    body: Mlp<D>,
    head: Linear<D>,
}

walk_params!(MeanNet { params: [], buffers: [], layers: [levels, numbers, body, head], device_field: device });

/// Rows of metadata, and the coordinates that belong to them.
#[derive(Debug, Clone)]
pub struct MeanBatch {
    /// The levels of each row.
    pub levels: Arc<IndexSets>,
    /// `(rows, numbers)`.
    pub numbers: Array2<f32>,
    /// `(rows, components)`.
    pub target: Array2<f32>,
}

impl MeanBatch {
    /// Rows without targets.
    pub fn of(metadata: &EncodedMetadata) -> Self {
        let rows = metadata.levels.len();
        Self {
            levels: Arc::new(IndexSets::from_sets(&metadata.levels)),
            numbers: metadata.numbers.mapv(|value| value as f32),
            target: Array2::zeros((rows, 0)),
        }
    }
}

/// Rows to train on.
pub(super) struct Rows<'a> {
    pub metadata: &'a EncodedMetadata,
    /// `(rows, components)`, of all rows of the metadata.
    pub target: &'a Array2<f32>,
    /// Which of them.
    pub rows: &'a [usize],
}

impl BatchSource for Rows<'_> {
    type Batch = MeanBatch;

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn batch(&self, places: &[usize]) -> Result<MeanBatch> {
        let rows: Vec<usize> = places.iter().map(|&place| self.rows[place]).collect();
        let batch = MeanBatch::of(&self.metadata.select(&rows));
        Ok(MeanBatch { target: self.target.select(ndarray::Axis(0), &rows), ..batch })
    }

    fn name(&self, place: usize) -> String {
        format!("row {}", self.rows[place])
    }
}

impl<D: Backend> MeanNet<D> {
    /// A network for so many levels and numbers. It is zero everywhere, as the last layer starts at zero: the linear part alone is
    /// where the training begins.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn new(
        device: &D,
        (levels, numbers): (usize, usize),
        components: usize,
        config: &MeanConfig,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let width = config.embedding;
        let widths: Vec<usize> = std::iter::once(width).chain(config.hidden.iter().copied()).collect();
        let last = widths[widths.len() - 1];
        let mut head = Linear::new(device, last, components, rng)?;
        head.weight = init::constant(device, (last, components), 0.0)?;
        head.bias = init::constant(device, (components,), 0.0)?;
        Ok(Self {
            levels: (levels > 0).then(|| Embedding::new(device, levels, width, rng)).transpose()?,
            numbers: (numbers > 0).then(|| Linear::new(device, numbers, width, rng)).transpose()?,
            body: Mlp::new(device, &widths, config.finish(), rng)?,
            head,
            device: device.clone(),
        })
    }

    /// The sum of the embeddings of a row's levels and of the map of its numbers, `(rows, width)`.
    fn embedded<T: Tape<f32, D>>(&self, batch: &MeanBatch, tape: T) -> Result<Matrix<D, T>> {
        let numbers =
            |tape: T, layer: &Linear<D>| layer.forward(ops::upload(&self.device, &batch.numbers)?.put_tape(tape));
        match (&self.levels, &self.numbers) {
            (Some(levels), Some(layer)) => {
                ops::add(levels.forward(&batch.levels, tape)?, numbers(T::default(), layer)?)
            }
            (Some(levels), None) => levels.forward(&batch.levels, tape),
            (None, Some(layer)) => numbers(tape, layer),
            (None, None) => Err(Error::config("a mean needs a column of metadata")),
        }
    }

    /// Coordinates, `(rows, components)`.
    ///
    /// # Errors
    /// Levels or numbers of other metadata.
    pub fn predict(&self, batch: &MeanBatch) -> Result<Array2<f32>> {
        let hidden = self.body.forward(self.embedded(batch, NoneTape)?)?;
        Ok(ops::download(&self.head.forward(hidden)?))
    }
}

portable!(MeanNet);

impl<D: Backend> Trainable<D> for MeanNet<D> {
    type Batch = MeanBatch;

    /// The squared error, mean over rows and components.
    fn loss<T: Tape<f32, D>>(
        &mut self,
        batch: &MeanBatch,
        tape: T,
        context: &mut StepContext<'_>,
    ) -> Result<Loss<D, T>> {
        let embedded = self.embedded(batch, tape)?;
        let hidden = match context.training {
            true => self.body.forward_training(embedded, context.rng)?,
            false => self.body.forward(embedded)?,
        };
        let found = self.head.forward(hidden)?;
        let target = ops::upload(&self.device, &batch.target)?;
        let share = 1.0 / batch.target.ncols().max(1) as f32;
        let squares = || found.try_sub(target)?.try_square()?.try_mul(share)?.try_sum::<(usize,), Axis<1>>();
        let of_rows = squares().map_err(|e: D::Err| Error::device("squared error of the mean", e))?;
        Ok(Loss { total: ops::mean(of_rows)?, parts: Vec::new() })
    }
}
