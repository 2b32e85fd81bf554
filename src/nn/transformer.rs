//! Pre-norm transformer blocks: self-attention within sets, and cross-attention from one batch of sets to another.
//!
//! Self: `h = x + A(LN(x), LN(x))`, `y = h + F(LN(h))`. Cross: `h = x + A(LN(x), LN(context))`, `y = h + F(LN(h))`. A is
//! [`MultiHeadAttention`], F is [`FeedForward`]. x and y `(rows, width)`, context `(keys, context width)`. Pre-norm:
//! Xiong et al. 2020, *On Layer Normalization in the Transformer Architecture*, figure 1b; PyTorch's
//! `TransformerEncoderLayer(norm_first=True, activation="gelu")`. The cross block: Jaegle et al. 2021, *Perceiver*.
//! Only attention weights are dropped while training.
//!
//! ```
//! use genailab::{dfdx::prelude::*, nn::{AttentionConfig, RowSets, TransformerBlock}};
//! use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
//!
//! let (dev, config) = (Cpu::default(), AttentionConfig { heads: 2, dropout: 0.0 });
//! let block = TransformerBlock::new(&dev, 8, config, &mut ChaCha8Rng::seed_from_u64(0))?;
//! let y = block.forward(dev.ones_like(&(6, 8)), &RowSets::uniform(2, 3))?; // 2 sets of 3 tokens
//! assert_eq!(*y.shape(), (6, 8));
//! # Ok::<(), genailab::Error>(())
//! ```

use super::{
    Activation, AttentionConfig, Backend, Bottleneck, LayerNorm, Linear, Matrix, MultiHeadAttention, RowSets,
    attention::Attend, walk_params,
};
use crate::Result;
use dfdx::prelude::{HasShape, PutTape, SplitTape, Tape};
use rand_chacha::ChaCha8Rng;

/// Hidden features per input feature; Vaswani et al. 2017, section 3.3 (2048 for 512).
const EXPANSION: usize = 4;

/// The feed-forward part of a transformer block: `W_2 GELU(W_1 x + b_1) + b_2`.
///
/// x `(rows, width)`, hidden width 4 times as large, output `(rows, width)`; each row on its own (Vaswani et al. 2017,
/// section 3.3, with GELU as in BERT and ViT). Unlike [`Mlp`](super::Mlp) it does not end in its activation.
///
/// ```
/// use genailab::{dfdx::prelude::*, nn::FeedForward};
/// use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
///
/// let dev = Cpu::default();
/// let layer = FeedForward::new(&dev, 8, &mut ChaCha8Rng::seed_from_u64(0))?;
/// let y = layer.forward(dev.ones_like(&(3, 8)))?;
/// assert_eq!((*y.shape(), *layer.up.weight.shape()), ((3, 8), (8, 32)));
/// # Ok::<(), genailab::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct FeedForward<D: Backend> {
    /// W_1, b_1: `(width, 4 width)`.
    pub up: Linear<D>,
    /// W_2, b_2: `(4 width, width)`.
    pub down: Linear<D>,
}

walk_params!(FeedForward { params: [], buffers: [], layers: [up, down] });

impl<D: Backend> FeedForward<D> {
    /// A layer over rows of `width` features.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn new(device: &D, width: usize, rng: &mut ChaCha8Rng) -> Result<Self> {
        let hidden = EXPANSION * width;
        Ok(Self { up: Linear::new(device, width, hidden, rng)?, down: Linear::new(device, hidden, width, rng)? })
    }

    /// `(rows, width)` to the same shape.
    ///
    /// # Errors
    /// An x of another width.
    pub fn forward<T: Tape<f32, D>>(&self, x: Matrix<D, T>) -> Result<Matrix<D, T>> {
        self.down.forward(Activation::Gelu.forward(self.up.forward(x)?)?)
    }
}

/// Self-attention and a feed-forward layer, each after a norm and beside a residual.
#[derive(Debug, Clone)]
pub struct TransformerBlock<D: Backend> {
    /// Before the attention.
    pub attention_norm: LayerNorm<D>,
    /// Of each token to those of its set.
    pub attention: MultiHeadAttention<D>,
    /// Before the feed-forward layer.
    pub norm: LayerNorm<D>,
    /// Of each token on its own.
    pub feed_forward: FeedForward<D>,
    /// After the attention, before its residual; in a block that was adapted so.
    pub attention_adapter: Option<Bottleneck<D>>,
    /// After the feed-forward layer, before its residual.
    pub adapter: Option<Bottleneck<D>>,
}

walk_params!(TransformerBlock {
    params: [],
    buffers: [],
    layers: [attention_norm, attention, norm, feed_forward, attention_adapter, adapter]
});

impl<D: Backend> TransformerBlock<D> {
    /// A block over tokens of `width` features.
    ///
    /// # Errors
    /// As [`MultiHeadAttention::new`].
    pub fn new(device: &D, width: usize, config: AttentionConfig, rng: &mut ChaCha8Rng) -> Result<Self> {
        Ok(Self {
            attention_norm: LayerNorm::new(device, width)?,
            attention: MultiHeadAttention::new(device, width, width, config, rng)?,
            norm: LayerNorm::new(device, width)?,
            feed_forward: FeedForward::new(device, width, rng)?,
            attention_adapter: None,
            adapter: None,
        })
    }

