//! Settings of the combination model.

use super::unseen::GeneFeature;
use crate::{
    Error, Result,
    data::DataKind,
    model::{ModelConfig, jepa::Conditioning},
    nn::{EmaMomentum, EmbeddingLoss},
    train::TrainConfig,
};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The tables of a configuration file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CombinationSettings {
    /// The model; the training of its networks is the table `model.training`.
    pub model: CombinationConfig,
}

impl ModelConfig for CombinationSettings {
    fn default_for(_: DataKind) -> Self {
        Self::default()
    }

    fn validate(&self) -> Result<()> {
        self.model.validate()?;
        self.model.training.validate()
    }

    fn set_epochs(&mut self, epochs: usize) {
        self.model.training.epochs = epochs;
    }

    fn set_gene_sets(&mut self, file: &Path) {
        self.model.gene_sets = Some(file.to_owned());
    }

    fn seed(&self) -> u64 {
        self.model.training.seed
    }
}

/// Settings of a [`CombinationModel`](super::CombinationModel).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CombinationConfig {
    /// Whether the kernel ridge over similar training combinations may be used.
    pub kernel_ridge: bool,
    /// Width of its kernel, in units of the median norm of a single effect.
    pub kernel_width: f64,
    /// Whether the networks may be used.
    pub network: bool,
    /// Number of parts that the training combinations are divided into. One network is trained without each part and
    /// judged on it.
    pub folds: usize,
    /// How often that is repeated, with other parts; the predictions of all networks are averaged.
    pub ensembles: usize,
    /// Number of cells at which half of an effect's squared error is noise; see
    /// [`EffectTable::trust`](crate::data::EffectTable::trust).
    pub half_trust: f64,
    /// How strongly the scaled sum's factors of single genes are shrunk to 1.
    pub shrinkage: f64,
    /// Number of principal components that the scaled sum is smoothed on.
    pub smooth: usize,
    /// Features that stand for a gene without a single effect.
    pub features: Vec<GeneFeature>,
    /// A GMT file, for [`GeneFeature::GeneSets`].
    pub gene_sets: Option<PathBuf>,
    /// Networks: number of principal components of the training effects that they read and write.
    pub components: usize,
    /// Networks: width of the embedding.
    pub width: usize,
    /// Networks: width of the hidden layers.
    pub hidden: usize,
    /// Networks: how the perturbation enters the predictor.
    pub conditioning: Conditioning,
    /// Networks: whether each perturbed gene has a learned vector beside its single effect.
    pub learned: bool,
    /// Networks: loss between predicted and target embedding.
    pub loss: EmbeddingLoss,
    /// Networks: momentum of the teacher; without it the teacher is the student, without a gradient.
    pub ema: Option<EmaMomentum>,
    /// Networks: weight of VICReg's variance term on the student's embeddings.
    pub variance: f32,
    /// Networks: weight of VICReg's covariance term.
    pub covariance: f32,
    /// Networks: weight of the squared error of the decoded interaction residual.
    pub decoding: f32,
    /// Networks: probability that a hidden unit is dropped in training.
    pub dropout: f32,
    /// How the networks are trained; the seed is that of the run.
    pub training: TrainConfig,
}

impl Default for CombinationConfig {
    fn default() -> Self {
        Self {
            kernel_ridge: true,
            kernel_width: 1.0,
            network: true,
            folds: 5,
            ensembles: 1,
            half_trust: 200.0,
            shrinkage: 3.0,
            smooth: 20,
            features: vec![GeneFeature::Loadings, GeneFeature::GeneSets],
            gene_sets: None,
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
            training: TrainConfig { epochs: 60, batch_size: 32, weight_decay: 1e-2, ..TrainConfig::default() },
        }
    }
}

impl CombinationConfig {
    /// Refuses settings that no model can be trained with.
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
            (negative(self.kernel_width) || self.kernel_width == 0.0, "kernel_width must be above 0"),
        ];
        match rules.iter().find(|(broken, _)| *broken) {
            Some((_, rule)) => Err(Error::config(format!("model configuration: {rule}"))),
            None => Ok(()),
        }
    }
}
