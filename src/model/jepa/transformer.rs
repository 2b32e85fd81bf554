//! A transformer over the tokens of a cell: one for each group of genes, or one for each of its most variable genes.
//!
//! For a cell of log1p-normalised expression x:
//!
//! ```text
//! groups:  t_k = GELU( sum over g in G_k of x_g W_g + b_k ) V + c + p_k    W (genes, hidden), b (groups, hidden), V (hidden, width)
//! genes:   t_k = phi(x_k) + p_k
//! both:    T = LN(blocks(t))                  self-attention among the tokens of the cell
//!          z = [T_1, T_2, ...] R + r          its embedding; 0 for a place without a token
//! ```
//!
//! G_k are the genes of group k; p `(places, width)` says which group or gene a token is of. phi is a linear map of Fourier features
//! of the value (Tancik et al. 2020), or a learned vector for each level of it: bins of log1p expression (scBERT, Yang et al. 2022) or
//! ranks among the visible genes of the cell (scGPT's value binning, Cui et al. 2024).
//!
//! The readout R sees every token at its place. Attention pooling would average the tokens, and with them how the cells of
//! one condition differ.
//!
//! A gene has one place or none, so W holds a first layer for each group. A place of which no gene is visible has no token.
//! The tokens T are what a masked training predicts (I-JEPA's patches), z is what the rest of the library uses.

use super::{
    config::{EncoderConfig, GeneConfig, GroupConfig},
    encoder::Seen,
    entry::{Entry, GroupEntry, PlacedTokens},
};
use crate::{
    Error, Result,
    data::Counts,
    nn::{
        AttentionConfig, Backend, LayerNorm, Linear, Matrix, RowSets, TransformerBlock, Vector, init, ops, walk_params,
    },
};
use dfdx::prelude::{HasShape, ReshapeTo, Tape};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Spread of identities at the start; that of Vision Transformer's positions (Dosovitskiy et al. 2021, code).
const IDENTITY_SPREAD: f32 = 0.02;
/// The place of a gene that has none.
pub const NOWHERE: u32 = u32::MAX;

/// The places of the tokens, and the transformer over them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Places {
    /// Number of places.
    pub places: usize,
    /// Features of a token.
    pub tokens: usize,
    /// Transformer blocks.
    pub depth: usize,
    /// Heads and dropout of every attention.
    pub attention: AttentionConfig,
    /// Blocks of the predictor.
    pub predictor_depth: usize,
}

impl From<&GroupConfig> for Places {
    fn from(config: &GroupConfig) -> Self {
        let GroupConfig { groups, tokens, depth, attention, predictor_depth, .. } = *config;
        Self { places: groups, tokens, depth, attention, predictor_depth }
    }
}

impl From<&GeneConfig> for Places {
    fn from(config: &GeneConfig) -> Self {
        let GeneConfig { genes, tokens, depth, attention, predictor_depth, .. } = *config;
        Self { places: genes, tokens, depth, attention, predictor_depth }
    }
}

impl EncoderConfig {
    /// The places of its tokens; `None` for an encoder whose tokens have none.
    pub fn places(&self) -> Option<Places> {
        match self {
            Self::Groups(groups) => Some(groups.into()),
            Self::Genes(genes) => Some(genes.into()),
            Self::Linear | Self::Mlp { .. } | Self::Tokens(_) => None,
        }
    }
}

/// The encoder: see the module.
#[derive(Debug, Clone)]
pub struct TransformerEncoder<D: Backend> {
    /// The place of each gene as a whole number, -1 for none, `(genes,)`: kept with the weights.
    pub place_of: Vector<D>,
    /// How expression enters.
    pub entry: Entry<D>,
    /// p, `(places, width)`.
    pub identity: Matrix<D>,
    /// Among the tokens of a cell.
    pub blocks: Vec<TransformerBlock<D>>,
    /// Of the tokens.
    pub norm: LayerNorm<D>,
    /// R `(places * width, embedding)` and r.
    pub readout: Linear<D>,
}

walk_params!(TransformerEncoder { params: [identity], buffers: [place_of], layers: [entry, blocks, norm, readout] });

