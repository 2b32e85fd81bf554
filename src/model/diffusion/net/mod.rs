//! The networks that learn a score or a velocity: `(x, t, condition)` to a vector of x's size.
//!
//! [`FilmMlp`] is small and fast; [`Tabular`] and [`Dit`] attend among the numbers of a latent, [`GeneTokens`] among genes. All begin at 0, take the
//! condition by a learned embedding, and have a learned embedding for "no condition": see [`ConditionEmbedding`].

use crate::{
    Error, Result,
    nn::{Backend, Linear, Matrix, Params, Visitor, VisitorMut, init, movable_variants},
};
use dfdx::prelude::{HasShape, Tape};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

mod dit;
mod embeddings;
mod film_mlp;
mod tabular;
mod tokens;

pub(in crate::model) use dit::Plain;
pub use dit::{Cross, Dit, DitBlock, DitConditioning, DitConfig, Gate};
pub use embeddings::{ConditionEmbedding, Given, TIME_SCALE, TimeEmbedding, sinusoidal};
pub use film_mlp::{FilmBlock, FilmMlp, FilmMlpConfig};
pub use tabular::{Tabular, TabularBlock, TabularConfig};
pub use tokens::{GeneTokens, GeneTokensConfig, GroupTokens, LatentTokens, SingleTokens, Tokenization, Tokenizer};

/// Which network, and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ScoreNetConfig {
    /// [`FilmMlp`].
    FilmMlp(FilmMlpConfig),
    /// [`Tabular`].
    Tabular(TabularConfig),
    /// [`Dit`].
    Dit(DitConfig),
    /// [`GeneTokens`].
    GeneTokens(GeneTokensConfig),
}

impl Default for ScoreNetConfig {
    /// The FiLM MLP of 4 blocks of 256 features.
    fn default() -> Self {
        Self::FilmMlp(FilmMlpConfig::default())
    }
}

impl ScoreNetConfig {
    /// A FiLM MLP of this size.
    pub fn film_mlp(width: usize, depth: usize) -> Self {
        Self::FilmMlp(FilmMlpConfig { width, depth, ..FilmMlpConfig::default() })
    }

    /// A tabular attention network with `group` numbers per token.
    pub fn tabular(group: usize) -> Self {
        Self::Tabular(TabularConfig { group, ..TabularConfig::default() })
    }

    /// A diffusion transformer with `group` numbers per token.
    pub fn dit(group: usize) -> Self {
        Self::Dit(DitConfig { group, ..DitConfig::default() })
    }

    /// A diffusion transformer over tokens of genes.
    pub fn gene_tokens(tokens: Tokenization) -> Self {
        Self::GeneTokens(GeneTokensConfig { tokens, ..GeneTokensConfig::default() })
    }

    /// The network's name: `film_mlp`, `tabular`, `dit`, `gene_tokens`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::FilmMlp(_) => "film_mlp",
            Self::Tabular(_) => "tabular",
            Self::Dit(_) => "dit",
            Self::GeneTokens(_) => "gene_tokens",
        }
    }

    /// Weights of the largest layers of a network over `dims` numbers with conditions of `condition`, and no more than it
    /// has; `None` if there are more than can be counted. A description from a file is checked with it before the network is
    /// made.
    pub(crate) fn n_main_weights(&self, dims: usize, condition: usize) -> Option<usize> {
        let (inputs, tokens, width, depth, embedding) = match *self {
            Self::FilmMlp(FilmMlpConfig { width, depth, embedding }) => (dims, 0, width, depth, embedding),
            Self::Tabular(TabularConfig { group, width, depth, embedding, .. })
            | Self::Dit(DitConfig { group, width, depth, embedding, .. }) => {
                (group, dims.div_ceil(group.max(1)), width, depth, embedding)
            }
            Self::GeneTokens(GeneTokensConfig { tokens, width, depth, embedding, .. }) => {
                (dims, if tokens == Tokenization::Genes { 0 } else { tokens.count(dims) }, width, depth, embedding)
            }
        };
        let mut layers = vec![(inputs, width), (tokens, width), (condition, embedding), (embedding, embedding)];
        layers.push((depth, width.checked_mul(width)?));
        if let Self::Dit(DitConfig { conditioning, .. }) = self
            && condition > 0
        {
            layers.push((conditioning.tokens(), width.checked_mul(embedding)?));
        }
        layers.into_iter().try_fold(0_usize, |sum, (rows, columns)| sum.checked_add(rows.checked_mul(columns)?))
    }

    /// Checks that there is something of everything.
    ///
    /// # Errors
    /// A size of 0, with its name.
    pub fn validate(&self) -> Result<()> {
        let sizes: &[(&str, usize)] = match self {
            Self::FilmMlp(FilmMlpConfig { width, depth, embedding }) => {
                &[("width", *width), ("depth", *depth), ("embedding", *embedding)]
            }
            Self::Tabular(TabularConfig { group, width, depth, heads, embedding }) => {
                &[("group", *group), ("width", *width), ("depth", *depth), ("heads", *heads), ("embedding", *embedding)]
            }
            Self::Dit(DitConfig { group, width, depth, heads, embedding, conditioning }) => &[
                ("group", *group),
                ("width", *width),
                ("depth", *depth),
                ("heads", *heads),
                ("embedding", *embedding),
                ("conditioning.count", if *conditioning == DitConditioning::AdaLn { 1 } else { conditioning.tokens() }),
            ],
            Self::GeneTokens(GeneTokensConfig { tokens, width, depth, heads, embedding }) => &[
                ("tokens.count", tokens.count(1)),
                ("width", *width),
                ("depth", *depth),
                ("heads", *heads),
                ("embedding", *embedding),
            ],
        };
        match sizes.iter().find(|(_, size)| *size == 0) {
            Some((name, _)) => Err(Error::config(format!("{}: {name} = 0, but it must be at least 1", self.name()))),
            None => Ok(()),
        }
    }
}

