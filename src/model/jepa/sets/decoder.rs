//! From embeddings to counts: a decoder to negative binomials, trained on the training cells as they are.
//!
//! ```text
//! rho = softmax(W M(z) + b),  x_g ~ NB(mean = l rho_g, inverse dispersion theta_g)      l: library size
//! ```
//!
//! The library size of a predicted cell is that of the control cell it started from.

use super::quantile::transported;
use crate::{
    Error, Result,
    data::Dataset,
    model::{
        Likelihood, NORMALISED_TOTAL, State,
        vae::{CountModel, output_bias, sample_counts},
    },
    nn::{
        Backend, CountTarget, Dispersion, FinishConfig, LOG_THETA_MAX, LOG_THETA_MIN, Linear, Matrix, Mlp, Norm,
        Vector, init, ops, walk_params,
    },
    train::{BatchSource, Loss, Run, StepContext, TrainConfig, Trainable, fit},
};
use dfdx::prelude::{Cpu, PutTape, Tape};
use ndarray::{Array1, Array2, Axis, parallel::prelude::*};
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// The row of each cell in the data, and its place among the embeddings.
type Pairs = Vec<(usize, usize)>;

/// The part of a model that decodes embeddings.
const DECODER: &str = "decoder";
/// Cells whose expectations are held at once.
const BLOCK: usize = 256;

/// The network of the decoder.
#[derive(Debug, Clone)]
pub(super) struct DecoderNet<D: Backend> {
    device: D,
    trunk: Mlp<D>,
    output: Linear<D>,
    log_theta: Vector<D>,
    with_remainder: bool,
}

walk_params!(DecoderNet { params: [log_theta], buffers: [], layers: [trunk, output] });

/// Embeddings and the counts that they are of.
pub(super) struct DecodedCells<'a> {
    pub data: &'a Dataset,
    /// Row of the dataset, and place among the embeddings.
    pub cells: Vec<(usize, usize)>,
    pub z: &'a Array2<f32>,
    pub with_remainder: bool,
}

/// Some of them.
pub(super) struct DecodedBatch {
    z: Array2<f32>,
    target: CountTarget,
}

impl BatchSource for DecodedCells<'_> {
    type Batch = DecodedBatch;

    fn len(&self) -> usize {
        self.cells.len()
    }

    fn batch(&self, rows: &[usize]) -> Result<DecodedBatch> {
        let (cells, places): (Vec<usize>, Vec<usize>) = rows.iter().map(|&row| self.cells[row]).unzip();
        let library_size = size_factors(self.data, &cells, self.with_remainder).into();
        let counts = Arc::new(self.data.counts.select_cells(&cells));
        let target = CountTarget { counts, library_size, with_remainder: self.with_remainder };
        Ok(DecodedBatch { z: self.z.select(Axis(0), &places), target })
    }

    fn name(&self, row: usize) -> String {
        self.data.cells.names[self.cells[row].0].clone()
    }
}

impl DecoderNet<Cpu> {
    fn new((width, hidden, genes): (usize, usize, usize), with_remainder: bool, seed: u64) -> Result<Self> {
        let (device, mut rng) = (Cpu::seed_from_u64(seed), ChaCha8Rng::seed_from_u64(seed));
        let finish = FinishConfig { norm: Norm::Layer, ..FinishConfig::default() };
        // Drawn in this order ever since, so that a seed means the same model.
        let output = Linear::new(&device, hidden, genes, &mut rng)?;
        Ok(Self {
            trunk: Mlp::new(&device, &[width, hidden], finish, &mut rng)?,
            output,
            log_theta: init::constant(&device, (genes,), 0.0)?,
            device,
            with_remainder,
        })
    }
}

impl<D: Backend> DecoderNet<D> {
    fn logits<T: Tape<f32, D>>(&self, z: Matrix<D, T>) -> Result<Matrix<D, T>> {
        self.output.forward(self.trunk.forward(z)?)
    }
}

