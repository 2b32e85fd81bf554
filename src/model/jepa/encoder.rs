//! From the visible genes of a cell to its embedding.
//!
//! x are normalised counts `(rows, genes)` of which hidden genes hold nothing, m the set of hidden genes of each row:
//!
//! ```text
//! h = log1p(x) W + b + sum over g in m of P_g       (rows, hidden)   a hidden zero is not a measured one
//! z = MLP(finish(h)) V + c                          (rows, width)
//! ```
//!
//! [`LinearEncoder`] is the first line alone, with hidden = width. The other forms are [`TokenEncoder`], a Perceiver over a token for each gene, and [`TransformerEncoder`], a transformer over a
//! token for each group of genes or for each of the most variable genes.
//!
//! Rows of a batch share a few patterns of hidden genes, so that P is summed once a pattern and not once a row. With nothing
//! hidden the sum is zero and not computed.

use super::{
    config::{EncoderConfig, PretrainingConfig},
    tokens::TokenEncoder,
    transformer::TransformerEncoder,
};
use crate::{
    Result,
    data::Counts,
    math::Pca,
    nn::{
        Backend, Embedding, Finish, FinishConfig, IndexSets, Linear, Matrix, Mlp, Params, SparseLinear, Visitor,
        VisitorMut, init, movable_variants, ops, walk_params,
    },
};
use dfdx::prelude::Tape;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// What an encoder is shown of some cells.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Counts scaled to one sum, `(rows, genes)`; hidden genes hold nothing.
    pub counts: Arc<Counts>,
    /// Hidden genes of each pattern.
    pub hidden: Arc<IndexSets>,
    /// The pattern of each row, `(rows,)`.
    pub pattern: Arc<[u32]>,
}

impl Seen {
    /// Whole cells: nothing is hidden.
    pub fn whole(counts: Arc<Counts>) -> Self {
        let pattern = vec![0; counts.n_cells()].into();
        Self { counts, hidden: Arc::new(IndexSets::from_sets([[]; 1])), pattern }
    }

    /// Row r shows what pattern `pattern[r]` leaves of cell `cells[r]`.
    ///
    /// # Panics
    /// If a cell, gene or pattern is not there.
    pub fn masked(counts: &Counts, cells: &[usize], hidden: Arc<IndexSets>, pattern: Arc<[u32]>) -> Self {
        let genes = counts.n_genes();
        let mut visible = vec![true; hidden.len() * genes];
        for set in 0..hidden.len() {
            hidden.set(set).iter().for_each(|&gene| visible[set * genes + gene as usize] = false);
        }
        let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
        for (&cell, &pattern) in cells.iter().zip(pattern.iter()) {
            let visible = &visible[pattern as usize * genes..][..genes];
            let (columns, row) = counts.row(cell);
            for (&gene, &value) in columns.iter().zip(row).filter(|(gene, _)| visible[**gene as usize]) {
                indices.push(gene);
                values.push(value);
            }
            indptr.push(indices.len());
        }
        let counts = Counts::new(genes, indptr, indices, values).expect("a part of each row of a valid matrix");
        Self { counts: Arc::new(counts), hidden, pattern }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.pattern.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.pattern.is_empty()
    }

    /// Whether any gene is hidden from any row.
    pub fn hides(&self) -> bool {
        !self.hidden.indices().is_empty()
    }
}

/// The multilayer perceptron.
#[derive(Debug, Clone)]
pub struct MlpEncoder<D: Backend> {
    /// W and b.
    pub input: SparseLinear<D>,
    /// P, `(genes, hidden)`.
    pub hidden: Embedding<D>,
    /// What follows the first layer.
    pub finish: Finish<D>,
    /// The other hidden layers.
    pub trunk: Mlp<D>,
    /// V and c.
    pub output: Linear<D>,
}

walk_params!(MlpEncoder { params: [], buffers: [], layers: [input, hidden, finish, trunk, output] });

