//! The settings of a causal VAE and of its training.

use crate::{
    Error, Result,
    data::DataKind,
    model::{KlAnnealing, ModelConfig, VaeSettings},
    nn::{Activation, FinishConfig, Norm},
    train::{LearningRateSchedule, TrainConfig},
};
use serde::{Deserialize, Serialize};

/// How the blocks of z are kept independent of each other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Independence {
    /// Not at all.
    None,
    /// The Hilbert-Schmidt independence criterion of each two blocks, and of the lane with identity and state ([`ops::hsic`](crate::nn::ops::hsic)).
    Hsic {
        /// Weight of the sum of the five terms.
        weight: f32,
    },
    /// The total correlation of all latents, as the VAE's objective `beta_tc`: latents of one block are kept independent of
    /// each other too.
    TotalCorrelation {
        /// Weight in the loss.
        weight: f32,
    },
}

/// What is believed of each number of a perturbation's shift before the cells are seen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum ShiftPrior {
    /// N(0, sd^2).
    Normal {
        /// Standard deviation.
        sd: f32,
    },
    /// Laplace(0, scale), an L1 penalty: many numbers of a shift become small. This is a penalty on the shift itself, not the
    /// Bernoulli mask of SAMS-VAE, and gives no exact zeros.
    Laplace {
        /// Mean absolute value.
        scale: f32,
    },
}

/// Settings of the network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CausalVaeConfig {
    /// Latents that no perturbation changes.
    pub identity: usize,
    /// Latents that perturbations shift.
    pub state: usize,
    /// Latents of the lane.
    pub technical: usize,
    /// Widths of the encoder's hidden layers.
    pub encoder: Vec<usize>,
    /// Widths of the decoder's hidden layers; none for log rates that are linear in z.
    pub decoder: Vec<usize>,
    /// Normalisation before each activation.
    pub norm: Norm,
    /// Activation of the hidden layers.
    pub activation: Activation,
    /// Probability that a hidden unit is dropped in training.
    pub dropout: f32,
    /// The log variances of z are held within plus and minus this.
    pub logvar_clamp: f32,
    /// Weight of the KL term.
    pub beta: f32,
    /// How the KL weight grows.
    pub kl_annealing: KlAnnealing,
    /// Epochs over which it grows.
    pub kl_warmup_epochs: f64,
    /// Least share of control cells among the rows of an epoch: control cells are repeated until they reach it. They alone
    /// say where a shift of 0 is, and many experiments have few of them.
    pub control_share: f64,
    /// L_disentangle.
    pub independence: Independence,
    /// Weight of L_causal: HSIC of the perturbation with the identity block, and with the state less its shift.
    pub causal: f32,
    /// What is believed of the shifts.
    pub shift_prior: ShiftPrior,
}

impl Default for CausalVaeConfig {
    fn default() -> Self {
        Self {
            identity: 8,
            state: 64,
            technical: 4,
            encoder: vec![128],
            decoder: Vec::new(),
            norm: Norm::Layer,
            activation: Activation::default(),
            dropout: 0.0,
            logvar_clamp: 12.0,
            beta: 1.0,
            kl_annealing: KlAnnealing::default(),
            kl_warmup_epochs: 10.0,
            control_share: 0.2,
            independence: Independence::Hsic { weight: 100.0 },
            causal: 300.0,
            shift_prior: ShiftPrior::Normal { sd: 1.0 },
        }
    }
}

impl CausalVaeConfig {
    /// Number of latents of all blocks.
    pub fn latent(&self) -> usize {
        self.identity + self.state + self.technical
    }

    pub(super) fn finish(&self) -> FinishConfig {
        FinishConfig { norm: self.norm, activation: self.activation, dropout: self.dropout }
    }

    /// Refuses settings that cannot train.
    ///
    /// # Errors
    /// A width of 0, a probability outside `[0, 1)`, a negative weight: named.
    pub fn validate(&self) -> Result<()> {
        let is_weight = |value: f32| value.is_finite() && value >= 0.0;
        let independence = match self.independence {
            Independence::None => 0.0,
            Independence::Hsic { weight } | Independence::TotalCorrelation { weight } => weight,
        };
        let (ShiftPrior::Normal { sd: width } | ShiftPrior::Laplace { scale: width }) = self.shift_prior;
        let rules = [
            (self.identity == 0 || self.state == 0 || self.technical == 0, "each block needs at least 1 latent"),
            (
                self.encoder.is_empty() || self.encoder.contains(&0),
                "encoder must name at least one width, none of them 0",
            ),
            (self.decoder.contains(&0), "decoder must not name a width of 0"),
            (!(0.0..1.0).contains(&self.dropout), "dropout must be at least 0 and below 1"),
            (!(0.0..1.0).contains(&self.control_share), "control_share must be at least 0 and below 1"),
            (!self.logvar_clamp.is_finite() || self.logvar_clamp <= 0.0, "logvar_clamp must be above 0"),
            (!is_weight(self.beta), "beta must be 0 or more"),
            (!is_weight(self.causal), "causal must be 0 or more"),
            (!is_weight(independence), "the weight of independence must be 0 or more"),
            (!(width.is_finite() && width > 0.0), "the width of shift_prior must be above 0"),
            (self.kl_warmup_epochs.is_nan() || self.kl_warmup_epochs < 0.0, "kl_warmup_epochs must be 0 or more"),
            (matches!(self.kl_annealing, KlAnnealing::Cyclical { cycles: 0 }), "cycles must be at least 1"),
        ];
        match rules.iter().find(|(broken, _)| *broken) {
            Some((_, rule)) => Err(Error::config(format!("model configuration: {rule}"))),
            None => Ok(()),
        }
    }
}

/// The tables of a configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CausalVaeSettings {
    /// Part of each perturbation's training cells that is held out to stop the training by, where early stopping is on and
    /// the split has no validation part.
    pub validation_fraction: f64,
    /// The network.
    pub model: CausalVaeConfig,
    /// Its training.
    pub train: TrainConfig,
}

impl Default for CausalVaeSettings {
    fn default() -> Self {
        // A constant rate leaves the shifts as noisy as a plain difference of means; they settle once it has fallen.
        let schedule = LearningRateSchedule::Step { every: 75, factor: 0.1 };
        let train = TrainConfig {
            epochs: 150,
            batch_size: 64,
            early_stopping: Some(60),
            schedule,
            clip_norm: Some(100.0),
            learning_rate: 3e-3,
            ..TrainConfig::default()
        };
        Self { validation_fraction: 0.1, model: CausalVaeConfig::default(), train }
    }
}

impl CausalVaeSettings {
    /// The settings by which a VAE divides its cells: the same cells validate both models.
    pub(super) fn division(&self) -> VaeSettings {
        VaeSettings {
            validation_fraction: self.validation_fraction,
            train: self.train.clone(),
            ..VaeSettings::default_for(DataKind::Cells)
        }
    }
}

impl ModelConfig for CausalVaeSettings {
    fn default_for(_: DataKind) -> Self {
        Self::default()
    }

    fn validate(&self) -> Result<()> {
        self.division().validate()?;
        self.model.validate()
    }

    fn set_epochs(&mut self, epochs: usize) {
        self.train.epochs = epochs;
    }

    fn seed(&self) -> u64 {
        self.train.seed
    }
}