impl<D: Backend> Trainable<D> for DecoderNet<D> {
    type Batch = DecodedBatch;

    fn loss<T: Tape<f32, D>>(&mut self, batch: &DecodedBatch, tape: T, _: &mut StepContext<'_>) -> Result<Loss<D, T>> {
        let logits = self.logits(ops::upload(&self.device, &batch.z)?.put_tape(tape))?;
        let total = ops::mean(D::count_nll(logits, Dispersion::Gene(&self.log_theta), None, &batch.target)?)?;
        let parts = vec![("nll", ops::to_f32(&total))];
        Ok(Loss { total, parts })
    }
}

/// A trained decoder.
pub(super) struct Decoder {
    net: DecoderNet<Cpu>,
}

impl Decoder {
    /// Trains on some cells, stopped by others; each is a row of the dataset and a place among the embeddings z.
    ///
    /// # Errors
    /// A loss that is not finite.
    pub fn fit(
        data: &Dataset,
        z: &Array2<f32>,
        (train, aside): (Pairs, Pairs),
        hidden: usize,
        config: &TrainConfig,
        run: &Run<'_>,
    ) -> Result<Self> {
        let rows: Vec<usize> = train.iter().map(|&(row, _)| row).collect();
        // A library larger than its modelled counts has genes that are not modelled; see `CountTarget`.
        let sum = |row: usize| data.counts.row(row).1.iter().sum::<f32>();
        let with_remainder = rows.iter().any(|&row| data.library_size[row] > sum(row) * 1.001);
        let mut net = DecoderNet::new((z.ncols(), hidden, data.n_genes()), with_remainder, config.seed)?;
        net.output.bias.copy_from(&output_bias(data, &rows, Likelihood::Nb, with_remainder));
        let source = |cells: Vec<(usize, usize)>| DecodedCells { data, cells, z, with_remainder };
        let (train, aside) = (source(train), source(aside));
        let watched = (!aside.is_empty()).then_some(&aside);
        let early_stopping = config.early_stopping.filter(|_| watched.is_some());
        let config = TrainConfig { early_stopping, ..config.clone() };
        fit(&mut net, &train, watched, &Cpu::default(), &config, &mut run.part(DECODER))?;
        Ok(Self { net })
    }

    /// From saved weights.
    ///
    /// # Errors
    /// Weights that do not fit.
    pub fn restored(shape: (usize, usize, usize), with_remainder: bool, state: &State) -> Result<Self> {
        let mut net = DecoderNet::new(shape, with_remainder, 0)?;
        state.fill(DECODER, &mut net)?;
        Ok(Self { net })
    }

    /// Adds its weights.
    ///
    /// # Errors
    /// Those of the network's walk.
    pub fn add_to(&self, state: State) -> Result<State> {
        state.with_network(DECODER, &self.net)
    }

    /// Whether a library counts genes that are not modelled; see `CountTarget`.
    pub fn with_remainder(&self) -> bool {
        self.net.with_remainder
    }

    /// What the decoder says of embeddings, with `offset` `(genes,)` added to its logits.
    fn decoded(&self, z: &Array2<f32>, offset: Option<&Array1<f64>>) -> Result<CountModel> {
        let mut logits = ops::download(&self.net.logits(ops::upload(&self.net.device, z)?)?);
        if let Some(offset) = offset {
            logits += &offset.mapv(|v| v as f32);
        }
        let log_theta = Array2::from_shape_vec((1, logits.ncols()), self.net.log_theta.as_vec()).expect("one a gene");
        Ok(CountModel::negative_binomial(logits, log_theta))
    }

    /// Expected counts summed over embeddings z `(cells, width)` of the library sizes of the rows `from`, `(genes,)`, and
    /// the sum of these.
    ///
    /// # Errors
    /// A width that does not fit.
    pub fn totals(
        &self,
        z: &Array2<f32>,
        offset: Option<&Array1<f64>>,
        data: &Dataset,
        from: &[usize],
    ) -> Result<(Array1<f64>, f64)> {
        let sizes = self.size_factors(data, from);
        let means = self.decoded(z, offset)?.mean(&sizes, self.net.with_remainder);
        let total = sizes.iter().map(|&size| f64::from(size)).sum();
        Ok((means.mapv(f64::from).sum_axis(Axis(0)), total))
    }

