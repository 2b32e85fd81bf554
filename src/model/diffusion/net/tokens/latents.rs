//! Latent tokens between the genes: the tokenisation `latents`.
//!
//! ```text
//! e = tokens of the genes                                     as in `genes`, (genes, width)
//! l = Cross(latents, e)                                       a few learned latent tokens read the genes, (latents, width)
//! l = blocks(l)                                               the transformer works among the latents
//! h = Cross(e, l)                                             each gene reads the latents back, (genes, width)
//! ```
//!
//! Attention costs genes x latents and not genes x genes, so that a thousand genes fit on a CPU; what genes tell each other must pass
//! through the latents. Like `genes`, the network knows a gene by its identity alone, and permuting both permutes the output.
//!
//! Jaegle et al. 2021, *Perceiver*; Jaegle et al. 2022, *Perceiver IO* (the way back).

use super::super::tabular::repeat;
use crate::{
    Result,
    nn::{AttentionConfig, Backend, CrossAttentionBlock, Matrix, RowSets, init, walk_params},
};
use dfdx::prelude::{HasShape, Tape};
use rand_chacha::ChaCha8Rng;

/// The way from gene tokens to latent tokens and back.
#[derive(Debug, Clone)]
pub struct LatentTokens<D: Backend> {
    /// The latent tokens of every cell, `(latents, width)`.
    pub latents: Matrix<D>,
    /// From the latents to the genes' tokens.
    pub gather: CrossAttentionBlock<D>,
    /// From the genes' tokens to the latents.
    pub scatter: CrossAttentionBlock<D>,
}

walk_params!(LatentTokens { params: [latents], buffers: [], layers: [gather, scatter] });

impl<D: Backend> LatentTokens<D> {
    /// `count` latent tokens of `width` features.
    ///
    /// # Errors
    /// Heads that do not divide the width; a device without memory for it.
    pub fn new(
        device: &D,
        count: usize,
        width: usize,
        attention: AttentionConfig,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        Ok(Self {
            latents: init::normal(device, (count, width), super::POSITION_SPREAD, rng)?,
            gather: CrossAttentionBlock::new(device, width, width, attention, rng)?,
            scatter: CrossAttentionBlock::new(device, width, width, attention, rng)?,
        })
    }

    /// Number of latent tokens of a cell.
    pub fn count(&self) -> usize {
        self.latents.shape().0
    }

    /// The genes' tokens `(rows * genes, width)` to latent tokens `(rows * latents, width)`.
    pub(super) fn read_genes<T: Tape<f32, D>>(&self, e: Matrix<D, T>, rows: usize) -> Result<Matrix<D, T>> {
        let genes = e.shape().0 / rows.max(1);
        let (queries, keys) = (RowSets::uniform(rows, self.count()), RowSets::uniform(rows, genes));
        self.gather.forward(repeat(&self.latents, rows)?, e, &queries, &keys)
    }

    /// The genes' tokens `(rows * genes, width)` and latent tokens `(rows * latents, width)` to the genes' tokens.
    pub(super) fn tell_genes<T: Tape<f32, D>>(
        &self,
        e: Matrix<D, T>,
        latents: Matrix<D, T>,
        rows: usize,
    ) -> Result<Matrix<D, T>> {
        let genes = e.shape().0 / rows.max(1);
        let (queries, keys) = (RowSets::uniform(rows, genes), RowSets::uniform(rows, self.count()));
        self.scatter.forward(e, latents, &queries, &keys)
    }
}