impl<D: Backend> MlpEncoder<D> {
    /// An encoder of `genes` genes with hidden layers of these widths, of which there is at least one.
    ///
    /// # Errors
    /// A dropout probability outside [0, 1); a device without memory for it.
    pub fn new(
        device: &D,
        genes: usize,
        hidden: &[usize],
        width: usize,
        finish: FinishConfig,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let (first, last) = (hidden[0], hidden[hidden.len() - 1]);
        Ok(Self {
            input: SparseLinear::new(device, genes, first, rng)?,
            // As the weights of the first layer: of N(0, 1) a sum over hundreds of genes would drown the expression.
            hidden: Embedding { weight: init::uniform(device, (genes, first), init::kaiming_bound(genes), rng)? },
            finish: Finish::new(device, first, finish)?,
            trunk: Mlp::new(device, hidden, finish, rng)?,
            output: Linear::new(device, last, width, rng)?,
        })
    }

    fn enter<T: Tape<f32, D>>(&self, seen: &Seen, tape: T) -> Result<Matrix<D, T>> {
        enter((&self.input, &self.hidden), seen, tape)
    }
}

/// A linear map of expression, beside which a hidden gene has a vector as in the perceptron.
#[derive(Debug, Clone)]
pub struct LinearEncoder<D: Backend> {
    /// From log1p expression to the embedding.
    pub input: SparseLinear<D>,
    /// P, `(genes, width)`.
    pub hidden: Embedding<D>,
}

walk_params!(LinearEncoder { params: [], buffers: [], layers: [input, hidden] });

impl<D: Backend> LinearEncoder<D> {
    /// An encoder of `genes` genes.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn new(device: &D, genes: usize, width: usize, rng: &mut ChaCha8Rng) -> Result<Self> {
        let hidden = Embedding { weight: init::uniform(device, (genes, width), init::kaiming_bound(genes), rng)? };
        Ok(Self { input: SparseLinear::new(device, genes, width, rng)?, hidden })
    }
}

/// `log1p(x) W + b + sum over hidden genes of P_g`, `(rows, hidden)`.
fn enter<D: Backend, T: Tape<f32, D>>(
    (input, hidden): (&SparseLinear<D>, &Embedding<D>),
    seen: &Seen,
    tape: T,
) -> Result<Matrix<D, T>> {
    let h = input.forward(&seen.counts, tape)?;
    if !seen.hides() {
        return Ok(h);
    }
    let hidden = hidden.forward(&seen.hidden, T::default())?; // (patterns, hidden)
    ops::add(h, D::take_rows(hidden, &seen.pattern)?)
}

/// Any of the encoders.
#[derive(Debug, Clone)]
pub enum CellEncoder<D: Backend> {
    /// Linear in expression.
    Linear(Box<LinearEncoder<D>>),
    /// On expression.
    Mlp(Box<MlpEncoder<D>>),
    /// A Perceiver on gene tokens.
    Tokens(Box<TokenEncoder<D>>),
    /// A transformer on the tokens of gene groups, or of the most variable genes.
    Transformer(Box<TransformerEncoder<D>>),
}

impl<D: Backend> Params<D> for CellEncoder<D> {
    fn walk<V: Visitor<D>>(&self, path: &str, visitor: &mut V) -> Result<()> {
        match self {
            Self::Linear(encoder) => encoder.walk(path, visitor),
            Self::Mlp(encoder) => encoder.walk(path, visitor),
            Self::Tokens(encoder) => encoder.walk(path, visitor),
            Self::Transformer(encoder) => encoder.walk(path, visitor),
        }
    }
    fn walk_mut<V: VisitorMut<D>>(&mut self, path: &str, visitor: &mut V) -> Result<()> {
        match self {
            Self::Linear(encoder) => encoder.walk_mut(path, visitor),
            Self::Mlp(encoder) => encoder.walk_mut(path, visitor),
            Self::Tokens(encoder) => encoder.walk_mut(path, visitor),
            Self::Transformer(encoder) => encoder.walk_mut(path, visitor),
        }
    }
}

movable_variants!(CellEncoder { Linear, Mlp, Tokens, Transformer });

