//! One block of a [`Dit`](super::Dit).

use super::zero_linear;
use crate::{
    Error, Result,
    nn::{
        AttentionConfig, Backend, FeedForward, Film, LayerNorm, Linear, Matrix, MultiHeadAttention, RowSets, Vector,
        init, ops, walk_params,
    },
};
use dfdx::prelude::{HasShape, PutTape, SplitTape, Tape};
use rand_chacha::ChaCha8Rng;

/// Added to the variance; DiT's.
const EPSILON: f32 = 1e-6;

/// A layer norm without weights.
#[derive(Debug, Clone)]
pub(super) struct Plain<D: Backend> {
    one: Vector<D>,
    zero: Vector<D>,
}

impl<D: Backend> Plain<D> {
    pub fn new(device: &D, width: usize) -> Result<Self> {
        Ok(Self { one: init::constant(device, (width,), 1.0)?, zero: init::constant(device, (width,), 0.0)? })
    }

    pub fn forward<T: Tape<f32, D>>(&self, x: Matrix<D, T>) -> Result<Matrix<D, T>> {
        D::layer_norm(x, &self.one, &self.zero, EPSILON)
    }
}

/// What an update is multiplied by before it is added: `1 + c W + b`, where W starts at 0 and b at -1.
#[derive(Debug, Clone)]
pub struct Gate<D: Backend> {
    /// W and b.
    pub projection: Linear<D>,
}

walk_params!(Gate { params: [], buffers: [], layers: [projection] });

impl<D: Backend> Gate<D> {
    fn new(device: &D, embedding: usize, width: usize) -> Result<Self> {
        let mut projection = zero_linear(device, embedding, width)?;
        projection.bias = init::constant(device, (width,), -1.0)?;
        Ok(Self { projection })
    }

    fn forward<T: Tape<f32, D>>(&self, x: Matrix<D, T>, c: Matrix<D, T>, runs: &RowSets) -> Result<Matrix<D, T>> {
        let gamma = self.projection.forward(c)?; // (runs, width)
        let zeros = gamma.device().try_zeros_like(&{ *gamma.shape() }).map_err(|e| Error::device("gate", e))?;
        D::film(x, ops::concat_columns(gamma, zeros.put_tape(T::default()))?, runs)
    }
}

/// Cross-attention to the tokens of the condition.
#[derive(Debug, Clone)]
pub struct Cross<D: Backend> {
    /// Of the queries.
    pub norm: LayerNorm<D>,
    /// To the condition's tokens.
    pub attention: MultiHeadAttention<D>,
}

walk_params!(Cross { params: [], buffers: [], layers: [norm, attention] });

/// Self-attention, cross-attention where there is one, and a feed-forward layer.
#[derive(Debug, Clone)]
pub struct DitBlock<D: Backend> {
    /// Before the attention.
    pub attention_film: Film<D>,
    /// Among the tokens of a row.
    pub attention: MultiHeadAttention<D>,
    /// After the attention.
    pub attention_gate: Gate<D>,
    /// To the condition.
    pub cross: Option<Cross<D>>,
    /// Before the feed-forward layer.
    pub film: Film<D>,
    /// Of each token on its own.
    pub feed_forward: FeedForward<D>,
    /// After it.
    pub gate: Gate<D>,
}

walk_params!(DitBlock {
    params: [],
    buffers: [],
    layers: [attention_film, attention, attention_gate, cross, film, feed_forward, gate]
});

impl<D: Backend> DitBlock<D> {
    pub(super) fn new(
        device: &D,
        width: usize,
        embedding: usize,
        heads: usize,
        crosses: bool,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let config = AttentionConfig { heads, dropout: 0.0 };
        let cross = |rng: &mut ChaCha8Rng| -> Result<Cross<D>> {
            let norm = LayerNorm::new(device, width)?;
            Ok(Cross { norm, attention: MultiHeadAttention::new(device, width, width, config, rng)? })
        };
        Ok(Self {
            attention_film: Film::new(device, embedding, width)?,
            attention: MultiHeadAttention::new(device, width, width, config, rng)?,
            attention_gate: Gate::new(device, embedding, width)?,
            cross: crosses.then(|| cross(rng)).transpose()?,
            film: Film::new(device, embedding, width)?,
            feed_forward: FeedForward::new(device, width, rng)?,
            gate: Gate::new(device, embedding, width)?,
        })
    }

    /// h `(sets * tokens, width)` with c `(runs, embedding)`; `told` are the tokens of the condition and their sets, one a
    /// run.
    pub(super) fn forward<T: Tape<f32, D>>(
        &self,
        h: Matrix<D, T>,
        c: Matrix<D, T>,
        told: Option<(Matrix<D, T>, &RowSets)>,
        sets: &RowSets,
        runs: &RowSets,
        plain: &Plain<D>,
    ) -> Result<Matrix<D, T>> {
        let (c, tape) = c.split_tape();
        let (h, rest) = h.split_tape();
        let x = plain.forward(h.clone().put_tape(rest))?;
        let x = self.attention_film.forward(x, c.clone().put_tape(tape), runs)?;
        let (x, tape) = x.split_tape();
        let x = self.attention.forward(x.clone().put_tape(tape), x.retaped(), sets, sets)?;
        let mut h = D::residual(self.attention_gate.forward(x, c.retaped(), runs)?, h)?;
        if let (Some(cross), Some((told, keys))) = (&self.cross, told) {
            let (x, tape) = h.split_tape();
            let queries = cross.norm.forward(x.clone().put_tape(tape))?;
            h = D::residual(cross.attention.forward(queries, told, runs, keys)?, x)?;
        }
        let (x, tape) = h.split_tape();
        let update = self.film.forward(plain.forward(x.clone().put_tape(tape))?, c.retaped(), runs)?;
        let update = self.gate.forward(self.feed_forward.forward(update)?, c.retaped(), runs)?;
        D::residual(update, x)
    }
}
