//! The settings of cell-level pretraining.

mod collapse;
mod encoder;
mod objective;

pub use collapse::{AntiCollapse, CollapseAlarm, OnCollapse, Regularise, TeacherConfig, TeacherSees};
pub use encoder::{EncoderConfig, GeneConfig, GroupConfig, PredictorConfig, Size, TokenConfig, ValueTokens};
pub use objective::{MaskConfig, MaskKind, PretrainingObjective, ViewNoise};

use crate::{
    Error, Result,
    nn::{Activation, EmaMomentum, EmbeddingLoss, Norm},
};
use serde::{Deserialize, Serialize};

/// Settings of a [`Pretraining`](super::Pretraining).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PretrainingConfig {
    /// What encodes a cell.
    pub encoder: EncoderConfig,
    /// Features of an embedding.
    pub width: usize,
    /// What is predicted from what.
    pub objective: PretrainingObjective,
    /// Which genes are hidden (`masks`, `reconstruction`).
    pub masks: MaskConfig,
    /// Who gives the targets (`masks`, `conditions`).
    pub teacher: TeacherConfig,
    /// How far a prediction is from its target.
    pub loss: EmbeddingLoss,
    /// Whether each target is brought to mean 0 and variance 1 over its features first (I-JEPA). Default true.
    pub layer_norm_targets: bool,
    /// What keeps embeddings apart.
    pub anti_collapse: AntiCollapse,
    /// Which outputs it holds apart.
    pub regularise: Regularise,
    /// What each cell's counts are scaled to sum up to before log1p; without it the median over the training cells, as in
    /// scanpy. With far more than a cell has, one count of a small cell weighs as much as several of a large one.
    pub target_sum: Option<f32>,
    /// From context to target; of `reconstruction` its `hidden` is the decoder's.
    pub predictor: PredictorConfig,
    /// When training counts as failed.
    pub alarm: CollapseAlarm,
    /// Normalisation before each activation.
    pub norm: Norm,
    /// Activation of the hidden layers.
    pub activation: Activation,
    /// Probability that a hidden unit of the student is dropped in training.
    pub dropout: f32,
}

/// Of what was tried on validation cells of Papalexi 2021, the settings whose embedding tells most of the perturbation:
/// [`PretrainingObjective::split_views`], 64 features, the small perceptron (`benches/embeddings.rs`). [`PretrainingConfig::mlp`] and
/// [`PretrainingConfig::tokens`] predict hidden genes instead.
impl Default for PretrainingConfig {
    fn default() -> Self {
        Self { objective: PretrainingObjective::split_views(), width: 64, ..Self::mlp(Size::Small) }
    }
}

impl PretrainingConfig {
    /// With the multilayer perceptron, from visible genes to the embedding of hidden ones.
    pub fn mlp(size: Size) -> Self {
        let (hidden, width, predictor) = match size {
            Size::Tiny => (vec![128], 32, 64),
            Size::Small => (vec![256], 128, 256),
            Size::Medium => (vec![512, 512], 256, 512),
            Size::Large => (vec![1024, 1024, 1024], 256, 1024),
        };
        Self::with(EncoderConfig::Mlp { hidden }, width, predictor)
    }

    /// With gene tokens, from visible genes to the embedding of hidden ones.
    pub fn tokens(size: Size) -> Self {
        let (width, predictor) = match size {
            Size::Tiny => (32, 64),
            Size::Small => (64, 128),
            Size::Medium => (128, 256),
            Size::Large => (256, 512),
        };
        Self::with(EncoderConfig::Tokens(TokenConfig::of(size)), width, predictor)
    }

    /// With gene-group tokens, from the visible groups to the teacher's output tokens at the hidden ones (I-JEPA).
    pub fn groups(size: Size) -> Self {
        let (width, predictor) = match size {
            Size::Tiny => (32, 64),
            Size::Small => (48, 128),
            Size::Medium | Size::Large => (64, 256),
        };
        Self {
            teacher: TeacherConfig { ema: Some(EmaMomentum::ramp()), sees: TeacherSees::Tokens },
            ..Self::with(EncoderConfig::Groups(GroupConfig::of(size)), width, predictor)
        }
    }

    /// With tokens of the most variable genes, from the visible ones to the teacher's output tokens at the hidden ones (I-JEPA).
    pub fn genes(size: Size) -> Self {
        Self { encoder: EncoderConfig::Genes(GeneConfig::of(size)), ..Self::groups(size) }
    }

    fn with(encoder: EncoderConfig, width: usize, predictor: usize) -> Self {
        Self {
            encoder,
            width,
            objective: PretrainingObjective::default(),
            masks: MaskConfig::default(),
            teacher: TeacherConfig::default(),
            loss: EmbeddingLoss::default(),
            layer_norm_targets: true,
            anti_collapse: AntiCollapse::default(),
            regularise: Regularise::default(),
            target_sum: None,
            predictor: PredictorConfig { hidden: vec![predictor], ..PredictorConfig::default() },
            alarm: CollapseAlarm::default(),
            norm: Norm::Layer,
            activation: Activation::default(),
            dropout: 0.0,
        }
    }