impl<D: Backend> CellEncoder<D> {
    /// The encoder that the settings name, of `genes` genes.
    ///
    /// # Errors
    /// Settings that do not fit together; a device without memory for it.
    pub fn new(device: &D, genes: usize, config: &PretrainingConfig, rng: &mut ChaCha8Rng) -> Result<Self> {
        let finish = FinishConfig { norm: config.norm, activation: config.activation, dropout: config.dropout };
        Ok(match &config.encoder {
            EncoderConfig::Linear => Self::Linear(Box::new(LinearEncoder::new(device, genes, config.width, rng)?)),
            EncoderConfig::Mlp { hidden } => {
                Self::Mlp(Box::new(MlpEncoder::new(device, genes, hidden, config.width, finish, rng)?))
            }
            EncoderConfig::Tokens(tokens) => {
                Self::Tokens(Box::new(TokenEncoder::new(device, genes, tokens, config.width, rng)?))
            }
            EncoderConfig::Groups(groups) => {
                Self::Transformer(Box::new(TransformerEncoder::of_groups(device, genes, groups, config.width, rng)?))
            }
            EncoderConfig::Genes(tokens) => {
                Self::Transformer(Box::new(TransformerEncoder::of_genes(device, genes, tokens, config.width, rng)?))
            }
        })
    }

    /// Embeddings without dropout, `(rows, width)`; goes on with `tape`.
    ///
    /// # Errors
    /// Another number of genes.
    pub fn forward<T: Tape<f32, D>>(&self, seen: &Seen, tape: T) -> Result<Matrix<D, T>> {
        match self {
            Self::Linear(encoder) => enter((&encoder.input, &encoder.hidden), seen, tape),
            Self::Mlp(encoder) => {
                let h = encoder.finish.forward(encoder.enter(seen, tape)?)?;
                encoder.output.forward(encoder.trunk.forward(h)?)
            }
            Self::Tokens(encoder) => encoder.forward(seen, tape),
            Self::Transformer(encoder) => {
                let visible = encoder.visible(seen)?;
                encoder.embedding(encoder.tokens(&visible, tape, None)?, &visible)
            }
        }
    }

    /// The transformer, if it is that.
    pub fn as_transformer(&self) -> Option<&TransformerEncoder<D>> {
        match self {
            Self::Transformer(encoder) => Some(encoder),
            _ => None,
        }
    }

    /// Adds bottleneck adapters to the blocks of a transformer; the others have no blocks.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn add_adapters(&mut self, bottleneck: usize, rng: &mut ChaCha8Rng) -> Result<()> {
        match self {
            Self::Transformer(encoder) => {
                encoder.blocks.iter_mut().try_for_each(|block| block.add_adapters(bottleneck, rng))
            }
            Self::Linear(_) | Self::Mlp(_) | Self::Tokens(_) => Ok(()),
        }
    }

    /// Sets the place of each gene and, with its mean and standard deviation, starts the first layer at standardised genes;
    /// tokens of other encoders have no places.
    pub fn set_places(&mut self, place_of: &[u32], moments: Option<&(Vec<f64>, Vec<f64>)>) {
        if let Self::Transformer(encoder) = self {
            encoder.set_places(place_of);
            if let Some((mean, sd)) = moments {
                encoder.standardise_inputs(mean, sd);
            }
        }
    }

    /// Starts a linear encoder at principal components; the others have none.
    pub fn begin_at(&mut self, components: &Pca) {
        if let Self::Linear(encoder) = self {
            let weight = components.components.t();
            encoder.input.weight.copy_from(&weight.iter().map(|&v| v as f32).collect::<Vec<_>>());
            let bias = -components.mean.dot(&weight);
            encoder.input.bias.copy_from(&bias.iter().map(|&v| v as f32).collect::<Vec<_>>());
        }
    }

    /// As [`Self::forward`], with dropout.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_training<T: Tape<f32, D>>(
        &mut self,
        seen: &Seen,
        tape: T,
        rng: &mut ChaCha8Rng,
    ) -> Result<Matrix<D, T>> {
        match self {
            Self::Linear(_) => self.forward(seen, tape),
            Self::Mlp(encoder) => {
                let h = encoder.enter(seen, tape)?;
                let h = encoder.finish.forward_training(h, rng)?;
                let h = encoder.trunk.forward_training(h, rng)?;
                encoder.output.forward(h)
            }
            Self::Tokens(encoder) => encoder.forward_training(seen, tape, rng),
            Self::Transformer(encoder) => {
                let visible = encoder.visible(seen)?;
                encoder.embedding(encoder.tokens(&visible, tape, Some(rng))?, &visible)
            }
        }
    }
}
