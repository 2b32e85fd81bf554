//! Attention over the numbers of a vector: each of them, or a few neighbours, is a token.
//!
//! ```text
//! u_j = (1 + g_j) * (x_j W_in + b_in) + s_j        token j of a row: numbers of group j; g_j, s_j are learned for each
//! h = Block_l(FiLM_l(h, c))                        l = 1..depth; pre-norm self-attention among the tokens of a row
//! f_j = LN(h_j) W_out + b_out                      W_out, b_out start at 0
//! ```
//!
//! c as of [`FilmMlp`](super::FilmMlp). After Gorishniy et al. 2021, *Revisiting Deep Learning Models for Tabular Data*
//! (FT-Transformer), whose tokens have weights of their own; here they share one matrix and have a scale and shift of their
//! own, which is the same for groups of one number.

use super::{ConditionEmbedding, Given, TimeEmbedding, film_mlp::embed, zero_linear};
use crate::{
    Error, Result,
    nn::{AttentionConfig, Backend, Film, LayerNorm, Linear, Matrix, RowSets, TransformerBlock, init, walk_params},
};
use dfdx::prelude::{Axis, HasShape, PutTape, ReshapeTo, SplitTape, Tape, TryConcatAlong};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How vectors of `dims` numbers divide into tokens of `group` neighbours; the last one is filled up with zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Groups {
    /// Numbers of a vector.
    pub dims: usize,
    /// Numbers of a token.
    pub group: usize,
}

impl Groups {
    /// Tokens of a vector.
    pub fn tokens(&self) -> usize {
        self.dims.div_ceil(self.group)
    }

    /// `(rows, dims)` to `(rows * tokens, group)`, the tokens of a row one after the other.
    ///
    /// # Errors
    /// An x of another width.
    pub fn split<D: Backend, T: Tape<f32, D>>(&self, mut x: Matrix<D, T>) -> Result<Matrix<D, T>> {
        let (rows, dims) = *x.shape();
        if dims != self.dims {
            return Err(Error::shape("score network of x", (rows, dims), (rows, self.dims)));
        }
        let missing = self.tokens() * self.group - dims;
        let run = || {
            if missing > 0 {
                let zeros = x.device().try_zeros_like(&(rows, missing))?.put_tape(T::default());
                x = (x, zeros).try_concat_along(Axis::<1>)?;
            }
            x.try_reshape_like(&(rows * self.tokens(), self.group))
        };
        run().map_err(|e: D::Err| Error::device("cutting into tokens", e))
    }

    /// `(rows * tokens, group)` to `(rows, dims)`.
    ///
    /// # Errors
    /// A device that fails.
    pub fn join<D: Backend, T: Tape<f32, D>>(&self, x: Matrix<D, T>) -> Result<Matrix<D, T>> {
        let rows = x.shape().0 / self.tokens();
        let filled = self.tokens() * self.group;
        let run = || {
            let x = x.try_reshape_like(&(rows, filled))?;
            if filled == self.dims { Ok(x) } else { x.try_slice((0..rows, 0..self.dims)) }
        };
        run().map_err(|e: D::Err| Error::device("joining tokens", e))
    }
}

/// `(a, b)` as `(a b / width, width)`.
pub(super) fn reshape<D: Backend, T: Tape<f32, D>>(x: Matrix<D, T>, width: usize) -> Result<Matrix<D, T>> {
    let shape = ((x.shape().0 * x.shape().1) / width, width);
    x.try_reshape_like(&shape).map_err(|e| Error::device("reshape", e))
}

/// The rows of `table`, `times` times over: `(times * rows, width)`.
pub(super) fn repeat<D: Backend, T: Tape<f32, D>>(table: &Matrix<D>, times: usize) -> Result<Matrix<D, T>> {
    let rows = table.shape().0 as u32;
    let index: Arc<[u32]> = (0..times).flat_map(|_| 0..rows).collect();
    D::take_rows(table.retaped::<T>(), &index)
}

/// The rows of `a`, then those of `b`.
pub(super) fn concat_rows<D: Backend, T: Tape<f32, D>>(a: Matrix<D, T>, b: Matrix<D, T>) -> Result<Matrix<D, T>> {
    (a, b).try_concat_along(Axis::<0>).map_err(|e| Error::device("concat_rows", e))
}