    /// Refuses settings that cannot train.
    ///
    /// # Errors
    /// A width of 0, a probability out of range, an alarm that cannot raise anything: named.
    pub fn validate(&self) -> Result<()> {
        let bad_share = |value: f64| !(value > 0.0 && value < 1.0);
        let MaskConfig { fraction, targets, overlap, patterns, .. } = self.masks;
        let (invariance, variance, covariance) = self.anti_collapse.weights();
        let masked = matches!(self.objective, PretrainingObjective::Masks | PretrainingObjective::Reconstruction);
        let momentum = self.teacher.ema.is_some_and(|ema| match ema {
            EmaMomentum::Constant { momentum }
            | EmaMomentum::Cosine { from: momentum }
            | EmaMomentum::Ramp { from: momentum } => !(0.0..=1.0).contains(&momentum),
        });
        let (no_layer, no_token) = match &self.encoder {
            EncoderConfig::Linear => (false, false),
            EncoderConfig::Mlp { hidden } => (hidden.is_empty() || hidden.contains(&0), false),
            EncoderConfig::Tokens(TokenConfig { identity, frequencies, set, .. }) => {
                (false, [*identity, *frequencies, set.width, set.latents].contains(&0))
            }
            EncoderConfig::Groups(GroupConfig { groups, hidden, tokens, predictor_depth, .. }) => {
                (false, *groups < 2 || [*hidden, *tokens, *predictor_depth].contains(&0))
            }
            EncoderConfig::Genes(GeneConfig { genes, value, tokens, predictor_depth, .. }) => {
                let too_few = match *value {
                    ValueTokens::Fourier { frequencies } => frequencies == 0,
                    ValueTokens::Bins { levels } | ValueTokens::Ranks { levels } => levels < 2,
                };
                (false, *genes < 2 || too_few || [*tokens, *predictor_depth].contains(&0))
            }
        };
        let views = match self.objective {
            PretrainingObjective::Views { gene_dropout, .. }
            | PretrainingObjective::Contrastive { gene_dropout, .. } => !(0.0..1.0).contains(&gene_dropout),
            _ => false,
        };
        let sets = match self.objective {
            PretrainingObjective::Conditions { cells, draws, latents } => [cells, draws, latents].contains(&0),
            _ => false,
        };
        let positive = match self.objective {
            PretrainingObjective::Contrastive { temperature: value, .. }
            | PretrainingObjective::Variational { beta: value } => value,
            _ => 1.0,
        };
        // These keep embeddings apart, or near the prior, by themselves.
        let keeps_apart = matches!(
            self.objective,
            PretrainingObjective::Contrastive { .. } | PretrainingObjective::Variational { .. }
        );
        let raise = match self.alarm.then {
            OnCollapse::Raise { factor, .. } => Some((factor, self.anti_collapse == AntiCollapse::None || keeps_apart)),
            _ => None,
        };
        let negative = [invariance, variance, covariance].iter().any(|w| !w.is_finite() || *w < 0.0);
        let rules = [
            (self.width < 2, "width must be at least 2".to_owned()),
            (no_layer, "encoder.hidden must name at least one width, none of them 0".to_owned()),
            (no_token, "encoder: every size must be at least 1, and there must be at least 2 groups, genes and levels".to_owned()),
            (
                masked && self.teacher.sees == TeacherSees::Tokens && self.encoder.places().is_none(),
                "teacher.sees = tokens needs encoder.kind = groups or genes: no other encoder has tokens of fixed genes"
                    .to_owned(),
            ),
            (self.predictor.hidden.contains(&0), "predictor.hidden must not name a width of 0".to_owned()),
            (self.predictor.pointer == 0, "predictor.pointer must be at least 1".to_owned()),
            (masked && bad_share(fraction), format!("masks.fraction = {fraction}, but it must be between 0 and 1")),
            (masked && targets == 0, "masks.targets must be at least 1".to_owned()),
            (
                masked && fraction * targets as f64 >= 1.0,
                format!(
                    "masks: {targets} targets of {fraction} of the genes each can hide all of them; their product must \
                     be below 1"
                ),
            ),
            (
                !(0.0..1.0).contains(&overlap),
                format!("masks.overlap = {overlap}, but it must be 0 or more and below 1"),
            ),
            (
                self.target_sum.is_some_and(|sum| !(sum > 0.0 && sum.is_finite())),
                "target_sum must be a positive number of counts".to_owned(),
            ),
            (
                self.regularise == Regularise::Predictions
                    && (keeps_apart || self.objective == PretrainingObjective::Reconstruction),
                "regularise = predictions: with this objective no predicted embedding is held apart; leave it out".to_owned(),
            ),
            (
                self.regularise == Regularise::Predictions && self.teacher.sees == TeacherSees::Tokens,
                "regularise = predictions: predicted tokens are not held apart; leave it out with teacher.sees = tokens"
                    .to_owned(),
            ),
            (patterns == 0, "masks.patterns must be at least 1".to_owned()),
            (views, "objective.gene_dropout must be 0 or more and below 1".to_owned()),
            (
                !(positive > 0.0 && positive.is_finite()),
                "objective: temperature and beta must be positive numbers".to_owned(),
            ),
            (sets, "objective: cells, draws and latents must be at least 1".to_owned()),
            (momentum, "teacher.ema: the momentum must be from 0 to 1".to_owned()),
            (negative, "anti_collapse: no weight may be negative".to_owned()),
            (invariance == 0.0, "anti_collapse: the weight of the prediction must be above 0".to_owned()),
            (!(0.0..1.0).contains(&self.dropout), "dropout must be at least 0 and below 1".to_owned()),
            (self.alarm.min_rank < 0.0 || self.alarm.min_spread < 0.0, "alarm: no bound may be negative".to_owned()),
            (
                raise.is_some_and(|(factor, _)| factor.is_nan() || factor <= 1.0),
                "alarm.then.factor must be above 1".to_owned(),
            ),
            (
                raise.is_some_and(|(_, nothing)| nothing),
                "alarm.then = raise needs anti_collapse terms to raise; set anti_collapse, or alarm.then = stop"
                    .to_owned(),
            ),
        ];
        match rules.into_iter().find(|(broken, _)| *broken) {
            Some((_, rule)) => Err(Error::config(format!("model configuration: {rule}"))),
            None => Ok(()),
        }
    }
}
