//! A diffusion transformer over tokens of genes: expression itself, without principal components or latents.
//!
//! ```text
//! h = tokens(x)                                               x: the genes of a cell, (genes,)
//! h = h + gate_1(c) * A(FiLM_1(N(h), c)),  h = h + gate_2(c) * F(FiLM_2(N(h), c))         as in `dit`, block after block
//! f = read(FiLM(N(h), c))                                     starts at 0
//! ```
//!
//! | tokenisation | a token is | tokens per cell | read back | file |
//! |---|---|---|---|---|
//! | `patches` | genes that are neighbours in the file | `count` | by a row per gene from its group's token | `groups` |
//! | `modules` | genes of a module | `count` | the same | `groups` |
//! | `genes` | one gene: identity and value | genes | by one vector for all | `genes` |
//! | `latents` | learned; reads all genes | `count` | genes attend to the latents | `latents` |
//!
//! Peebles and Xie 2023, *Scalable Diffusion Models with Transformers* (AdaLN-Zero), whose patches are those of an image.

use super::{
    ConditionEmbedding, Given, TimeEmbedding,
    dit::{DitBlock, Plain},
    film_mlp::embed,
};
use crate::{
    Error, Result,
    nn::{AttentionConfig, Backend, Film, Matrix, Movable, Params, RowSets, Visitor, VisitorMut, walk_params},
};
use dfdx::prelude::{HasShape, PutTape, SplitTape, Tape};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

mod genes;
mod groups;
mod latents;

pub use genes::SingleTokens;
pub use groups::GroupTokens;
pub use latents::LatentTokens;

/// Spread of learned positions and latents at the start; Dosovitskiy et al. 2021 (ViT), Jaegle et al. 2021.
const POSITION_SPREAD: f32 = 0.02;

/// How the expression of a cell becomes tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", try_from = "Table")]
pub enum Tokenization {
    /// Genes that are neighbours in the file share a token.
    Patches {
        /// Tokens per cell; default 16.
        count: usize,
    },
    /// Genes of a module share a token.
    Modules {
        /// Tokens per cell; default 16.
        count: usize,
    },
    /// One token per gene.
    Genes,
    /// Latent tokens that read the genes, and that the genes read.
    Latents {
        /// Latent tokens per cell; default 16.
        count: usize,
    },
}

/// A tokenisation in a file. As an enum, serde would not look at a `count` beside `genes`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default = "usual_kind")]
    kind: String,
    count: Option<usize>,
}

impl TryFrom<Table> for Tokenization {
    type Error = Error;

    fn try_from(Table { kind, count }: Table) -> Result<Self> {
        match (Self::named(&kind, count.unwrap_or(USUAL_COUNT))?, count) {
            (Self::Genes, Some(count)) => Err(Error::config(format!(
                "count = {count}: tokens of the kind \"genes\" are as many as the genes; leave it out"
            ))),
            (tokens, _) => Ok(tokens),
        }
    }
}

fn usual_kind() -> String {
    Tokenization::default().name().to_owned()
}

/// Tokens per cell where nothing is said.
const USUAL_COUNT: usize = 16;

impl Default for Tokenization {
    fn default() -> Self {
        Self::Modules { count: USUAL_COUNT }
    }
}

impl Tokenization {
    /// The name: `patches`, `modules`, `genes` or `latents`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Patches { .. } => "patches",
            Self::Modules { .. } => "modules",
            Self::Genes => "genes",
            Self::Latents { .. } => "latents",
        }
    }

    /// The tokenisation of this name, with so many tokens where there is a choice.
    ///
    /// # Errors
    /// Another name.
    pub fn named(name: &str, count: usize) -> Result<Self> {
        Ok(match name {
            "patches" => Self::Patches { count },
            "modules" => Self::Modules { count },
            "genes" => Self::Genes,
            "latents" => Self::Latents { count },
            _ => {
                let there_are = "there are patches, modules, genes and latents";
                return Err(Error::config(format!("there is no tokenisation {name:?}; {there_are}")));
            }
        })
    }

    /// Tokens that the transformer sees of a cell of `genes` genes.
    pub fn count(self, genes: usize) -> usize {
        match self {
            Self::Patches { count } | Self::Modules { count } | Self::Latents { count } => count,
            Self::Genes => genes,
        }
    }
}

