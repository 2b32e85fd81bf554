//! A set encoder: learned latent tokens attend to the inputs of each set, then to each other.
//!
//! `h = Cross(latents, x)`, `h = Block_l(h)` for l = 1..depth, `LN(h)`. x `(rows, input width)`, one set per object;
//! latents `(latents, width)`, the same for every set; output `(sets * latents, width)`, the latents of a set one after the
//! other. The cost is linear in the size of a set, and the order of its rows does not matter. Jaegle et al. 2021,
//! *Perceiver*, without shared weights or repeated cross-attention. Latents start from N(0, 0.02^2), as there. The
//! latents of an empty set see nothing and differ only by themselves. Each token is normalised first, so it
//! needs several features: the norm of a single feature is always 0.
//!
//! ```
//! use genailab::{dfdx::prelude::*, nn::{AttentionConfig, RowSets, SetEncoder, SetEncoderConfig}};
//! use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
//!
//! let attention = AttentionConfig { heads: 2, dropout: 0.0 };
//! let config = SetEncoderConfig { width: 8, latents: 4, depth: 2, attention };
//! let dev = Cpu::default();
//! let encoder = SetEncoder::new(&dev, 5, config, &mut ChaCha8Rng::seed_from_u64(0))?;
//! let sets = RowSets::from_sizes([7, 3]); // 2 objects of 7 and 3 tokens of 5 features
//! let y = encoder.forward(dev.ones_like(&(10, 5)), &sets)?;
//! assert_eq!(*y.shape(), (2 * 4, 8));
//! assert_eq!(encoder.output_sets(&sets), RowSets::uniform(2, 4));
//! # Ok::<(), genailab::Error>(())
//! ```

use super::{
    AttentionConfig, Backend, CrossAttentionBlock, LayerNorm, Matrix, MultiHeadAttention, RowSets, TransformerBlock,
    attention::Attend, init, walk_params,
};
use crate::{Error, Result};
use dfdx::prelude::{HasShape, Tape};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Standard deviation of the latents at the start; Jaegle et al. 2021, section 3.
const LATENT_SPREAD: f32 = 0.02;

/// Size of a set encoder.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SetEncoderConfig {
    /// Features of a latent token; default 256.
    pub width: usize,
    /// Latent tokens per set; default 64.
    pub latents: usize,
    /// Self-attention blocks after the cross-attention; default 6.
    pub depth: usize,
    /// Heads and dropout of every attention.
    pub attention: AttentionConfig,
}

impl Default for SetEncoderConfig {
    fn default() -> Self {
        Self { width: 256, latents: 64, depth: 6, attention: AttentionConfig::default() }
    }
}

/// Sets of tokens to a fixed number of latent tokens each.
#[derive(Debug, Clone)]
pub struct SetEncoder<D: Backend> {
    /// What every set starts from, `(latents, width)`.
    pub latents: Matrix<D>,
    /// From the latents to the input.
    pub cross: CrossAttentionBlock<D>,
    /// Among the latents.
    pub blocks: Vec<TransformerBlock<D>>,
    /// Of the output.
    pub norm: LayerNorm<D>,
}

walk_params!(SetEncoder { params: [latents], buffers: [], layers: [cross, blocks, norm] });

impl<D: Backend> SetEncoder<D> {
    /// An encoder of tokens of `inputs` features.
    ///
    /// # Errors
    /// No latent; and as [`MultiHeadAttention::new`](super::MultiHeadAttention::new).
    pub fn new(device: &D, inputs: usize, config: SetEncoderConfig, rng: &mut ChaCha8Rng) -> Result<Self> {
        let SetEncoderConfig { width, latents, depth, attention } = config;
        if latents == 0 {
            return Err(Error::config("set encoder: 0 latents leave nothing of a set; take at least 1"));
        }
        Ok(Self {
            latents: init::normal(device, (latents, width), LATENT_SPREAD, rng)?,
            cross: CrossAttentionBlock::new(device, width, inputs, attention, rng)?,
            blocks: (0..depth).map(|_| TransformerBlock::new(device, width, attention, rng)).collect::<Result<_>>()?,
            norm: LayerNorm::new(device, width)?,
        })
    }

    /// At inference: `(rows, inputs)` to `(sets * latents, width)`.
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

