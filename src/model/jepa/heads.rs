//! What stands around the encoder in training: the pooling of a set of cells, the frozen teacher, the predictor, the decoder.

use super::{
    config::{PretrainingConfig, PretrainingObjective},
    encoder::{CellEncoder, Seen},
    transformer::Places,
};
use crate::{
    Result,
    nn::{
        AttentionConfig, Backend, CrossAttentionBlock, Embedding, FinishConfig, IndexSets, LayerNorm, Linear, Matrix,
        Mlp, RowSets, SetEncoder, SetEncoderConfig, TransformerBlock, init, mean_pool, ops, walk_params,
    },
};
use dfdx::prelude::{HasShape, Tape};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Self-attention blocks of the encoder that pools the cells of a condition.
const POOL_DEPTH: usize = 1;

/// An encoder of cells and, for sets of them, what pools a set: what student and teacher both are.
#[derive(Debug, Clone)]
pub struct Backbone<D: Backend> {
    pub encoder: CellEncoder<D>,
    pub pool: Option<SetEncoder<D>>,
}

walk_params!(Backbone { params: [], buffers: [], layers: [encoder, pool] });

impl<D: Backend> Backbone<D> {
    pub fn new(device: &D, genes: usize, config: &PretrainingConfig, rng: &mut ChaCha8Rng) -> Result<Self> {
        let encoder = CellEncoder::new(device, genes, config, rng)?;
        let pool = match config.objective {
            PretrainingObjective::Conditions { latents, .. } => {
                let attention = AttentionConfig::of_width(config.width);
                let set = SetEncoderConfig { width: config.width, latents, depth: POOL_DEPTH, attention };
                Some(SetEncoder::new(device, config.width, set, rng)?)
            }
            _ => None,
        };
        Ok(Self { encoder, pool })
    }

    /// Cells `(cells, width)` to their sets `(sets, width)`; the cells themselves where there is no pooling.
    pub fn pooled<T: Tape<f32, D>>(&self, cells: Matrix<D, T>, sets: &RowSets) -> Result<Matrix<D, T>> {
        match &self.pool {
            None => Ok(cells),
            Some(pool) => mean_pool(pool.forward(cells, sets)?, &pool.output_sets(sets)),
        }
    }

    /// Without dropout.
    pub fn forward<T: Tape<f32, D>>(&self, seen: &Seen, sets: &RowSets, tape: T) -> Result<Matrix<D, T>> {
        self.pooled(self.encoder.forward(seen, tape)?, sets)
    }
}

/// From the context's embedding and a pointer to the target's: `(rows, width)` to `(rows, width)`.
#[derive(Debug, Clone)]
pub struct Predictor<D: Backend> {
    /// A vector a gene; the pointer is their mean over the target, times the root of its size, so that it is of one scale
    /// whatever the size.
    pub pointer: Option<Embedding<D>>,
    pub trunk: Mlp<D>,
    pub output: Linear<D>,
}

walk_params!(Predictor { params: [], buffers: [], layers: [pointer, trunk, output] });

/// Which target each row is of.
pub struct Pointer {
    /// The genes of each target.
    pub sets: Arc<IndexSets>,
    /// The target of each row.
    pub of_row: Arc<[u32]>,
}

impl<D: Backend> Predictor<D> {
    pub fn new(device: &D, genes: Option<usize>, config: &PretrainingConfig, rng: &mut ChaCha8Rng) -> Result<Self> {
        let pointer = genes.map(|genes| -> Result<Embedding<D>> {
            Ok(Embedding { weight: init::normal(device, (genes, config.predictor.pointer), 1.0, rng)? })
        });
        let pointer = pointer.transpose()?;
        let mut widths = vec![config.width + if pointer.is_some() { config.predictor.pointer } else { 0 }];
        widths.extend(&config.predictor.hidden);
        let finish = FinishConfig { norm: config.norm, activation: config.activation, dropout: 0.0 };
        let trunk = Mlp::new(device, &widths, finish, rng)?;
        let output = Linear::new(device, *widths.last().expect("the input's at least"), config.width, rng)?;
        Ok(Self { pointer, trunk, output })
    }

