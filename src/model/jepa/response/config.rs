//! Settings of phase B.

use crate::{
    Error, Result,
    data::FeatureSources,
    model::jepa::{
        Conditioning, Regularise,
        response::{ControlPairing, SetLoss},
    },
    nn::Activation,
    train::{LearningRateSchedule, TrainConfig},
};
use serde::{Deserialize, Serialize};

/// Weights of the terms of the loss; see the equations of the module.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossWeights {
    /// Of the distance between predicted and observed embeddings ([`ResponseConfig::distance`]), or of what the pairing puts in its
    /// place. It was chosen for the energy distance; the others have other scales.
    pub energy: f32,
    /// Of the squared difference of their means.
    pub means: f32,
    /// Of the decoded mean profile, in nats a molecule; not used in the tuning.
    pub profile: f32,
    /// Of the squared error of the decoded effect on mean log-normalised expression, a gene; used in the tuning alone.
    pub effect: f32,
    /// The same, of the error as a share of the mean square of the observed effects: what a data set with small effects needs as
    /// well. It adds to `effect`.
    pub relative_effect: f32,
    /// Of the counts of real cells under the decoder, in nats a gene.
    pub counts: f32,
    /// Whether the gradient of that term reaches the encoder, or the decoder only.
    pub counts_reach_encoder: bool,
    /// Of VICReg's variance term.
    pub variance: f32,
    /// Of VICReg's covariance term.
    pub covariance: f32,
}

impl Default for LossWeights {
    fn default() -> Self {
        Self {
            energy: 1.0,
            means: 1.0,
            profile: 20.0,
            effect: 20.0,
            relative_effect: 0.0,
            counts: 30.0,
            counts_reach_encoder: true,
            variance: 1.0,
            covariance: 0.04,
        }
    }
}

/// Which predictor a trained model keeps: what its training is worth is seen by leaving it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PredictorState {
    /// The trained one.
    #[default]
    Trained,
    /// The one that the training began with, in place of the trained one: shifts as measured in the embedding of phase A, F = 0,
    /// a = 0, f = 1, no interaction. Encoder and decoder are the trained ones.
    Initial,
    /// As `initial`, with the shifts measured in the embedding of the trained encoder, those of training combinations too.
    Measured,
}

/// What predicts a perturbation in a context where it was not measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NewContexts {
    /// Whichever of the two others predicts training contexts better that phase B was trained without: it is trained once more for
    /// each of two to four contexts. With fewer than three contexts there is nothing to choose by, and it is `end_to_end`.
    Chosen,
    /// The predictor of the end-to-end training: every second set of which did without the effect measured in its own context.
    #[default]
    EndToEnd,
    /// What was chosen and trained by leaving contexts out: safer where contexts are few and effects noisy.
    LeftOut,
}

/// Settings of phase B.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResponseConfig {
    /// How the perturbation enters F.
    pub conditioning: Conditioning,
    /// Features of e(p), the perturbation's embedding that F reads. Without it, as many as an embedding of a cell has.
    pub perturbation_width: Option<usize>,
    /// Width of F's hidden layers.
    pub hidden: usize,
    /// Activation of F's hidden layers.
    pub activation: Activation,
    /// Probability that a hidden unit of F is dropped in training.
    pub dropout: f32,
    /// Control cells, and perturbed cells, of a set; fewer where there are no more.
    pub cells: usize,
    /// Sets drawn from each condition; an epoch passes over all of them.
    pub draws: usize,
    /// Whether the encoder is trained further, or stays as phase A left it.
    pub train_encoder: bool,
    /// How predicted and observed cells are compared.
    pub pairing: ControlPairing,
    /// Without a pairing, by which distance of sets: in the end-to-end training, the tuning, the interaction and the transfer.
    pub distance: SetLoss,
    /// Which embeddings VICReg's two terms hold apart in the end-to-end training: those of the encoder, or the predicted ones.
    pub regularise: Regularise,
    /// Which predictor is kept at the end.
    pub predictor: PredictorState,
    /// What predicts a perturbation in a context where it was not measured. It matters only to cells of several contexts
    /// (`train --context`, `bench --split context:COLUMN`), and to a trained predictor.
    pub new_contexts: NewContexts,
    /// Whether F is told the levels of a context of several columns, each by a learned token; with one column there are none.
    pub context_tokens: bool,
    /// Whether F is told the library size of a control cell, as a token. Its embedding is made of counts that were scaled to one sum,
    /// so that it is told by their noise alone. Default false: whether it helps was not measured.
    pub library_token: bool,
    /// Features by which perturbations are known that were never measured; `unseen` says how. None by default.
    #[serde(skip_serializing_if = "FeatureSources::is_empty")]
    pub features: FeatureSources,
    /// Weights of the loss.
    pub weights: LossWeights,
    /// The training, end to end; a batch is of sets. `early_stopping` watches the loss of what is left out of it: the training
    /// combinations, and a tenth of the (perturbation, context) pairs whose perturbation was measured in other contexts too, at
    /// most one a perturbation. Their cells still count in phase A, in the decoder's start and in each gene's mean effect, and
    /// those pairs in the tuning.
    pub training: TrainConfig,
    /// The end of the training, of predictor and decoder alone; 0 epochs leave it out.
    pub tuning: TrainConfig,
    /// Control cells, and perturbed cells, of a set there.
    pub tuning_cells: usize,
    /// Width of the decoder's hidden layer; 0: counts are log-linear in z.
    pub decoder: usize,
    /// Rank of the interaction of two perturbations.
    pub rank: usize,
    /// Whether an unseen combination also moves by what the training combinations that are like it were measured to do beyond
    /// their sums. For cells of one context.
    pub similar_combinations: bool,
    /// Parts that the training combinations are divided into: an interaction is trained without each and stopped by it, and
    /// the share of the interaction that is used is chosen on all of them. The same with contexts, and what carries an effect to
    /// a new one.
    pub folds: usize,
    /// The training of the interaction; a batch is of combinations.
    pub interaction: TrainConfig,
    /// With `new_contexts = left_out`, the training of what carries an effect to a context where it was not measured; a batch is
    /// of sets. With 0 epochs it is the mean of those of other contexts, times a factor.
    pub transfer: TrainConfig,
}

