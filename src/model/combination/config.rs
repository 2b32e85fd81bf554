//! Settings of level 0.

use super::unseen::GeneFeature;
use crate::{Error, Result, model::jepa::Conditioning, nn::EmaMomentum, nn::EmbeddingLoss, train::TrainConfig};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Settings of a [`CombinationModel`](super::CombinationModel).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CombinationConfig {
    /// Principal components of the training effects that a state is given by.
    pub components: usize,
    /// Width of the embedding.
    pub width: usize,
    /// Width of the hidden layers.
    pub hidden: usize,
    /// How the perturbation enters the predictor.
    pub conditioning: Conditioning,
    /// Whether each perturbed gene has a learned vector beside its single effect.
    pub learned: bool,
    /// Loss between predicted and target embedding.
    pub loss: EmbeddingLoss,
    /// Momentum of the teacher; none: the teacher is the student, without a gradient.
    pub ema: Option<EmaMomentum>,
    /// Weight of VICReg's variance term on the student's embeddings.
    pub variance: f32,
    /// Weight of VICReg's covariance term.
    pub covariance: f32,
    /// Weight of the decoded departure's squared error.
    pub decoding: f32,
    /// Probability that a hidden unit is dropped in training.
    pub dropout: f32,
    /// Parts that the training combinations are divided into: a member of the ensemble is trained without each, and judged
    /// on it.
    pub folds: usize,
    /// Ensembles of that many members; their predictions are averaged.
    pub ensembles: usize,
    /// Whether what similar training combinations show may be used.
    pub remember: bool,
    /// Whether what is decoded from the predicted embedding may be used.
    pub decode: bool,
    /// Cells at which half of an effect's squared error is noise; see the trust in an effect.
    pub half_trust: f64,
    /// Shrinkage of the factors of genes to 1.
    pub shrinkage: f64,
    /// Components on which a sum of effects is smoothed.
    pub smooth: usize,
    /// Width of the memory of sums, in units of the median norm of a single effect.
    pub memory_width: f64,
    /// What a gene that was never perturbed is known by.
    pub features: Vec<GeneFeature>,
    /// A GMT file for [`GeneFeature::GeneSets`].
    pub gene_sets: Option<PathBuf>,
    /// How the networks are trained; the seed is that of the task.
    pub training: TrainConfig,
}

impl Default for CombinationConfig {
    fn default() -> Self {
        Self {
            components: 30,
            width: 32,
            hidden: 64,
            conditioning: Conditioning::default(),
            learned: false,
            loss: EmbeddingLoss::default(),
            ema: Some(EmaMomentum::default()),
            variance: 0.1,
            covariance: 0.04,
            decoding: 1.0,
            dropout: 0.1,
            folds: 5,
            ensembles: 1,
            remember: true,
            decode: true,
            half_trust: 200.0,
            shrinkage: 3.0,
            smooth: 20,
            memory_width: 1.0,
            features: vec![GeneFeature::Loadings, GeneFeature::GeneSets],
            gene_sets: None,
            training: TrainConfig { epochs: 60, batch_size: 32, weight_decay: 1e-2, ..TrainConfig::default() },
        }
    }
}

impl CombinationConfig {
    /// Refuses settings that cannot train.
    ///
    /// # Errors
    /// A width of 0, a negative weight: named.
    pub fn validate(&self) -> Result<()> {
        let negative = |value: f64| !value.is_finite() || value < 0.0;
        let rules = [
            (
                self.components == 0 || self.width == 0 || self.hidden == 0,
                "components, width and hidden must be at least 1",
            ),
            (self.folds < 2, "folds must be at least 2"),
            (self.ensembles == 0, "ensembles must be at least 1"),
            (!(0.0..1.0).contains(&self.dropout), "dropout must be at least 0 and below 1"),
            (
                [self.variance, self.covariance, self.decoding].iter().any(|&weight| negative(weight.into())),
                "variance, covariance and decoding must be 0 or more",
            ),
            (negative(self.half_trust) || negative(self.shrinkage), "half_trust and shrinkage must be 0 or more"),
            (negative(self.memory_width) || self.memory_width == 0.0, "memory_width must be above 0"),
        ];
        match rules.iter().find(|(broken, _)| *broken) {
            Some((_, rule)) => Err(Error::config(format!("model configuration: {rule}"))),
            None => Ok(()),
        }
    }
}
