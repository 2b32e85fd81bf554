//! How expression enters the tokens of a transformer: see [`TransformerEncoder`](super::TransformerEncoder) for the equations.

use super::config::{GeneConfig, GroupConfig, ValueTokens};
use crate::{
    Error, Result,
    data::Counts,
    nn::{
        Activation, Backend, Embedding, FourierFeatures, IndexSets, Linear, Matrix, Movable, Params, RowSets,
        SparseLinear, Visitor, VisitorMut, init, ops, walk_params,
    },
};
use dfdx::prelude::{HasShape, PutTape, Tape};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Longest and shortest period of the Fourier features, in units of log1p expression: see [`FourierFeatures`].
const PERIODS: (f32, f32) = (32.0, 0.25);
/// Width of a bin of log1p expression.
const BIN: f32 = 0.5;

/// The tokens of some cells.
#[derive(Debug, Clone)]
pub struct PlacedTokens {
    /// What each token expresses, `(tokens, genes)`: the genes of its place only.
    pub(super) counts: Arc<Counts>,
    /// The place of each token.
    pub place: Arc<[u32]>,
    /// Which tokens are a cell's.
    pub sets: RowSets,
}

impl PlacedTokens {
    /// log1p of the one gene of each token, `(tokens,)`.
    fn values(&self) -> Vec<f32> {
        (0..self.place.len()).map(|token| self.counts.row(token).1.iter().sum::<f32>().ln_1p()).collect()
    }

    /// The level of each token's value, below `levels`; 0 is no count.
    fn levels(&self, levels: usize, by_rank: bool) -> Vec<u32> {
        let (values, top) = (self.values(), levels as u32 - 1);
        if !by_rank {
            let level = |&value: &f32| if value > 0.0 { (1 + (value / BIN) as u32).min(top) } else { 0 };
            return values.iter().map(level).collect();
        }
        let mut level = vec![0; values.len()];
        for cell in self.sets.ranges() {
            let mut counted: Vec<usize> = cell.filter(|&token| values[token] > 0.0).collect();
            counted.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
            // Equal values have one rank, the lowest.
            let mut rank = 0;
            for (at, &token) in counted.iter().enumerate() {
                if at > 0 && values[token] > values[counted[at - 1]] {
                    rank = at;
                }
                level[token] = 1 + (rank * top as usize / counted.len()) as u32;
            }
        }
        level
    }
}

/// From the genes of a group to its token, before the identity is added.
#[derive(Debug, Clone)]
pub struct GroupEntry<D: Backend> {
    /// W, and a bias that all groups share.
    pub input: SparseLinear<D>,
    /// b, `(groups, hidden)`.
    pub bias: Matrix<D>,
    /// V and c.
    pub token: Linear<D>,
}

walk_params!(GroupEntry { params: [bias], buffers: [], layers: [input, token] });

/// From the value of a gene to its token, before the identity is added.
#[derive(Debug, Clone)]
pub struct FourierEntry<D: Backend> {
    device: D,
    /// Of the value.
    pub value: FourierFeatures<D>,
    /// From them to the token.
    pub token: Linear<D>,
}

walk_params!(FourierEntry { params: [], buffers: [], layers: [value, token], device_field: device });

/// How expression enters the tokens.
#[derive(Debug, Clone)]
pub enum Entry<D: Backend> {
    /// Of groups of genes.
    Groups(GroupEntry<D>),
    /// Of genes, by Fourier features.
    Fourier(FourierEntry<D>),
    /// Of genes, by the level of their value, a bin or a rank within the cell: each level has a learned vector.
    Levels {
        /// The vectors, `(levels, width)`.
        table: Embedding<D>,
        /// Whether a level is a rank.
        by_rank: bool,
    },
}

