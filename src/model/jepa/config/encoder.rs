//! What turns a cell into its embedding, and what goes from one embedding to another: sizes and widths.

use crate::{
    model::jepa::groups::Grouping,
    nn::{AttentionConfig, SetEncoderConfig},
};
use serde::{Deserialize, Serialize};

/// How large a model is, in four steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// For a lesson or a comparison of many settings.
    Tiny,
    /// For a laptop.
    Small,
    /// For one GPU.
    Medium,
    /// The reference settings: 256 wide, 8 heads, depth 6, 64 latent tokens.
    Large,
}

/// What turns the visible genes of a cell into its embedding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum EncoderConfig {
    /// A linear map of log1p-normalised expression that begins at the principal components of the training cells.
    Linear,
    /// A multilayer perceptron on log1p-normalised expression.
    Mlp {
        /// Widths of its hidden layers.
        hidden: Vec<usize>,
    },
    /// A token for each gene, and a Perceiver over them: learned latent tokens attend to those of the genes.
    Tokens(TokenConfig),
    /// A token for each group of genes, and a transformer over them.
    Groups(GroupConfig),
    /// A token for each of the most variable genes, and a transformer over them.
    Genes(GeneConfig),
}

/// How the value of a gene enters its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ValueTokens {
    /// As sines and cosines of log1p expression.
    Fourier {
        /// How many frequencies; two features each.
        frequencies: usize,
    },
    /// As the bin of log1p expression it falls into, each 0.5 wide: a learned vector a bin.
    Bins {
        /// How many bins, the first of which is no count, and the last open.
        levels: usize,
    },
    /// As its rank among the counted genes of its cell that have a token (in masked training, a visible one): a learned vector a
    /// level of it.
    Ranks {
        /// How many levels, the first of which is no count.
        levels: usize,
    },
}

impl Default for ValueTokens {
    fn default() -> Self {
        Self::Fourier { frequencies: 16 }
    }
}

/// Settings of the tokens of single genes and of the transformer over them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GeneConfig {
    /// Number of genes that have a token: those of the training cells that vary most for their mean expression; fewer where
    /// fewer vary.
    pub genes: usize,
    /// How the value of a gene enters its token.
    pub value: ValueTokens,
    /// Features of a token.
    pub tokens: usize,
    /// Transformer blocks.
    pub depth: usize,
    /// Heads and dropout of every attention.
    pub attention: AttentionConfig,
    /// Blocks of the predictor, the first of which attends to the visible tokens.
    pub predictor_depth: usize,
}

impl Default for GeneConfig {
    fn default() -> Self {
        Self::of(Size::Small)
    }
}

impl GeneConfig {
    /// The settings of a size.
    pub fn of(size: Size) -> Self {
        let genes = match size {
            Size::Tiny => 48,
            Size::Small => 128,
            Size::Medium => 512,
            Size::Large => 1024,
        };
        let GroupConfig { tokens, depth, attention, predictor_depth, .. } = GroupConfig::of(size);
        Self { genes, value: ValueTokens::default(), tokens, depth, attention, predictor_depth }
    }
}

/// Settings of the gene-group tokens and of the transformer over them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupConfig {
    /// Number of groups; fewer where there are not twice as many genes.
    pub groups: usize,
    /// How genes are divided into them.
    pub grouping: Grouping,
    /// Width of the layer between the genes of a group and its token.
    pub hidden: usize,
    /// Features of a token.
    pub tokens: usize,
    /// Transformer blocks.
    pub depth: usize,
    /// Heads and dropout of every attention.
    pub attention: AttentionConfig,
    /// Blocks of the predictor, the first of which attends to the visible tokens.
    pub predictor_depth: usize,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self::of(Size::Small)
    }
}

impl GroupConfig {
    /// The settings of a size.
    pub fn of(size: Size) -> Self {
        let (groups, tokens, depth, heads, predictor_depth) = match size {
            Size::Tiny => (8, 32, 1, 2, 1),
            Size::Small => (16, 64, 2, 4, 1),
            Size::Medium => (32, 128, 4, 8, 2),
            Size::Large => (64, 256, 6, 8, 4),
        };
        let attention = AttentionConfig { heads, dropout: 0.0 };
        Self { groups, grouping: Grouping::default(), hidden: 2 * tokens, tokens, depth, attention, predictor_depth }
    }
}

/// Settings of the gene tokens and of the set encoder over them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenConfig {
    /// Features of a gene's identity.
    pub identity: usize,
    /// Frequencies of the Fourier features of a value; two features each.
    pub frequencies: usize,
    /// Visible genes without a count that get a token all the same, drawn for each cell; all of them if there are fewer.
    pub zeros: usize,
    /// The set encoder.
    pub set: SetEncoderConfig,
}

impl Default for TokenConfig {
    fn default() -> Self {
        Self::of(Size::Small)
    }
}

impl TokenConfig {
    /// The settings of a size.
    pub fn of(size: Size) -> Self {
        let (identity, zeros, width, latents, depth, heads) = match size {
            Size::Tiny => (16, 16, 32, 4, 1, 2),
            Size::Small => (32, 32, 64, 8, 2, 4),
            Size::Medium => (128, 128, 128, 32, 4, 8),
            Size::Large => (256, 256, 256, 64, 6, 8),
        };
        let attention = AttentionConfig { heads, dropout: 0.0 };
        Self { identity, frequencies: 16, zeros, set: SetEncoderConfig { width, latents, depth, attention } }
    }
}

/// What goes from the context's embedding to the target's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PredictorConfig {
    /// Widths of its hidden layers.
    pub hidden: Vec<usize>,
    /// Features of a gene in the pointer to the target.
    pub pointer: usize,
}

impl Default for PredictorConfig {
    fn default() -> Self {
        Self { hidden: vec![256], pointer: 64 }
    }
}
