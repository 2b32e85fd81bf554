//! A token for each gene, and a set encoder over the tokens of a cell.
//!
//! The token of gene g with value v = log1p(scaled counts) is `(E_g, sin and cos of v at several frequencies)`:
//! identity and value (Fourier features, Tancik et al. 2020). Every visible gene with a count has one, and a few visible
//! genes without, drawn for each cell: most genes are zero in most cells, and a token for each would make the cost grow
//! with the genome. A hidden gene has none, so that the encoder cannot know its value; a zero that was drawn it sees as a
//! token of value 0. Learned latent tokens attend to the cell's tokens, then to each other
//! ([`SetEncoder`], Jaegle et al. 2021); their mean goes through a last linear layer.
//!
//! The draw depends on the cell's own genes alone and not on a generator, so that a cell has one embedding; in training
//! the masks change what is visible, and with it the draw.

use super::{config::TokenConfig, encoder::Seen};
use crate::{
    Error, Result,
    nn::{
        Backend, Embedding, FourierFeatures, IndexSets, Linear, Matrix, RowSets, SetEncoder, mean_pool, ops,
        walk_params,
    },
};
use dfdx::prelude::{PutTape, Tape};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Longest and shortest period of the Fourier features, in units of log1p expression: see [`FourierFeatures`].
const PERIODS: (f32, f32) = (32.0, 0.25);

/// Gene tokens, a set encoder, and a linear layer on the mean of its latent tokens.
#[derive(Debug, Clone)]
pub struct TokenEncoder<D: Backend> {
    device: D,
    zeros: usize,
    /// E, `(genes, identity)`.
    pub identity: Embedding<D>,
    /// Of the value.
    pub value: FourierFeatures<D>,
    /// Over the tokens of a cell.
    pub set: SetEncoder<D>,
    /// To the embedding.
    pub output: Linear<D>,
}

walk_params!(TokenEncoder {
    params: [],
    buffers: [],
    layers: [identity, value, set, output],
    kept: [zeros],
    device_field: device
});

/// The tokens of some cells: the gene and value of each, and which are a cell's.
struct Tokens {
    genes: Vec<u32>,
    values: Vec<f32>,
    sets: RowSets,
}

impl<D: Backend> TokenEncoder<D> {
    /// An encoder of `genes` genes to embeddings of `width` features.
    ///
    /// # Errors
    /// Heads that do not divide the width of the set encoder; a device without memory for it.
    pub fn new(device: &D, genes: usize, config: &TokenConfig, width: usize, rng: &mut ChaCha8Rng) -> Result<Self> {
        let value = FourierFeatures::new(device, config.frequencies, PERIODS, false)?;
        Ok(Self {
            device: device.clone(),
            zeros: config.zeros,
            identity: Embedding::new(device, genes, config.identity, rng)?,
            set: SetEncoder::new(device, config.identity + value.width(), config.set, rng)?,
            value,
            output: Linear::new(device, config.set.width, width, rng)?,
        })
    }

    fn embed<T: Tape<f32, D>>(&self, tokens: &Tokens, tape: T) -> Result<Matrix<D, T>> {
        let identity = self.identity.forward(&Arc::new(IndexSets::from_indices(tokens.genes.clone())), tape)?;
        let values = self
            .device
            .try_tensor_from_vec(tokens.values.clone(), (tokens.values.len(), 1))
            .map_err(|e| Error::device("copying values to the device", e))?;
        ops::concat_columns(identity, self.value.forward(values.put_tape(T::default()))?) // (tokens, features)
    }

    /// Without dropout, `(rows, width)`.
    ///
    /// # Errors
    /// Another number of genes.
    pub fn forward<T: Tape<f32, D>>(&self, seen: &Seen, tape: T) -> Result<Matrix<D, T>> {
        let tokens = self.tokens(seen);
        let h = self.set.forward(self.embed(&tokens, tape)?, &tokens.sets)?; // (rows * latents, set width)
        self.output.forward(mean_pool(h, &self.set.output_sets(&tokens.sets))?)
    }

    /// With dropped attention weights.
    ///
    /// # Errors
    /// Another number of genes.
    pub fn forward_training<T: Tape<f32, D>>(
        &self,
        seen: &Seen,
        tape: T,
        rng: &mut ChaCha8Rng,
    ) -> Result<Matrix<D, T>> {
        let tokens = self.tokens(seen);
        let h = self.set.forward_training(self.embed(&tokens, tape)?, &tokens.sets, rng)?;
        self.output.forward(mean_pool(h, &self.set.output_sets(&tokens.sets))?)
    }

    fn tokens(&self, seen: &Seen) -> Tokens {
        let n_genes = seen.counts.n_genes();
        let visible: Vec<Vec<u32>> = (0..seen.hidden.len())
            .map(|pattern| {
                let hidden = seen.hidden.set(pattern);
                (0..n_genes as u32).filter(|gene| hidden.binary_search(gene).is_err()).collect()
            })
            .collect();
        let mut tokens = (Vec::new(), Vec::new());
        let mut sizes = Vec::with_capacity(seen.len());
        for (row, &pattern) in seen.pattern.iter().enumerate() {
            let (genes, values) = seen.counts.row(row);
            tokens.0.extend_from_slice(genes);
            tokens.1.extend(values.iter().map(|value| value.ln_1p()));
            let zeros = draw_zeros(&visible[pattern as usize], genes, self.zeros);
            tokens.1.resize(tokens.1.len() + zeros.len(), 0.0);
            sizes.push(genes.len() + zeros.len());
            tokens.0.extend(zeros);
        }
        Tokens { genes: tokens.0, values: tokens.1, sets: RowSets::from_sizes(sizes) }
    }
}

/// `amount` of the `visible` genes that are not among `counted` (both ascending), or all of them if there are fewer.
fn draw_zeros(visible: &[u32], counted: &[u32], amount: usize) -> Vec<u32> {
    let mut zeros: Vec<u32> = visible.iter().copied().filter(|gene| counted.binary_search(gene).is_err()).collect();
    if zeros.len() <= amount {
        return zeros;
    }
    // FNV-1a (Fowler, Noll and Vo) over the counted genes: the same cell draws the same zeros.
    let seed = counted
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &gene| (hash ^ u64::from(gene)).wrapping_mul(0x0100_0000_01b3));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for place in 0..amount {
        let other = rng.random_range(place..zeros.len());
        zeros.swap(place, other);
    }
    zeros.truncate(amount);
    zeros
}
