//! A diffusion transformer over the tokens of a latent vector, with adaptive norms that start at zero.
//!
//! ```text
//! h = x_j W_in + b_in + p_j                                    token j of a row: numbers of group j; p_j is learned
//! h = h + gate_1(c) * A(FiLM_1(N(h), c))                       A: self-attention among the tokens of a row
//! h = h + gate_2(c) * F(FiLM_2(N(h), c))                       F: feed-forward layer
//! f_j = FiLM(N(h_j), c) W_out + b_out                          W_out, b_out start at 0
//! ```
//!
//! N is a layer norm without weights; FiLM scales and shifts by c and starts as the identity, and the gates start at 0, so
//! that every block starts as the identity: AdaLN-Zero, Peebles and Xie 2023, *Scalable Diffusion Models with
//! Transformers*, section 3.2. Their three ways for a condition to come in ([`DitConditioning`]):
//!
//! - with the time: `c = SiLU(T(t) + C(condition))`;
//! - as tokens of their own, which take part in the self-attention and are left out at the end (`c = SiLU(T(t))`);
//! - by cross-attention to such tokens, after the self-attention: `h = h + X(LN(h), tokens)` (`c = SiLU(T(t))`).

use super::{
    ConditionEmbedding, Given, TimeEmbedding,
    film_mlp::embed,
    tabular::{Groups, concat_rows, repeat, reshape},
    zero_linear,
};
use crate::{
    Error, Result,
    nn::{
        AttentionConfig, Backend, FeedForward, Film, LayerNorm, Linear, Matrix, MultiHeadAttention, RowSets, Vector,
        init, movable, ops, walk_params,
    },
};
use dfdx::prelude::{HasShape, PutTape, SplitTape, Tape};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Added to the variance; DiT's.
const EPSILON: f32 = 1e-6;

/// A layer norm without weights.
#[derive(Debug, Clone)]
pub(in crate::model) struct Plain<D: Backend> {
    one: Vector<D>,
    zero: Vector<D>,
}

movable!(Plain { moved: [one, zero], kept: [] });

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
    pub(in crate::model) fn new(
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
    pub(in crate::model) fn forward<T: Tape<f32, D>>(
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

/// Spread of the learned positions at the start; Dosovitskiy et al. 2021 (ViT).
const POSITION_SPREAD: f32 = 0.02;

/// How a condition comes into a [`Dit`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum DitConditioning {
    /// Added to the time's embedding: by the adaptive norms.
    #[default]
    AdaLn,
    /// As so many tokens beside those of the latent.
    Tokens {
        /// At least 1.
        count: usize,
    },
    /// By cross-attention to so many tokens.
    CrossAttention {
        /// At least 1; of one alone every query gets the same.
        count: usize,
    },
}

impl DitConditioning {
    /// Tokens of a condition; 0 where it has none.
    pub fn tokens(self) -> usize {
        match self {
            Self::AdaLn => 0,
            Self::Tokens { count } | Self::CrossAttention { count } => count,
        }
    }
}

/// Size of a diffusion transformer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DitConfig {
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
    /// How the condition comes in; default by the adaptive norms, which Peebles and Xie found best.
    pub conditioning: DitConditioning,
}

impl Default for DitConfig {
    fn default() -> Self {
        Self { group: 4, width: 64, depth: 3, heads: 4, embedding: 64, conditioning: DitConditioning::AdaLn }
    }
}

/// The network.
#[derive(Debug, Clone)]
pub struct Dit<D: Backend> {
    /// T.
    pub time: TimeEmbedding<D>,
    /// C, of a conditional network: of the embedding's width, or of all tokens side by side.
    pub condition: Option<ConditionEmbedding<D>>,
    /// W_in, b_in.
    pub input: Linear<D>,
    /// p, `(tokens, width)`.
    pub position: Matrix<D>,
    /// One after the other.
    pub blocks: Vec<DitBlock<D>>,
    /// The last one.
    pub film: Film<D>,
    /// W_out, b_out.
    pub output: Linear<D>,
    plain: Plain<D>,
    groups: Groups,
    conditioning: DitConditioning,
}

walk_params!(Dit {
    params: [position],
    buffers: [],
    layers: [time, condition, input, blocks, film, output],
    moved: [plain],
    kept: [groups, conditioning]
});