    pub fn forward<T: Tape<f32, D>>(&self, context: Matrix<D, T>, target: Option<&Pointer>) -> Result<Matrix<D, T>> {
        let x = match (&self.pointer, target) {
            (Some(table), Some(Pointer { sets, of_row })) => {
                let sum = table.forward(sets, T::default())?; // (targets, pointer)
                let width = sum.shape().1;
                let scales = (0..sets.len()).map(|set| 1.0 / (sets.set(set).len().max(1) as f32).sqrt());
                let factors = scales.flat_map(|scale| std::iter::repeat_n(scale, width)).collect();
                ops::concat_columns(context, D::take_rows(D::multiply(sum, factors)?, of_row)?)?
            }
            _ => context,
        };
        self.output.forward(self.trunk.forward(x)?)
    }
}

/// From the visible tokens of a cell to its tokens at other places: `(tokens, width)` to `(queries, width)`.
///
/// Each query starts as a learned vector of its place (the pointer), attends to the visible tokens of its cell, then to the
/// other queries of its cell.
#[derive(Debug, Clone)]
pub struct TokenPredictor<D: Backend> {
    /// Pointers, `(places, width)`.
    pub pointer: Matrix<D>,
    pub cross: CrossAttentionBlock<D>,
    pub blocks: Vec<TransformerBlock<D>>,
    pub norm: LayerNorm<D>,
    pub output: Linear<D>,
}

walk_params!(TokenPredictor { params: [pointer], buffers: [], layers: [cross, blocks, norm, output] });

impl<D: Backend> TokenPredictor<D> {
    pub fn new(device: &D, places: Places, rng: &mut ChaCha8Rng) -> Result<Self> {
        let Places { places, tokens, attention, predictor_depth, .. } = places;
        let blocks = (1..predictor_depth).map(|_| TransformerBlock::new(device, tokens, attention, rng));
        Ok(Self {
            blocks: blocks.collect::<Result<_>>()?,
            pointer: init::normal(device, (places, tokens), 1.0, rng)?,
            cross: CrossAttentionBlock::new(device, tokens, tokens, attention, rng)?,
            norm: LayerNorm::new(device, tokens)?,
            output: Linear::new(device, tokens, tokens, rng)?,
        })
    }

    /// `query` is the place of each query, `queries` say which are a cell's, `sets` which visible tokens.
    pub fn forward<T: Tape<f32, D>>(
        &self,
        visible: Matrix<D, T>,
        sets: &RowSets,
        query: &Arc<[u32]>,
        queries: &RowSets,
    ) -> Result<Matrix<D, T>> {
        let start = D::take_rows(self.pointer.retaped(), query)?;
        let mut h = self.cross.forward(start, visible, queries, sets)?;
        for block in &self.blocks {
            h = block.forward(h, queries)?;
        }
        self.output.forward(self.norm.forward(h)?)
    }
}

/// From the context's embedding to log1p expression: `(rows, width)` to `(rows, genes)`.
#[derive(Debug, Clone)]
pub struct Decoder<D: Backend> {
    pub trunk: Mlp<D>,
    pub output: Linear<D>,
}

walk_params!(Decoder { params: [], buffers: [], layers: [trunk, output] });

impl<D: Backend> Decoder<D> {
    pub fn new(device: &D, genes: usize, config: &PretrainingConfig, rng: &mut ChaCha8Rng) -> Result<Self> {
        let mut widths = vec![config.width];
        widths.extend(&config.predictor.hidden);
        let finish = FinishConfig { norm: config.norm, activation: config.activation, dropout: 0.0 };
        let trunk = Mlp::new(device, &widths, finish, rng)?;
        let output = Linear::new(device, *widths.last().expect("the input's at least"), genes, rng)?;
        Ok(Self { trunk, output })
    }

    pub fn forward<T: Tape<f32, D>>(&self, z: Matrix<D, T>) -> Result<Matrix<D, T>> {
        self.output.forward(self.trunk.forward(z)?)
    }
}