    /// How the rows of the output divide: as many sets, of as many rows as there are latents.
    pub fn output_sets(&self, sets: &RowSets) -> RowSets {
        RowSets::uniform(sets.len(), self.latents.shape().0)
    }

    fn run<T: Tape<f32, D>>(&self, x: Matrix<D, T>, sets: &RowSets, mut mode: Attend<'_>) -> Result<Matrix<D, T>> {
        let output = self.output_sets(sets);
        let start = repeat_rows(&self.latents, sets.len())?;
        let mut h = self.cross.run(start, x, &output, sets, mode.again())?;
        for block in &self.blocks {
            h = block.run(h, &output, mode.again())?;
        }
        self.norm.forward(h)
    }
}

/// A weight's rows, `times` times one after the other.
fn repeat_rows<D: Backend, T: Tape<f32, D>>(weight: &Matrix<D>, times: usize) -> Result<Matrix<D, T>> {
    let rows = weight.shape().0 as u32;
    let order: Vec<u32> = (0..times).flat_map(|_| 0..rows).collect();
    D::take_rows(weight.retaped(), &order.into())
}

/// The mean of each set's rows: `(rows, width)` to `(sets, width)`; 0 of an empty set.
///
/// # Errors
/// Sets that are not the rows of x.
pub fn mean_pool<D: Backend, T: Tape<f32, D>>(x: Matrix<D, T>, sets: &RowSets) -> Result<Matrix<D, T>> {
    D::set_mean(x, sets)
}

/// From a set of tokens to one vector: attention pooling, and the plain mean.
///
/// Attention pooling: one learned query attends to the normed tokens of each set, `y = A(query, LN(x))` (the pooling by
/// multi-head attention of Lee et al. 2019, *Set Transformer*, with one seed and without its feed-forward layers). Mean:
/// `y_s = 1/n_s sum over set s of x`. x `(rows, width)` to y `(sets, width)`; [`RowSets`] say which rows count, so that
/// there is no mask. The mean of an empty set is 0; the query of an empty set finds nothing, and y is the output bias.
///
/// ```
/// use genailab::{dfdx::prelude::*, nn::{AttentionConfig, AttentionPool, RowSets, mean_pool}};
/// use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
///
/// let (dev, sets) = (Cpu::default(), RowSets::from_sizes([2, 1]));
/// let x = dev.tensor_from_vec(vec![1.0, 0.0, 3.0, 4.0, 5.0, 6.0], (3, 2));
/// assert_eq!(mean_pool(x.clone(), &sets)?.as_vec(), [2.0, 2.0, 5.0, 6.0]);
/// let config = AttentionConfig { heads: 1, dropout: 0.0 };
/// let pool = AttentionPool::new(&dev, 2, config, &mut ChaCha8Rng::seed_from_u64(0))?;
/// assert_eq!(*pool.forward(x, &sets)?.shape(), (2, 2));
/// # Ok::<(), genailab::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct AttentionPool<D: Backend> {
    /// The query, `(1, width)`; starts from N(0, 1 / width).
    pub query: Matrix<D>,
    /// Of the tokens.
    pub norm: LayerNorm<D>,
    /// From the query to the tokens.
    pub attention: MultiHeadAttention<D>,
}

walk_params!(AttentionPool { params: [query], buffers: [], layers: [norm, attention] });

impl<D: Backend> AttentionPool<D> {
    /// A layer over tokens of `width` features.
    ///
    /// # Errors
    /// As [`MultiHeadAttention::new`].
    pub fn new(device: &D, width: usize, config: AttentionConfig, rng: &mut ChaCha8Rng) -> Result<Self> {
        Ok(Self {
            query: init::normal(device, (1, width), init::kaiming_bound(width), rng)?,
            norm: LayerNorm::new(device, width)?,
            attention: MultiHeadAttention::new(device, width, width, config, rng)?,
        })
    }

    /// At inference: `(rows, width)` to `(sets, width)`.
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

    fn run<T: Tape<f32, D>>(&self, x: Matrix<D, T>, sets: &RowSets, mode: Attend<'_>) -> Result<Matrix<D, T>> {
        let queries = repeat_rows(&self.query, sets.len())?;
        self.attention.run(queries, self.norm.forward(x)?, &RowSets::uniform(sets.len(), 1), sets, mode)
    }
}
