//! The settings of a count VAE.

use super::annealing::KlAnnealing;
use crate::{
    Error, Result,
    nn::{Activation, Norm},
};
use serde::{Deserialize, Serialize};

/// What the decoder says a value is drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Likelihood {
    /// Normal around the decoder's output, one variance a gene: for log1p-normalised expression and for effects.
    Gaussian,
    /// Negative binomial counts.
    #[default]
    Nb,
    /// Negative binomial counts with extra zeros.
    Zinb,
}

/// Where the inverse dispersion theta of a count decoder comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum ThetaScope {
    /// One value a gene.
    #[default]
    Gene,
    /// One value a cell and gene, from the decoder.
    CellGene,
}

/// Which counts the size factor of a cell adds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum LibrarySize {
    /// All genes that were measured, where the file says so: what the cell holds beside the modelled genes is one more
    /// class of the softmax, so that a perturbation may move the modelled genes' joint share.
    #[default]
    Total,
    /// The modelled genes only, as scVI's observed library size.
    Kept,
}

/// Settings of a [`CountVae`](crate::model::CountVae).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VaeConfig {
    /// Number of latent dimensions.
    pub latent: usize,
    /// Widths of the encoder's hidden layers; the decoder has them in reverse.
    pub hidden: Vec<usize>,
    /// What a value is drawn from.
    pub likelihood: Likelihood,
    /// Where theta comes from.
    pub theta: ThetaScope,
    /// What the size factor adds up.
    pub library_size: LibrarySize,
    /// Width of the condition.
    pub condition: usize,
    /// Whether the lane enters the condition (only if there is more than one).
    pub with_lane: bool,
    /// Whether the log library size enters the condition.
    pub with_library: bool,
    /// Whether the encoder sees the condition too.
    pub encode_condition: bool,
    /// Normalisation before each activation.
    pub norm: Norm,
    /// Activation of the hidden layers.
    pub activation: Activation,
    /// Probability that a hidden unit is dropped in training; 0.1 is scVI's.
    pub dropout: f32,
    /// `logvar` is held within plus and minus this, so that its exponential stays finite.
    pub logvar_clamp: f32,
    /// Weight of the KL term; 1 is the ELBO.
    pub beta: f32,
    /// How the KL weight grows.
    pub kl_annealing: KlAnnealing,
    /// Epochs over which it grows (linear, cosine).
    pub kl_warmup_epochs: f64,
    /// Start the decoder's output bias at the log mean share of each gene rather than at noise.
    pub init_output_bias: bool,
}

impl Default for VaeConfig {
    fn default() -> Self {
        Self {
            latent: 64,
            hidden: vec![512, 256],
            likelihood: Likelihood::default(),
            theta: ThetaScope::default(),
            library_size: LibrarySize::default(),
            condition: 64,
            with_lane: true,
            with_library: true,
            encode_condition: true,
            norm: Norm::Layer,
            activation: Activation::default(),
            dropout: 0.1,
            logvar_clamp: 12.0,
            beta: 1.0,
            kl_annealing: KlAnnealing::default(),
            kl_warmup_epochs: 10.0,
            init_output_bias: true,
        }
    }
}

impl VaeConfig {
    /// Refuses settings that cannot train.
    ///
    /// # Errors
    /// A width of 0, a probability outside `[0, 1)`, a negative weight: named.
    pub fn validate(&self) -> Result<()> {
        let rules = [
            (self.latent == 0, "latent must be at least 1"),
            (self.hidden.is_empty() || self.hidden.contains(&0), "hidden must name at least one width, none of them 0"),
            (self.condition == 0, "condition must be at least 1"),
            (!(0.0..1.0).contains(&self.dropout), "dropout must be at least 0 and below 1"),
            (!self.beta.is_finite() || self.beta < 0.0, "beta must be 0 or more"),
            (!self.logvar_clamp.is_finite() || self.logvar_clamp <= 0.0, "logvar_clamp must be above 0"),
            (self.kl_warmup_epochs.is_nan() || self.kl_warmup_epochs < 0.0, "kl_warmup_epochs must be 0 or more"),
            (matches!(self.kl_annealing, KlAnnealing::Cyclical { cycles: 0 }), "cycles must be at least 1"),
        ];
        match rules.iter().find(|(broken, _)| *broken) {
            Some((_, rule)) => Err(Error::config(format!("model configuration: {rule}"))),
            None => Ok(()),
        }
    }
}