impl<D: Backend> TransformerEncoder<D> {
    /// An encoder of `genes` genes by groups of them, to embeddings of `width` features; the groups are even until
    /// [`Self::set_places`].
    ///
    /// # Errors
    /// Heads that do not divide the width of the tokens; a device without memory for it.
    pub fn of_groups(
        device: &D,
        genes: usize,
        config: &GroupConfig,
        width: usize,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let entry = Entry::of_groups(device, genes, config, rng)?;
        let place_of: Vec<u32> = (0..genes).map(|gene| (gene % config.groups) as u32).collect();
        Self::with(device, entry, (&config.into(), &place_of), width, rng)
    }

    /// An encoder of `genes` genes by those that have a place, to embeddings of `width` features; the first ones until
    /// [`Self::set_places`].
    ///
    /// # Errors
    /// As [`Self::of_groups`].
    pub fn of_genes(device: &D, genes: usize, config: &GeneConfig, width: usize, rng: &mut ChaCha8Rng) -> Result<Self> {
        let entry = Entry::of_genes(device, config, rng)?;
        let place_of: Vec<u32> =
            (0..genes).map(|gene| if gene < config.genes { gene as u32 } else { NOWHERE }).collect();
        Self::with(device, entry, (&config.into(), &place_of), width, rng)
    }

    fn with(
        device: &D,
        entry: Entry<D>,
        (places, place_of): (&Places, &[u32]),
        width: usize,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let Places { places, tokens, depth, attention, .. } = *places;
        let mut encoder = Self {
            place_of: init::constant(device, (place_of.len(),), 0.0)?,
            entry,
            identity: init::normal(device, (places, tokens), IDENTITY_SPREAD, rng)?,
            blocks: (0..depth).map(|_| TransformerBlock::new(device, tokens, attention, rng)).collect::<Result<_>>()?,
            norm: LayerNorm::new(device, tokens)?,
            readout: Linear::new(device, places * tokens, width, rng)?,
        };
        encoder.set_places(place_of);
        Ok(encoder)
    }

    /// Sets the place of each gene, [`NOWHERE`] for none.
    ///
    /// # Panics
    /// If there are more or fewer genes than the encoder's.
    pub fn set_places(&mut self, place_of: &[u32]) {
        let number = |&place: &u32| if place == NOWHERE { -1.0 } else { place as f32 };
        self.place_of.copy_from(&place_of.iter().map(number).collect::<Vec<_>>());
    }

    /// Starts the first layer of group tokens as one of standardised expression: genes of mean m and standard deviation s,
    /// both `(genes,)`, enter as `(x - m) / (s + 0.1)`. Tokens of genes have no such layer.
    pub fn standardise_inputs(&mut self, mean: &[f64], sd: &[f64]) {
        /// Keeps genes that hardly vary from being blown up.
        const SOFTENING: f64 = 0.1;
        let place_of = self.place_of_genes();
        let Entry::Groups(GroupEntry { input, bias: biases, .. }) = &mut self.entry else { return };
        let hidden = biases.shape().1;
        let mut weight = input.weight.as_vec();
        let mut bias = biases.as_vec();
        for (gene, &place) in place_of.iter().enumerate().filter(|(_, place)| **place != NOWHERE) {
            let scale = (1.0 / (sd[gene] + SOFTENING)) as f32;
            for unit in 0..hidden {
                let w = &mut weight[gene * hidden + unit];
                *w *= scale;
                bias[place as usize * hidden + unit] -= mean[gene] as f32 * *w;
            }
        }
        input.weight.copy_from(&weight);
        biases.copy_from(&bias);
    }

    /// Number of genes of each token, in the order of places.
    pub fn token_sizes(&self) -> Vec<usize> {
        let mut sizes = vec![0; self.identity.shape().0];
        self.place_of_genes()
            .into_iter()
            .filter(|&place| place != NOWHERE)
            .for_each(|place| sizes[place as usize] += 1);
        sizes
    }

    /// The place of each gene, [`NOWHERE`] for none.
    pub fn place_of_genes(&self) -> Vec<u32> {
        let place = |place: f32| if place < 0.0 { NOWHERE } else { place as u32 };
        self.place_of.as_vec().into_iter().map(place).collect()
    }

