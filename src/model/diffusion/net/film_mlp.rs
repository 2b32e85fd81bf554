//! A residual multilayer perceptron whose every block is scaled and shifted by time and condition.
//!
//! ```text
//! c = SiLU(T(t) + C(condition))                          (runs, embedding)
//! h_0 = x W_in + b_in                                    (rows, width)
//! h_l = h_{l-1} + W_l SiLU(FiLM(LN(h_{l-1}), c)) + b_l   l = 1..depth
//! f = SiLU(LN(h_depth)) W_out + b_out                    (rows, dims); W_out, b_out start at 0
//! ```
//!
//! FiLM: Perez et al. 2018. Pre-activation residual blocks: He et al. 2016, *Identity Mappings*. A network that starts at 0
//! predicts the mean of a noise, which is where the loss of denoising starts anyway.

use super::{ConditionEmbedding, Given, TimeEmbedding, zero_linear};
use crate::{
    Result,
    nn::{Activation, Backend, Film, LayerNorm, Linear, Matrix, RowSets, ops, walk_params},
};
use dfdx::prelude::{PutTape, SplitTape, Tape};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Size of a FiLM MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilmMlpConfig {
    /// Features of a hidden layer; default 256.
    pub width: usize,
    /// Residual blocks; default 4.
    pub depth: usize,
    /// Features of the embedding of time and condition; default 64.
    pub embedding: usize,
}

impl Default for FilmMlpConfig {
    fn default() -> Self {
        Self { width: 256, depth: 4, embedding: 64 }
    }
}

/// One residual block.
#[derive(Debug, Clone)]
pub struct FilmBlock<D: Backend> {
    /// LN.
    pub norm: LayerNorm<D>,
    /// By time and condition.
    pub film: Film<D>,
    /// W_l, b_l.
    pub linear: Linear<D>,
}

walk_params!(FilmBlock { params: [], buffers: [], layers: [norm, film, linear] });

impl<D: Backend> FilmBlock<D> {
    fn forward<T: Tape<f32, D>>(&self, h: Matrix<D, T>, c: Matrix<D, T>, runs: &RowSets) -> Result<Matrix<D, T>> {
        let (h, tape) = h.split_tape();
        let update = self.film.forward(self.norm.forward(h.clone().put_tape(tape))?, c, runs)?;
        D::residual(self.linear.forward(Activation::Silu.forward(update)?)?, h)
    }
}

/// The network.
#[derive(Debug, Clone)]
pub struct FilmMlp<D: Backend> {
    /// T.
    pub time: TimeEmbedding<D>,
    /// C, of a conditional network.
    pub condition: Option<ConditionEmbedding<D>>,
    /// W_in, b_in.
    pub input: Linear<D>,
    /// One after the other.
    pub blocks: Vec<FilmBlock<D>>,
    /// Of the last hidden layer.
    pub norm: LayerNorm<D>,
    /// W_out, b_out.
    pub output: Linear<D>,
}

walk_params!(FilmMlp { params: [], buffers: [], layers: [time, condition, input, blocks, norm, output] });

impl<D: Backend> FilmMlp<D> {
    /// A network over rows of `dims` numbers with conditions of `condition`, 0 for none.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn new(device: &D, dims: usize, condition: usize, config: FilmMlpConfig, rng: &mut ChaCha8Rng) -> Result<Self> {
        let FilmMlpConfig { width, depth, embedding } = config;
        let block = |rng: &mut ChaCha8Rng| -> Result<FilmBlock<D>> {
            let norm = LayerNorm::new(device, width)?;
            let film = Film::new(device, embedding, width)?;
            Ok(FilmBlock { norm, film, linear: Linear::new(device, width, width, rng)? })
        };
        Ok(Self {
            time: TimeEmbedding::new(device, embedding, rng)?,
            condition: (condition > 0)
                .then(|| ConditionEmbedding::new(device, condition, embedding, embedding, rng))
                .transpose()?,
            input: Linear::new(device, dims, width, rng)?,
            blocks: (0..depth).map(|_| block(rng)).collect::<Result<_>>()?,
            norm: LayerNorm::new(device, width)?,
            output: zero_linear(device, width, dims)?,
        })
    }

    /// `(rows, dims)` to the same shape.
    ///
    /// # Errors
    /// An x of another width; what is given is of other rows or another width.
    pub fn forward<T: Tape<f32, D>>(&self, x: Matrix<D, T>, given: &Given) -> Result<Matrix<D, T>> {
        let c = embed(&self.time, self.condition.as_ref(), given)?;
        let mut h = self.input.forward(x)?;
        // The embedding goes into every block: each gets a share of it, and the first its tape.
        let (c, mut tape) = c.split_tape();
        for block in &self.blocks {
            h = block.forward(h, c.clone().put_tape(std::mem::take(&mut tape)), given.runs())?;
        }
        self.output.forward(Activation::Silu.forward(self.norm.forward(h)?)?)
    }
}

/// `SiLU(T(t) + C(condition))` of each run, `(runs, embedding)`; begins a tape.
pub(super) fn embed<D: Backend, T: Tape<f32, D>>(
    time: &TimeEmbedding<D>,
    condition: Option<&ConditionEmbedding<D>>,
    given: &Given,
) -> Result<Matrix<D, T>> {
    let mut c = time.forward(given.times(), T::default())?;
    if let Some(condition) = condition {
        c = ops::add(c, condition.forward(given, T::default())?)?;
    }
    Activation::Silu.forward(c)
}
