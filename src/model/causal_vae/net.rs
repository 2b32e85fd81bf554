//! The network: encoder, shifts, decoder. The module's documentation has the equations.

use super::config::CausalVaeConfig;
use crate::{
    Error, Result,
    model::Vocabulary,
    nn::{
        Backend, CountTarget, Dispersion, Embedding, Finish, IndexSets, Linear, LinearLogits, Matrix, Mlp, Scalar,
        SparseLinear, Vector, init, ops, walk_params,
    },
};
use dfdx::prelude::{HasShape, PutTape, Tape};
use rand_chacha::ChaCha8Rng;
use std::{ops::Range, sync::Arc};

/// Standard deviation of the shifts at the start: small, so that a cell is at first what it would be as control.
const FIRST_SHIFTS: f32 = 0.01;

/// The network of a [`CausalVae`](super::CausalVae).
#[derive(Debug, Clone)]
pub struct CausalNet<D: Backend> {
    pub(super) device: D,
    pub(super) config: CausalVaeConfig,
    /// Whether library sizes count more genes than are modelled.
    pub(super) with_remainder: bool,
    /// Training cells: what the log prior of the shifts is divided by.
    pub(super) training_cells: usize,
    input: SparseLinear<D>,
    library: Linear<D>,
    input_finish: Finish<D>,
    encoder: Mlp<D>,
    mu: Linear<D>,
    logvar: Linear<D>,
    /// How much of a shift the encoder has seen in the counts, and takes off again where it is told of it.
    explained: Linear<D>,
    /// Delta, `(perturbed genes, state)`.
    pub(super) shifts: Embedding<D>,
    /// Prior mean of the technical block, `(lanes, technical)`.
    lanes: Embedding<D>,
    /// Prior mean of the identity block, `(contexts, identity)`.
    contexts: Embedding<D>,
    decoder: Mlp<D>,
    output: Linear<D>,
    /// `(genes,)`.
    pub(super) log_theta: Vector<D>,
}

walk_params!(CausalNet {
    params: [log_theta],
    buffers: [],
    layers: [input, library, input_finish, encoder, mu, logvar, explained, shifts, lanes, contexts, decoder, output],
    kept: [config, with_remainder, training_cells],
    device_field: device
});

/// `q(z|x)` before shifts: means and log variances of all blocks, `(cells, latent)` each.
pub struct Read<D: Backend, T: Tape<f32, D>> {
    /// Means m(x).
    pub mu: Matrix<D, T>,
    /// Log variances, clamped.
    pub logvar: Matrix<D, T>,
}

/// Whether dropout is on, and its random numbers.
pub(super) enum Pass<'a> {
    Training(&'a mut ChaCha8Rng),
    Still,
}

impl<D: Backend> CausalNet<D> {
    /// A new network with random weights for `vocabulary` and a number of contexts.
    ///
    /// # Errors
    /// Settings out of range; no memory on the device.
    pub fn new(
        device: &D,
        vocabulary: &Vocabulary,
        contexts: usize,
        config: &CausalVaeConfig,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        config.validate()?;
        let (genes, latent) = (vocabulary.genes.len(), config.latent());
        let (first, last) = (config.encoder[0], *config.encoder.last().expect("validated: at least one layer"));
        let widths: Vec<usize> = std::iter::once(latent).chain(config.decoder.iter().copied()).collect();
        let table = |rows: usize, width: usize, sd: f32, rng: &mut ChaCha8Rng| {
            Ok::<_, Error>(Embedding { weight: init::normal(device, (rows.max(1), width), sd, rng)? })
        };
        let square = (config.state, config.state);
        let nothing = Linear {
            weight: init::constant(device, square, 0.0)?,
            bias: init::constant(device, (config.state,), 0.0)?,
        };
        Ok(Self {
            device: device.clone(),
            config: config.clone(),
            with_remainder: false,
            training_cells: 1,
            input: SparseLinear::new(device, genes, first, rng)?,
            library: Linear::new(device, 1, first, rng)?,
            input_finish: Finish::new(device, first, config.finish())?,
            encoder: Mlp::new(device, &config.encoder, config.finish(), rng)?,
            mu: Linear::new(device, last, latent, rng)?,
            logvar: Linear::new(device, last, latent, rng)?,
            explained: nothing,
            shifts: table(vocabulary.perturbed.len(), config.state, FIRST_SHIFTS, rng)?,
            lanes: table(vocabulary.lanes.len(), config.technical, FIRST_SHIFTS, rng)?,
            contexts: table(contexts, config.identity, FIRST_SHIFTS, rng)?,
            decoder: Mlp::new(device, &widths, config.finish(), rng)?,
            output: Linear::new(device, *widths.last().expect("there is the latent"), genes, rng)?,
            log_theta: init::constant(device, (genes,), 0.0)?,
        })
    }