/// Spread of g and s at the start: the tokens differ, by about as much as by their values of unit spread.
const FEATURE_SPREAD: f32 = 0.5;

/// Size of a tabular attention network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TabularConfig {
    /// Numbers a token; default 4.
    pub group: usize,
    /// Features of a token; default 64.
    pub width: usize,
    /// Blocks; default 3.
    pub depth: usize,
    /// Attention heads, which divide the width; default 4.
    pub heads: usize,
    /// Features of the embedding of time and condition; default 64.
    pub embedding: usize,
}

impl Default for TabularConfig {
    fn default() -> Self {
        Self { group: 4, width: 64, depth: 3, heads: 4, embedding: 64 }
    }
}

/// One block.
#[derive(Debug, Clone)]
pub struct TabularBlock<D: Backend> {
    /// By time and condition.
    pub film: Film<D>,
    /// Attention and feed-forward layer.
    pub block: TransformerBlock<D>,
}

walk_params!(TabularBlock { params: [], buffers: [], layers: [film, block] });

/// The network.
#[derive(Debug, Clone)]
pub struct Tabular<D: Backend> {
    /// T.
    pub time: TimeEmbedding<D>,
    /// C, of a conditional network.
    pub condition: Option<ConditionEmbedding<D>>,
    /// W_in, b_in.
    pub input: Linear<D>,
    /// g and s of each token, `(tokens, 2 width)`.
    pub feature: Matrix<D>,
    /// One after the other.
    pub blocks: Vec<TabularBlock<D>>,
    /// LN.
    pub norm: LayerNorm<D>,
    /// W_out, b_out.
    pub output: Linear<D>,
    groups: Groups,
}

walk_params!(Tabular {
    params: [feature],
    buffers: [],
    layers: [time, condition, input, blocks, norm, output],
    kept: [groups]
});

impl<D: Backend> Tabular<D> {
    /// A network over rows of `dims` numbers with conditions of `condition`, 0 for none.
    ///
    /// # Errors
    /// Heads that do not divide the width; a device without memory for it.
    pub fn new(device: &D, dims: usize, condition: usize, config: TabularConfig, rng: &mut ChaCha8Rng) -> Result<Self> {
        let TabularConfig { group, width, depth, heads, embedding } = config;
        let groups = Groups { dims, group };
        let attention = AttentionConfig { heads, dropout: 0.0 };
        let block = |rng: &mut ChaCha8Rng| -> Result<TabularBlock<D>> {
            let film = Film::new(device, embedding, width)?;
            Ok(TabularBlock { film, block: TransformerBlock::new(device, width, attention, rng)? })
        };
        Ok(Self {
            time: TimeEmbedding::new(device, embedding, rng)?,
            condition: (condition > 0)
                .then(|| ConditionEmbedding::new(device, condition, embedding, embedding, rng))
                .transpose()?,
            input: Linear::new(device, group, width, rng)?,
            feature: init::normal(device, (groups.tokens(), 2 * width), FEATURE_SPREAD, rng)?,
            blocks: (0..depth).map(|_| block(rng)).collect::<Result<_>>()?,
            norm: LayerNorm::new(device, width)?,
            output: zero_linear(device, width, group)?,
            groups,
        })
    }

    /// `(rows, dims)` to the same shape.
    ///
    /// # Errors
    /// An x of another width; what is given is of other rows or another width.
    pub fn forward<T: Tape<f32, D>>(&self, x: Matrix<D, T>, given: &Given) -> Result<Matrix<D, T>> {
        let (rows, tokens) = (x.shape().0, self.groups.tokens());
        let (sets, runs) = (RowSets::uniform(rows, tokens), given.runs_of_tokens(tokens));
        let u = self.input.forward(self.groups.split(x)?)?; // (rows * tokens, width)
        let mut h = D::film(u, repeat(&self.feature, rows)?, &RowSets::uniform(rows * tokens, 1))?;
        let (c, mut tape) = embed::<D, T>(&self.time, self.condition.as_ref(), given)?.split_tape();
        for block in &self.blocks {
            h = block.film.forward(h, c.clone().put_tape(std::mem::take(&mut tape)), &runs)?;
            h = block.block.forward(h, &sets)?;
        }
        self.groups.join(self.output.forward(self.norm.forward(h)?)?)
    }
}