impl<D: Backend> Dit<D> {
    /// A network over rows of `dims` numbers with conditions of `condition`, 0 for none.
    ///
    /// # Errors
    /// Heads that do not divide the width; a device without memory for it.
    pub fn new(device: &D, dims: usize, condition: usize, config: DitConfig, rng: &mut ChaCha8Rng) -> Result<Self> {
        let DitConfig { group, width, depth, heads, embedding, conditioning } = config;
        let groups = Groups { dims, group };
        let out = if conditioning == DitConditioning::AdaLn { embedding } else { conditioning.tokens() * width };
        let crosses = condition > 0 && matches!(conditioning, DitConditioning::CrossAttention { .. });
        Ok(Self {
            time: TimeEmbedding::new(device, embedding, rng)?,
            condition: (condition > 0)
                .then(|| ConditionEmbedding::new(device, condition, embedding, out, rng))
                .transpose()?,
            input: Linear::new(device, group, width, rng)?,
            position: init::normal(device, (groups.tokens(), width), POSITION_SPREAD, rng)?,
            blocks: (0..depth)
                .map(|_| DitBlock::new(device, width, embedding, heads, crosses, rng))
                .collect::<Result<_>>()?,
            film: Film::new(device, embedding, width)?,
            output: zero_linear(device, width, group)?,
            plain: Plain::new(device, width)?,
            groups,
            conditioning,
        })
    }

    /// `(rows, dims)` to the same shape.
    ///
    /// # Errors
    /// An x of another width; what is given is of other rows or another width.
    pub fn forward<T: Tape<f32, D>>(&self, x: Matrix<D, T>, given: &Given) -> Result<Matrix<D, T>> {
        let (rows, latent, width) = (x.shape().0, self.groups.tokens(), self.position.shape().1);
        let of_tokens = self.condition.as_ref().filter(|_| self.conditioning != DitConditioning::AdaLn);
        let of_time = self.condition.as_ref().filter(|_| self.conditioning == DitConditioning::AdaLn);
        let (c, mut tape) = embed::<D, T>(&self.time, of_time, given)?.split_tape();
        // (runs * count, width)
        let mut told =
            of_tokens.map(|condition| reshape(condition.forward(given, T::default())?, width)).transpose()?;
        let h = self.input.forward(self.groups.split(x)?)?;
        let mut h = ops::add(h, repeat(&self.position, rows)?)?; // (rows * latent, width)
        let mut tokens = latent;
        if let (Some(beside), DitConditioning::Tokens { count }) = (told.take_if(|_| self.joins()), self.conditioning) {
            h = D::take_rows(concat_rows(h, beside)?, &interleaved(given, latent, count))?;
            tokens += count; // h is (rows * tokens, width)
        }
        let (sets, runs) = (RowSets::uniform(rows, tokens), given.runs_of_tokens(tokens));
        let keys = RowSets::uniform(given.runs().len(), self.conditioning.tokens());
        let (told, mut told_tape) = match told {
            Some(told) => {
                let (told, tape) = told.split_tape();
                (Some(told), tape)
            }
            None => (None, T::default()),
        };
        for block in &self.blocks {
            let c = c.clone().put_tape(std::mem::take(&mut tape));
            let told = told.as_ref().map(|told| (told.clone().put_tape(std::mem::take(&mut told_tape)), &keys));
            h = block.forward(h, c, told, &sets, &runs, &self.plain)?;
        }
        if tokens > latent {
            let kept: Arc<[u32]> = (0..rows * tokens).filter(|at| at % tokens < latent).map(|at| at as u32).collect();
            h = D::take_rows(h, &kept)?;
        }
        let h = self.film.forward(self.plain.forward(h)?, c.put_tape(tape), &given.runs_of_tokens(latent))?;
        self.groups.join(self.output.forward(h)?)
    }

    fn joins(&self) -> bool {
        matches!(self.conditioning, DitConditioning::Tokens { .. })
    }
}

/// Where the tokens of each row stand: its own `latent` ones, and behind all of these the `count` ones of its run.
fn interleaved(given: &Given, latent: usize, count: usize) -> Arc<[u32]> {
    let behind = given.rows() * latent;
    let of_row = |(row, run): (usize, u32)| {
        let told = behind + run as usize * count;
        (row * latent..(row + 1) * latent).chain(told..told + count)
    };
    given.runs().owners().into_iter().enumerate().flat_map(of_row).map(|at| at as u32).collect()
}