    /// Counts of cells of embeddings z `(cells, width)`, `(cells, genes)`; the library sizes are those
    /// of the rows `from` of the dataset. Drawn anew; or, where their control embeddings and offset are given, the counts
    /// of `from` taken over at their quantiles (see `quantile`).
    ///
    /// # Errors
    /// A width that does not fit.
    pub fn counts(
        &self,
        (z, offset): (&Array2<f32>, &Array1<f64>),
        control: Option<(&Array2<f32>, &Array1<f64>)>,
        data: &Dataset,
        from: &[usize],
        seed: u64,
    ) -> Result<Array2<f32>> {
        let (sizes, total) = (self.size_factors(data, from), self.net.with_remainder);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let decoded = self.decoded(z, Some(offset))?;
        Ok(match control {
            None => sample_counts(&decoded, &sizes, total, &mut rng),
            Some((h, offset)) => {
                let before = self.decoded(h, Some(offset))?.mean(&sizes, total);
                let (mut cells, theta) = (decoded.mean(&sizes, total), self.theta());
                let counts = data.counts.select_cells(from).to_dense();
                let seed = rng.next_u64();
                cells.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(cell, mut row)| {
                    let mut rng = ChaCha8Rng::seed_from_u64(seed);
                    rng.set_stream(cell as u64);
                    for (gene, value) in row.iter_mut().enumerate() {
                        let (x, mean) = (f64::from(counts[[cell, gene]]), f64::from(before[[cell, gene]]));
                        *value = transported(x, mean, f64::from(*value), theta[gene], rng.random()) as f32;
                    }
                });
                cells
            }
        })
    }

    /// Expected log-normalised expression, the mean over the cells z, `(genes,)`: without the noise of a draw.
    ///
    /// # Errors
    /// No cells; a width that does not fit.
    pub fn expected(
        &self,
        z: &Array2<f32>,
        offset: &Array1<f64>,
        data: &Dataset,
        from: &[usize],
    ) -> Result<Array1<f64>> {
        if from.is_empty() {
            return Err(Error::data("no cells were chosen"));
        }
        let mut sum = Array1::<f64>::zeros(data.n_genes());
        for (z, from) in z.axis_chunks_iter(Axis(0), BLOCK).zip(from.chunks(BLOCK)) {
            let sizes = self.size_factors(data, from);
            let scales: Vec<f64> =
                from.iter().map(|&row| f64::from(NORMALISED_TOTAL / data.library_size[row].max(1.0))).collect();
            let decoded = self.decoded(&z.to_owned(), Some(offset))?;
            sum += &decoded.expected_log1p(&sizes, &scales, self.net.with_remainder);
        }
        Ok(sum / from.len() as f64)
    }

    /// What the shares of the cells `rows` are multiplied by, `(rows,)`.
    pub fn size_factors(&self, data: &Dataset, rows: &[usize]) -> Vec<f32> {
        size_factors(data, rows, self.net.with_remainder)
    }

    /// The inverse dispersion of each gene.
    pub fn theta(&self) -> Vec<f64> {
        self.net
            .log_theta
            .as_vec()
            .into_iter()
            .map(|v| f64::from(v.clamp(LOG_THETA_MIN, LOG_THETA_MAX)).exp())
            .collect()
    }
}

/// What the shares of a cell are multiplied by: its library over all genes, or over those modelled.
fn size_factors(data: &Dataset, rows: &[usize], total: bool) -> Vec<f32> {
    let factor = |&row: &usize| {
        let kept: f32 = data.counts.row(row).1.iter().sum();
        (if total { data.library_size[row].max(kept) } else { kept }).max(1.0)
    };
    rows.iter().map(factor).collect()
}
