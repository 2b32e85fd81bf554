//! A set encoder: learned latent tokens attend to the inputs of each set, then to each other.
//!
//! `h = Cross(latents, x)`, `h = Block_l(h)` for l = 1..depth, `LN(h)`. x `(rows, input width)` with a set an object;
//! latents `(latents, width)`, the same for every set; output `(sets * latents, width)`, the latents of a set after each
//! other. The cost is linear in the size of a set, and the order of its rows does not matter. Jaegle et al. 2021,
//! *Perceiver*, without shared weights or repeated cross-attention. Latents start from N(0, 0.02^2), as there. The
//! latents of an empty set see nothing and differ only by themselves. Each token is normed first: it needs several
//! features, for of a single one a norm leaves nothing.
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
    AttentionConfig, Backend, CrossAttentionBlock, LayerNorm, Matrix, RowSets, TransformerBlock, attention::Attend,
    init, walk_params,
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
    /// Latent tokens a set; default 64.
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
pub(super) fn repeat_rows<D: Backend, T: Tape<f32, D>>(weight: &Matrix<D>, times: usize) -> Result<Matrix<D, T>> {
    let rows = weight.shape().0 as u32;
    let order: Vec<u32> = (0..times).flat_map(|_| 0..rows).collect();
    D::take_rows(weight.retaped(), &order.into())
}