/// Size of a transformer over tokens of genes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GeneTokensConfig {
    /// How expression becomes tokens. Default: 16 modules.
    pub tokens: Tokenization,
    /// Features of a token; default 64.
    pub width: usize,
    /// Blocks; default 3.
    pub depth: usize,
    /// Attention heads, which divide the width; default 4.
    pub heads: usize,
    /// Features of the embedding of time and condition; default 64.
    pub embedding: usize,
}

impl Default for GeneTokensConfig {
    fn default() -> Self {
        Self { tokens: Tokenization::default(), width: 64, depth: 3, heads: 4, embedding: 64 }
    }
}

/// From expression to tokens, and from tokens to expression: the layers of a [`Tokenization`].
#[derive(Debug, Clone)]
pub enum Tokenizer<D: Backend> {
    /// `patches` and `modules`.
    Groups(GroupTokens<D>),
    /// `genes`.
    Genes(SingleTokens<D>),
    /// `latents`.
    Latents(SingleTokens<D>, Box<LatentTokens<D>>),
}

impl<D: Backend> Params<D> for Tokenizer<D> {
    fn walk<V: Visitor<D>>(&self, path: &str, visitor: &mut V) -> Result<()> {
        match self {
            Self::Groups(groups) => groups.walk(path, visitor),
            Self::Genes(genes) => genes.walk(path, visitor),
            Self::Latents(genes, latents) => {
                genes.walk(path, visitor)?;
                latents.walk(path, visitor)
            }
        }
    }
    fn walk_mut<V: VisitorMut<D>>(&mut self, path: &str, visitor: &mut V) -> Result<()> {
        match self {
            Self::Groups(groups) => groups.walk_mut(path, visitor),
            Self::Genes(genes) => genes.walk_mut(path, visitor),
            Self::Latents(genes, latents) => {
                genes.walk_mut(path, visitor)?;
                latents.walk_mut(path, visitor)
            }
        }
    }
}

impl<D: Backend> Movable for Tokenizer<D> {
    type On<E: Backend> = Tokenizer<E>;

    fn copied_to<E: Backend>(&self, device: &E) -> Result<Tokenizer<E>> {
        Ok(match self {
            Self::Groups(groups) => Tokenizer::Groups(groups.copied_to(device)?),
            Self::Genes(genes) => Tokenizer::Genes(genes.copied_to(device)?),
            Self::Latents(genes, latents) => Tokenizer::Latents(genes.copied_to(device)?, latents.copied_to(device)?),
        })
    }
}

/// The network.
#[derive(Debug, Clone)]
pub struct GeneTokens<D: Backend> {
    /// T.
    pub time: TimeEmbedding<D>,
    /// C, of a conditional network.
    pub condition: Option<ConditionEmbedding<D>>,
    /// To tokens and back.
    pub tokens: Tokenizer<D>,
    /// One after the other.
    pub blocks: Vec<DitBlock<D>>,
    /// The last one, before the tokens are read.
    pub film: Film<D>,
    plain: Plain<D>,
}

walk_params!(GeneTokens { params: [], buffers: [], layers: [time, condition, tokens, blocks, film], moved: [plain] });

