//! Multi-head attention between sets of tokens.
//!
//! Queries of a set attend to the keys of the set of the same number. With h heads of w = width / h features,
//! `head_i = softmax(Q_i K_i^T / sqrt(w)) V_i` where `Q = x W_q + b_q`, `(K, V) = context W_kv + b_kv`, and the output is
//! `concat(head_1, ..., head_h) W_o + b_o` (Vaswani et al. 2017, *Attention Is All You Need*, section 3.2). x `(queries,
//! width)`, context `(keys, context width)`, output `(queries, width)`; [`RowSets`] say which rows form a set. Sets may
//! differ in size and need no padding. A query whose set has no key gets the head outputs 0, so the output is `b_o`.
//! While training, each attention weight is dropped with probability p and the others divided by 1 - p.
//!
//! Weights start as in PyTorch's `nn.MultiheadAttention`: uniform within `sqrt(6 / (context + 3 width))` (Glorot and
//! Bengio 2010, over its packed matrix), the output's within `1 / sqrt(width)`, biases at 0.
//!
//! ```
//! use genailab::{dfdx::prelude::*, nn::{AttentionConfig, MultiHeadAttention, RowSets}};
//! use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
//!
//! let (dev, config) = (Cpu::default(), AttentionConfig { heads: 2, dropout: 0.0 });
//! let layer = MultiHeadAttention::new(&dev, 8, 8, config, &mut ChaCha8Rng::seed_from_u64(0))?;
//! let sets = RowSets::from_sizes([3, 2]); // two sets of tokens, 5 rows
//! let x: Tensor<_, f32, _> = dev.ones_like(&(5, 8));
//! let y = layer.forward(x.clone(), x, &sets, &sets)?; // self-attention
//! assert_eq!(*y.shape(), (5, 8));
//! # Ok::<(), genailab::Error>(())
//! ```

use super::{AttentionSpec, Backend, Linear, Matrix, RowSets, WeightDropout, init, walk_params};
use crate::{Error, Result};
use dfdx::prelude::{HasShape, Tape};
use rand::RngCore;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Settings that all attention layers of a network share.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttentionConfig {
    /// Number of heads; divides the width. Default 8, as in Vaswani et al.
    pub heads: usize,
    /// Probability of dropping an attention weight while training; default 0.
    pub dropout: f32,
}

impl Default for AttentionConfig {
    fn default() -> Self {
        Self { heads: 8, dropout: 0.0 }
    }
}

impl AttentionConfig {
    /// As many heads as divide `width`, of 8, 4, 2 and 1; no dropout.
    pub fn of_width(width: usize) -> Self {
        Self { heads: [8, 4, 2].into_iter().find(|heads| width.is_multiple_of(*heads)).unwrap_or(1), dropout: 0.0 }
    }
}

/// Whether attention weights are dropped, by which generator.
pub(super) enum Attend<'a> {
    Inference,
    Training(&'a mut ChaCha8Rng),
}

impl Attend<'_> {
    /// The same for one layer of several.
    pub(super) fn again(&mut self) -> Attend<'_> {
        match self {
            Self::Inference => Attend::Inference,
            Self::Training(rng) => Attend::Training(rng),
        }
    }
}

/// Attention with learned projections.
#[derive(Debug, Clone)]
pub struct MultiHeadAttention<D: Backend> {
    /// W_q, b_q: `(width, width)`.
    pub query: Linear<D>,
    /// W_kv, b_kv: `(context width, 2 width)`, the keys' columns first.
    pub key_value: Linear<D>,
    /// W_o, b_o: `(width, width)`.
    pub output: Linear<D>,
    config: AttentionConfig,
}

walk_params!(MultiHeadAttention { params: [], buffers: [], layers: [query, key_value, output], kept: [config] });

impl<D: Backend> MultiHeadAttention<D> {
    /// A layer whose queries have `width` features and whose keys have `context`.
    ///
    /// # Errors
    /// A number of heads that does not divide `width`, a width or context of 0, a dropout probability outside [0, 1), a device without memory.
    pub fn new(
        device: &D,
        width: usize,
        context: usize,
        config: AttentionConfig,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let heads = config.heads;
        if heads == 0 || width == 0 || !width.is_multiple_of(heads) {
            return Err(Error::config(format!("attention: {heads} heads do not divide a width of {width}")));
        }
        if context == 0 {
            return Err(Error::config("attention: the context has no features to attend to"));
        }
        WeightDropout::new(config.dropout, 0)?;
        let bound = (6.0 / (context + 3 * width) as f32).sqrt();
        let mut layer = |inputs, outputs, bound| -> Result<Linear<D>> {
            let weight = init::uniform(device, (inputs, outputs), bound, rng)?;
            Ok(Linear { weight, bias: init::constant(device, (outputs,), 0.0)? })
        };
        Ok(Self {
            query: layer(width, width, bound)?,
            key_value: layer(context, 2 * width, bound)?,
            output: layer(width, width, init::kaiming_bound(width))?,
            config,
        })
    }

    /// At inference, without dropout: `(queries, width)` and `(keys, context width)` to `(queries, width)`.
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

    /// While training, with dropout; draws one number, or none where its probability is 0.
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
        let AttentionConfig { heads, dropout: p } = self.config;
        let dropout = match mode {
            Attend::Training(rng) if p > 0.0 => Some(WeightDropout::new(p, rng.next_u64())?),
            _ => None,
        };
        let spec = AttentionSpec { queries: queries.clone(), keys: keys.clone(), heads, dropout };
        let (q, kv) = (self.query.forward(x)?, self.key_value.forward(context)?);
        self.output.forward(D::attention(q, kv, &spec)?)
    }

    /// Number of features of a query and of the output.
    pub fn width(&self) -> usize {
        self.query.weight.shape().1
    }
}