    /// The visible tokens of some cells.
    ///
    /// # Errors
    /// Another number of genes.
    pub fn visible(&self, seen: &Seen) -> Result<PlacedTokens> {
        let (place_of, n_places) = (self.place_of_genes(), self.identity.shape().0);
        let place = |gene: u32| Some(place_of[gene as usize] as usize).filter(|&place| place < n_places);
        let genes = seen.counts.n_genes();
        if genes != place_of.len() {
            return Err(Error::shape("tokens of genes", (place_of.len(),), (genes,)));
        }
        // The visible places of each pattern.
        let mut sizes = vec![0_usize; n_places];
        (0..genes as u32).filter_map(place).for_each(|place| sizes[place] += 1);
        let visible: Vec<Vec<u32>> = (0..seen.hidden.len())
            .map(|pattern| {
                let mut left = sizes.clone();
                seen.hidden.set(pattern).iter().filter_map(|&gene| place(gene)).for_each(|place| left[place] -= 1);
                (0..n_places as u32).filter(|&place| left[place as usize] > 0).collect()
            })
            .collect();
        let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
        let (mut places, mut of_cell) = (Vec::new(), Vec::with_capacity(seen.len()));
        let mut buckets: Vec<Vec<(u32, f32)>> = vec![Vec::new(); n_places];
        for (row, &pattern) in seen.pattern.iter().enumerate() {
            buckets.iter_mut().for_each(Vec::clear);
            let (columns, counts) = seen.counts.row(row);
            for (&gene, &count) in columns.iter().zip(counts) {
                if let Some(place) = place(gene) {
                    buckets[place].push((gene, count));
                }
            }
            let visible = &visible[pattern as usize];
            for &token in visible {
                indices.extend(buckets[token as usize].iter().map(|&(gene, _)| gene));
                values.extend(buckets[token as usize].iter().map(|&(_, count)| count));
                indptr.push(indices.len());
            }
            places.extend_from_slice(visible);
            of_cell.push(visible.len());
        }
        let counts = Counts::new(genes, indptr, indices, values).expect("parts of the rows of a valid matrix");
        Ok(PlacedTokens { counts: Arc::new(counts), place: places.into(), sets: RowSets::from_sizes(of_cell) })
    }

    /// The output tokens T, `(tokens, width)`; with dropped attention weights where `rng` is given.
    ///
    /// # Errors
    /// Another number of genes.
    pub fn tokens<T: Tape<f32, D>>(
        &self,
        seen: &PlacedTokens,
        tape: T,
        mut rng: Option<&mut ChaCha8Rng>,
    ) -> Result<Matrix<D, T>> {
        let x = self.entry.forward(seen, tape)?;
        let mut x = ops::add(x, D::take_rows(self.identity.retaped(), &seen.place)?)?;
        for block in &self.blocks {
            x = match rng.as_deref_mut() {
                Some(rng) => block.forward_training(x, &seen.sets, rng)?,
                None => block.forward(x, &seen.sets)?,
            };
        }
        self.norm.forward(x)
    }

    /// The embedding of each cell from its tokens: `(tokens, width)` to `(cells, embedding)`.
    ///
    /// # Errors
    /// Tokens that are not those of `seen`.
    pub fn embedding<T: Tape<f32, D>>(&self, tokens: Matrix<D, T>, seen: &PlacedTokens) -> Result<Matrix<D, T>> {
        let (n_places, width) = *self.identity.shape();
        // Any token stands at the place of a missing one, times 0.
        let mut rows = vec![0_u32; seen.sets.len() * n_places];
        let mut there = vec![0.0_f32; rows.len() * width];
        for (cell, tokens) in seen.sets.ranges().enumerate() {
            for token in tokens {
                let place = cell * n_places + seen.place[token] as usize;
                rows[place] = token as u32;
                there[place * width..(place + 1) * width].fill(1.0);
            }
        }
        let placed = D::multiply(D::take_rows(tokens, &rows.into())?, there)?;
        let shape = (seen.sets.len(), n_places * width);
        let flat = placed.try_reshape_like(&shape).map_err(|e| Error::device("readout of tokens", e))?;
        self.readout.forward(flat)
    }
}