impl<D: Backend> GeneTokens<D> {
    /// A network over rows of `genes` values with conditions of `condition` numbers, 0 for none.
    ///
    /// # Errors
    /// Heads that do not divide the width; more groups than genes; a device without memory for it.
    pub fn new(
        device: &D,
        genes: usize,
        condition: usize,
        config: GeneTokensConfig,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let GeneTokensConfig { tokens, width, depth, heads, embedding } = config;
        let attention = AttentionConfig { heads, dropout: 0.0 };
        Ok(Self {
            time: TimeEmbedding::new(device, embedding, rng)?,
            condition: (condition > 0)
                .then(|| ConditionEmbedding::new(device, condition, embedding, embedding, rng))
                .transpose()?,
            tokens: match tokens {
                Tokenization::Patches { count } | Tokenization::Modules { count } => {
                    Tokenizer::Groups(GroupTokens::new(device, genes, count, width, rng)?)
                }
                Tokenization::Genes => Tokenizer::Genes(SingleTokens::new(device, genes, width, rng)?),
                Tokenization::Latents { count } => Tokenizer::Latents(
                    SingleTokens::new(device, genes, width, rng)?,
                    Box::new(LatentTokens::new(device, count, width, attention, rng)?),
                ),
            },
            blocks: (0..depth)
                .map(|_| DitBlock::new(device, width, embedding, heads, false, rng))
                .collect::<Result<_>>()?,
            film: Film::new(device, embedding, width)?,
            plain: Plain::new(device, width)?,
        })
    }

    /// `(rows, genes)` to the same shape.
    ///
    /// # Errors
    /// An x of another width; what is given is of other rows or another width.
    pub fn forward<T: Tape<f32, D>>(&self, x: Matrix<D, T>, given: &Given) -> Result<Matrix<D, T>> {
        let rows = x.shape().0;
        let c = embed::<D, T>(&self.time, self.condition.as_ref(), given)?;
        match &self.tokens {
            Tokenizer::Groups(groups) => {
                let (h, c) = self.transform(groups.embed(x)?, c, given)?;
                groups.read(self.last(h, c, given, groups.count())?)
            }
            Tokenizer::Genes(genes) => {
                let (h, c) = self.transform(genes.embed(x)?, c, given)?;
                genes.read(self.last(h, c, given, genes.count())?)
            }
            Tokenizer::Latents(genes, latents) => {
                let (e, tape) = genes.embed(x)?.split_tape();
                let l = latents.read_genes(e.clone().put_tape(tape), rows)?;
                let (l, c) = self.transform(l, c, given)?;
                let h = latents.tell_genes(e.retaped::<T>(), l, rows)?;
                genes.read(self.last(h, c, given, genes.count())?)
            }
        }
    }

    /// The blocks; c comes back with its own tape.
    fn transform<T: Tape<f32, D>>(
        &self,
        mut h: Matrix<D, T>,
        c: Matrix<D, T>,
        given: &Given,
    ) -> Result<(Matrix<D, T>, Matrix<D, T>)> {
        let tokens = h.shape().0 / given.rows().max(1);
        let (sets, runs) = (RowSets::uniform(given.rows(), tokens), given.runs_of_tokens(tokens));
        let (c, mut tape) = c.split_tape();
        for block in &self.blocks {
            let c = c.clone().put_tape(std::mem::take(&mut tape));
            h = block.forward(h, c, None, &sets, &runs, &self.plain)?;
        }
        Ok((h, c.put_tape(tape)))
    }

    fn last<T: Tape<f32, D>>(
        &self,
        h: Matrix<D, T>,
        c: Matrix<D, T>,
        given: &Given,
        tokens: usize,
    ) -> Result<Matrix<D, T>> {
        self.film.forward(self.plain.forward(h)?, c, &given.runs_of_tokens(tokens))
    }

    /// Takes the group of each gene, `(genes,)`, for tokens that are groups.
    ///
    /// # Errors
    /// Other tokens; another number of genes; a group that has no token.
    pub fn set_groups(&mut self, group_of: &[u32]) -> Result<()> {
        match &mut self.tokens {
            Tokenizer::Groups(groups) => groups.set_groups(group_of),
            _ => Err(Error::config("gene tokens: only patches and modules have groups of genes")),
        }
    }
}