/// Any of the networks.
#[derive(Debug, Clone)]
pub enum ScoreNet<D: Backend> {
    /// Residual MLP.
    FilmMlp(Box<FilmMlp<D>>),
    /// Attention over features.
    Tabular(Box<Tabular<D>>),
    /// Diffusion transformer.
    Dit(Box<Dit<D>>),
    /// Diffusion transformer over tokens of genes.
    GeneTokens(Box<GeneTokens<D>>),
}

impl<D: Backend> Params<D> for ScoreNet<D> {
    fn walk<V: Visitor<D>>(&self, path: &str, visitor: &mut V) -> Result<()> {
        match self {
            Self::FilmMlp(net) => net.walk(path, visitor),
            Self::Tabular(net) => net.walk(path, visitor),
            Self::Dit(net) => net.walk(path, visitor),
            Self::GeneTokens(net) => net.walk(path, visitor),
        }
    }
    fn walk_mut<V: VisitorMut<D>>(&mut self, path: &str, visitor: &mut V) -> Result<()> {
        match self {
            Self::FilmMlp(net) => net.walk_mut(path, visitor),
            Self::Tabular(net) => net.walk_mut(path, visitor),
            Self::Dit(net) => net.walk_mut(path, visitor),
            Self::GeneTokens(net) => net.walk_mut(path, visitor),
        }
    }
}

movable_variants!(ScoreNet { FilmMlp, Tabular, Dit, GeneTokens });

impl<D: Backend> ScoreNet<D> {
    /// A network over rows of `dims` numbers with conditions of `condition`, 0 for none.
    ///
    /// # Errors
    /// A size of 0, heads that do not divide the width, a device without memory for it.
    pub fn new(
        device: &D,
        dims: usize,
        condition: usize,
        config: &ScoreNetConfig,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        config.validate()?;
        if dims == 0 {
            return Err(Error::config("score network: rows of 0 numbers leave nothing to learn"));
        }
        Ok(match *config {
            ScoreNetConfig::FilmMlp(size) => Self::FilmMlp(Box::new(FilmMlp::new(device, dims, condition, size, rng)?)),
            ScoreNetConfig::Tabular(size) => Self::Tabular(Box::new(Tabular::new(device, dims, condition, size, rng)?)),
            ScoreNetConfig::Dit(size) => Self::Dit(Box::new(Dit::new(device, dims, condition, size, rng)?)),
            ScoreNetConfig::GeneTokens(size) => {
                Self::GeneTokens(Box::new(GeneTokens::new(device, dims, condition, size, rng)?))
            }
        })
    }

    /// `(rows, dims)` to the same shape; goes on with the tape of x.
    ///
    /// # Errors
    /// An x of another width; what is given is of other rows, or its condition of another width.
    pub fn forward<T: Tape<f32, D>>(&self, x: Matrix<D, T>, given: &Given) -> Result<Matrix<D, T>> {
        given.check(x.shape().0, self.condition())?;
        match self {
            Self::FilmMlp(net) => net.forward(x, given),
            Self::Tabular(net) => net.forward(x, given),
            Self::Dit(net) => net.forward(x, given),
            Self::GeneTokens(net) => net.forward(x, given),
        }
    }

    /// Takes the group of each gene, `(genes,)`, for tokens that are groups of genes.
    ///
    /// # Errors
    /// A network without such tokens; another number of genes; a group that has no token.
    pub fn set_gene_groups(&mut self, group_of: &[u32]) -> Result<()> {
        match self {
            Self::GeneTokens(net) => net.set_groups(group_of),
            _ => Err(Error::config("only a network of gene tokens has groups of genes")),
        }
    }

    /// Numbers of a condition; 0 of an unconditional network.
    pub fn condition(&self) -> usize {
        let condition = match self {
            Self::FilmMlp(net) => &net.condition,
            Self::Tabular(net) => &net.condition,
            Self::Dit(net) => &net.condition,
            Self::GeneTokens(net) => &net.condition,
        };
        condition.as_ref().map_or(0, |condition| condition.up.weight.shape().0)
    }
}

/// A linear layer that starts at 0.
pub(in crate::model) fn zero_linear<D: Backend>(device: &D, inputs: usize, outputs: usize) -> Result<Linear<D>> {
    let weight = init::constant(device, (inputs, outputs), 0.0)?;
    Ok(Linear { weight, bias: init::constant(device, (outputs,), 0.0)? })
}
