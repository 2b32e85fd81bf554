//! What turns a cell into its embedding, and what goes from one embedding to another: sizes and widths.

use crate::nn::{AttentionConfig, SetEncoderConfig};
use serde::{Deserialize, Serialize};

/// How large a model is, in three steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
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
    /// A multilayer perceptron on log1p-normalised expression.
    Mlp {
        /// Widths of its hidden layers.
        hidden: Vec<usize>,
    },
    /// A token for each gene, and a set encoder over them.
    Tokens(TokenConfig),
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