impl Default for ResponseConfig {
    fn default() -> Self {
        Self {
            conditioning: Conditioning::Film,
            perturbation_width: None,
            hidden: 64,
            activation: Activation::default(),
            dropout: 0.1,
            cells: 32,
            draws: 8,
            train_encoder: true,
            pairing: ControlPairing::default(),
            distance: SetLoss::default(),
            regularise: Regularise::default(),
            predictor: PredictorState::default(),
            new_contexts: NewContexts::default(),
            context_tokens: true,
            library_token: false,
            features: FeatureSources::default(),
            weights: LossWeights::default(),
            training: TrainConfig {
                epochs: 20,
                batch_size: 8,
                validation_batch_size: 8,
                learning_rate: 2e-3,
                clip_norm: Some(5.0),
                weight_decay: 1e-2,
                schedule: LearningRateSchedule::WarmupCosine { warmup_steps: 50, final_fraction: 0.01 },
                ..TrainConfig::default()
            },
            tuning: TrainConfig {
                epochs: 4,
                batch_size: 8,
                learning_rate: 2e-3,
                clip_norm: Some(5.0),
                weight_decay: 1e-2,
                schedule: LearningRateSchedule::WarmupCosine { warmup_steps: 20, final_fraction: 0.01 },
                ..TrainConfig::default()
            },
            tuning_cells: 32,
            decoder: 0,
            rank: 8,
            similar_combinations: false,
            folds: 4,
            interaction: TrainConfig {
                epochs: 60,
                batch_size: 8,
                validation_batch_size: 32,
                weight_decay: 1e-2,
                early_stopping: Some(10),
                ..TrainConfig::default()
            },
            transfer: TrainConfig {
                epochs: 6,
                batch_size: 8,
                validation_batch_size: 8,
                learning_rate: 1e-3,
                clip_norm: Some(5.0),
                weight_decay: 1e-2,
                early_stopping: Some(2),
                ..TrainConfig::default()
            },
        }
    }
}

impl ResponseConfig {
    /// Refuses settings that cannot train.
    ///
    /// # Errors
    /// A size of 0, a share or a weight out of range: named.
    pub fn validate(&self) -> Result<()> {
        self.training.validate()?;
        // 0 epochs leave a training out; its other settings are checked all the same.
        for optional in [&self.tuning, &self.transfer] {
            TrainConfig { epochs: optional.epochs.max(1), ..optional.clone() }.validate()?;
        }
        self.interaction.validate()?;
        let LossWeights { energy, means, profile, counts, variance, covariance, .. } = self.weights;
        let LossWeights { effect, relative_effect, .. } = self.weights;
        let weights = [energy, means, profile, effect, relative_effect, counts, variance, covariance];
        let rules = [
            ([self.hidden, self.draws, self.rank].contains(&0), "hidden, draws and rank must be at least 1"),
            (self.perturbation_width == Some(0), "perturbation_width must be at least 1"),
            (
                self.cells.min(self.tuning_cells) < 2,
                "cells and tuning_cells must be at least 2: one cell has no spread",
            ),
            (self.folds < 2, "folds must be at least 2"),
            (!(0.0..1.0).contains(&self.dropout), "dropout must be at least 0 and below 1"),
            (weights.iter().any(|w| !w.is_finite() || *w < 0.0), "no weight may be negative"),
            (energy + means + profile == 0.0, "one of the weights of energy, means and profile must be above 0"),
            (counts == 0.0, "the weight of counts must be above 0: it trains the decoder"),
            (
                self.pairing != ControlPairing::None && energy == 0.0,
                "pairing needs a weight of energy above 0: its loss takes the place of the energy distance",
            ),
            (
                self.distance != SetLoss::default() && self.pairing != ControlPairing::None,
                "distance is of sets, and pairing compares cells in pairs; leave one of them out",
            ),
            (
                self.distance != SetLoss::default() && energy == 0.0,
                "distance needs a weight of energy above 0, which is its weight in the loss",
            ),
            (
                self.regularise == Regularise::Predictions && variance + covariance == 0.0,
                "regularise = predictions needs a weight of variance or covariance above 0: it says what these terms are of",
            ),
        ];
        match rules.into_iter().find(|(broken, _)| *broken) {
            Some((_, rule)) => Err(Error::config(format!("response configuration: {rule}"))),
            None => Ok(()),
        }
    }
}