    /// Adds bottleneck adapters where Houlsby et al. 2019 put them (figure 2); they start at no change.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn add_adapters(&mut self, bottleneck: usize, rng: &mut ChaCha8Rng) -> Result<()> {
        let bias = &self.feed_forward.down.bias;
        let (device, width) = (bias.device().clone(), bias.shape().0);
        self.attention_adapter = Some(Bottleneck::new(&device, width, bottleneck, rng)?);
        self.adapter = Some(Bottleneck::new(&device, width, bottleneck, rng)?);
        Ok(())
    }

    /// At inference: `(rows, width)` to the same shape.
    ///
    /// # Errors
    /// An x of another width, sets that are not its rows.
    pub fn forward<T: Tape<f32, D>>(&self, x: Matrix<D, T>, sets: &RowSets) -> Result<Matrix<D, T>> {
        self.run(x, sets, Attend::Inference)
    }

    /// While training: attention weights are dropped.
    ///
    /// # Errors
    /// An x of another width, sets that are not its rows.
    pub fn forward_training<T: Tape<f32, D>>(
        &self,
        x: Matrix<D, T>,
        sets: &RowSets,
        rng: &mut ChaCha8Rng,
    ) -> Result<Matrix<D, T>> {
        self.run(x, sets, Attend::Training(rng))
    }

    pub(super) fn run<T: Tape<f32, D>>(
        &self,
        x: Matrix<D, T>,
        sets: &RowSets,
        mode: Attend<'_>,
    ) -> Result<Matrix<D, T>> {
        let (x, tape) = x.split_tape();
        let normed = self.attention_norm.forward(x.clone().put_tape(tape))?;
        let (normed, tape) = normed.split_tape();
        let h = self.attention.run(normed.clone().put_tape(tape), normed.retaped(), sets, sets, mode)?;
        let h = adapted(h, self.attention_adapter.as_ref())?;
        feed_forward_residual(x, h, &self.norm, (&self.feed_forward, self.adapter.as_ref()))
    }
}

/// Cross-attention and a feed-forward layer, each after a norm and beside a residual.
#[derive(Debug, Clone)]
pub struct CrossAttentionBlock<D: Backend> {
    /// Of the queries, before the attention.
    pub query_norm: LayerNorm<D>,
    /// Of what they attend to.
    pub context_norm: LayerNorm<D>,
    /// Of each query to the context of its set.
    pub attention: MultiHeadAttention<D>,
    /// Before the feed-forward layer.
    pub norm: LayerNorm<D>,
    /// Of each query on its own.
    pub feed_forward: FeedForward<D>,
}

walk_params!(CrossAttentionBlock {
    params: [],
    buffers: [],
    layers: [query_norm, context_norm, attention, norm, feed_forward]
});

impl<D: Backend> CrossAttentionBlock<D> {
    /// A block of queries of `width` features that attend to rows of `context` features.
    ///
    /// # Errors
    /// As [`MultiHeadAttention::new`].
    pub fn new(
        device: &D,
        width: usize,
        context: usize,
        config: AttentionConfig,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        Ok(Self {
            query_norm: LayerNorm::new(device, width)?,
            context_norm: LayerNorm::new(device, context)?,
            attention: MultiHeadAttention::new(device, width, context, config, rng)?,
            norm: LayerNorm::new(device, width)?,
            feed_forward: FeedForward::new(device, width, rng)?,
        })
    }

    /// At inference: x `(queries, width)` and context `(keys, context width)` to `(queries, width)`.
    ///
    /// # Errors
    /// Widths or sets that do not fit.
    pub fn forward<T: Tape<f32, D>>(
        &self,
        x: Matrix<D, T>,
        context: Matrix<D, T>,
        queries: &RowSets,
        keys: &RowSets,
    ) -> Result<Matrix<D, T>> {
        self.run(x, context, queries, keys, Attend::Inference)
    }

    /// While training: attention weights are dropped.
    ///
    /// # Errors
    /// Widths or sets that do not fit.
    pub fn forward_training<T: Tape<f32, D>>(
        &self,
        x: Matrix<D, T>,
        context: Matrix<D, T>,
        queries: &RowSets,
        keys: &RowSets,
        rng: &mut ChaCha8Rng,
    ) -> Result<Matrix<D, T>> {
        self.run(x, context, queries, keys, Attend::Training(rng))
    }

    pub(super) fn run<T: Tape<f32, D>>(
        &self,
        x: Matrix<D, T>,
        context: Matrix<D, T>,
        queries: &RowSets,
        keys: &RowSets,
        mode: Attend<'_>,
    ) -> Result<Matrix<D, T>> {
        let (x, tape) = x.split_tape();
        let normed = self.query_norm.forward(x.clone().put_tape(tape))?;
        let context = self.context_norm.forward(context)?;
        let h = self.attention.run(normed, context, queries, keys, mode)?;
        feed_forward_residual(x, h, &self.norm, (&self.feed_forward, None))
    }
}

/// `h = x + update`, `h + F(LN(h))`; the tape comes with the update.
fn feed_forward_residual<D: Backend, T: Tape<f32, D>>(
    x: Matrix<D>,
    update: Matrix<D, T>,
    norm: &LayerNorm<D>,
    (feed_forward, adapter): (&FeedForward<D>, Option<&Bottleneck<D>>),
) -> Result<Matrix<D, T>> {
    let h = D::residual(update, x)?;
    let (h, tape) = h.split_tape();
    let update = feed_forward.forward(norm.forward(h.clone().put_tape(tape))?)?;
    D::residual(adapted(update, adapter)?, h)
}

/// The output of a layer after its adapter, if it has one.
fn adapted<D: Backend, T: Tape<f32, D>>(x: Matrix<D, T>, adapter: Option<&Bottleneck<D>>) -> Result<Matrix<D, T>> {
    match adapter {
        Some(adapter) => adapter.forward(x),
        None => Ok(x),
    }
}