    pub(super) fn start_output_at(&mut self, bias: &[f32]) {
        self.output.bias.copy_from(bias);
    }

    /// Columns of the blocks in z: identity, state, technical.
    pub fn blocks(&self) -> [Range<usize>; 3] {
        let (identity, state) = (self.config.identity, self.config.identity + self.config.state);
        [0..identity, identity..state, state..self.config.latent()]
    }

    /// m(x) and log variances of cells with these standardised log library sizes.
    pub(super) fn read<T: Tape<f32, D>>(
        &mut self,
        counts: &Arc<crate::data::Counts>,
        log_library: &[f32],
        tape: T,
        pass: Pass<'_>,
    ) -> Result<Read<D, T>> {
        let column = self.device.try_tensor_from_vec(log_library.to_vec(), (log_library.len(), 1));
        let column = column.map_err(|e| Error::device("log library size", e))?;
        let library = self.library.forward(column.put_tape(T::default()))?;
        let h = ops::add(self.input.forward(counts, tape)?, library)?; // (cells, encoder[0])
        let h = match pass {
            Pass::Still => self.encoder.forward(self.input_finish.forward(h)?)?,
            Pass::Training(rng) => {
                let h = self.input_finish.forward_training(h, rng)?;
                self.encoder.forward_training(h, rng)?
            }
        };
        let clamp = f64::from(self.config.logvar_clamp);
        let logvar = self.logvar.forward(h.retaped::<T>())?.try_clamp(-clamp, clamp);
        Ok(Read { logvar: logvar.map_err(|e| Error::device("clamping logvar", e))?, mu: self.mu.forward(h)? })
    }

    /// The sum of the shifts of each set of perturbed genes, `(sets, state)`.
    ///
    /// # Errors
    /// A gene that has no shift.
    pub fn shift<T: Tape<f32, D>>(&self, sets: &Arc<IndexSets>) -> Result<Matrix<D, T>> {
        self.shifts.forward(sets, T::default())
    }

    /// What the encoder takes off the state of a cell of which it is told that it was shifted, `(cells, state)`.
    pub(super) fn explained<T: Tape<f32, D>>(&self, shift: Matrix<D, T>) -> Result<Matrix<D, T>> {
        self.explained.forward(shift)
    }

    /// Prior means of the technical block, `(cells, technical)`.
    pub(super) fn of_lanes<T: Tape<f32, D>>(&self, lanes: &[u32]) -> Result<Matrix<D, T>> {
        self.lanes.forward(&Arc::new(IndexSets::from_indices(lanes.to_vec())), T::default())
    }

    /// Prior means of the identity block, `(cells, identity)`; 0 for a cell without a context.
    pub(super) fn of_contexts<T: Tape<f32, D>>(&self, contexts: &Arc<IndexSets>) -> Result<Matrix<D, T>> {
        self.contexts.forward(contexts, T::default())
    }

    /// The decoder's last hidden layer, z `(cells, latent)` to `(cells, hidden)`.
    pub(super) fn decode<T: Tape<f32, D>>(&mut self, z: Matrix<D, T>, pass: Pass<'_>) -> Result<Matrix<D, T>> {
        match pass {
            Pass::Still => self.decoder.forward(z),
            Pass::Training(rng) => self.decoder.forward_training(z, rng),
        }
    }

    /// Logits of each gene's share of the library, `(cells, genes)`, from what [`Self::decode`] gives.
    pub(super) fn logits<T: Tape<f32, D>>(&self, h: Matrix<D, T>) -> Result<Matrix<D, T>> {
        self.output.forward(h)
    }

    /// `-ln p(x|z)` in nats, the mean over the cells, from what [`Self::decode`] gives.
    pub(super) fn mean_nll<T: Tape<f32, D>>(&self, h: Matrix<D, T>, target: &CountTarget) -> Result<Scalar<D, T>> {
        let logits = LinearLogits { h, weight: &self.output.weight, bias: &self.output.bias };
        D::output_head(logits, Dispersion::Gene(&self.log_theta), None, target)
    }

    /// The columns `range` of z, as a branch with a tape of its own. dfdx's gradient of a slice overwrites that of z: whoever slices
    /// z uses it in no other way.
    pub(super) fn block<T: Tape<f32, D>>(z: &Matrix<D, T>, range: Range<usize>) -> Result<Matrix<D, T>> {
        let rows = z.shape().0;
        z.retaped::<T>().try_slice((0..rows, range)).map_err(|e| Error::device("taking a block of z", e))
    }
}