impl<D: Backend> Params<D> for Entry<D> {
    fn walk<V: Visitor<D>>(&self, path: &str, visitor: &mut V) -> Result<()> {
        match self {
            Self::Groups(entry) => entry.walk(path, visitor),
            Self::Fourier(entry) => entry.walk(path, visitor),
            Self::Levels { table, .. } => table.walk(path, visitor),
        }
    }
    fn walk_mut<V: VisitorMut<D>>(&mut self, path: &str, visitor: &mut V) -> Result<()> {
        match self {
            Self::Groups(entry) => entry.walk_mut(path, visitor),
            Self::Fourier(entry) => entry.walk_mut(path, visitor),
            Self::Levels { table, .. } => table.walk_mut(path, visitor),
        }
    }
}

impl<D: Backend> Movable for Entry<D> {
    type On<E: Backend> = Entry<E>;

    fn copied_to<E: Backend>(&self, device: &E) -> Result<Entry<E>> {
        Ok(match self {
            Self::Groups(entry) => Entry::Groups(entry.copied_to(device)?),
            Self::Fourier(entry) => Entry::Fourier(entry.copied_to(device)?),
            Self::Levels { table, by_rank } => Entry::Levels { table: table.copied_to(device)?, by_rank: *by_rank },
        })
    }
}

impl<D: Backend> Entry<D> {
    /// Of groups of genes.
    ///
    /// # Errors
    /// A device without memory for it; so for the next.
    pub(super) fn of_groups(device: &D, genes: usize, config: &GroupConfig, rng: &mut ChaCha8Rng) -> Result<Self> {
        let GroupConfig { groups, hidden, tokens, .. } = *config;
        Ok(Self::Groups(GroupEntry {
            // A token sees the genes of its group only: its weights start as those of a layer with genes / groups inputs.
            input: SparseLinear {
                weight: init::uniform(device, (genes, hidden), init::kaiming_bound(genes / groups), rng)?,
                bias: init::constant(device, (hidden,), 0.0)?,
            },
            bias: init::constant(device, (groups, hidden), 0.0)?,
            token: Linear::new(device, hidden, tokens, rng)?,
        }))
    }

    /// Of single genes.
    pub(super) fn of_genes(device: &D, config: &GeneConfig, rng: &mut ChaCha8Rng) -> Result<Self> {
        let levels = |levels: usize, by_rank, rng: &mut ChaCha8Rng| -> Result<Self> {
            let weight = init::normal(device, (levels, config.tokens), 1.0, rng)?;
            Ok(Self::Levels { table: Embedding { weight }, by_rank })
        };
        match config.value {
            ValueTokens::Fourier { frequencies } => {
                let value = FourierFeatures::new(device, frequencies, PERIODS, false)?;
                let token = Linear::new(device, value.width(), config.tokens, rng)?;
                Ok(Self::Fourier(FourierEntry { device: device.clone(), value, token }))
            }
            ValueTokens::Bins { levels: n } => levels(n, false, rng),
            ValueTokens::Ranks { levels: n } => levels(n, true, rng),
        }
    }

    /// `(tokens, width)`.
    ///
    /// # Errors
    /// Another number of genes; a device that fails.
    pub(super) fn forward<T: Tape<f32, D>>(&self, seen: &PlacedTokens, tape: T) -> Result<Matrix<D, T>> {
        match self {
            Self::Groups(GroupEntry { input, bias, token }) => {
                let h = input.forward(&seen.counts, tape)?; // (tokens, hidden)
                let h = ops::add(h, D::take_rows(bias.retaped(), &seen.place)?)?;
                token.forward(Activation::Gelu.forward(h)?)
            }
            Self::Fourier(FourierEntry { device, value, token }) => {
                let values = device
                    .try_tensor_from_vec(seen.values(), (seen.place.len(), 1))
                    .map_err(|e| Error::device("copying values to the device", e))?;
                token.forward(value.forward(values.put_tape(tape))?)
            }
            Self::Levels { table, by_rank } => {
                let levels = seen.levels(table.weight.shape().0, *by_rank);
                table.forward(&Arc::new(IndexSets::from_indices(levels)), tape)
            }
        }
    }
}
