//! The settings of cell-level pretraining.

use crate::{
    Error, Result,
    nn::{Activation, AttentionConfig, EmaMomentum, EmbeddingLoss, Norm, SetEncoderConfig},
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

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

/// What is predicted from what.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Objective {
    /// From the visible genes of a cell, the teacher's embedding of the hidden ones (I-JEPA, Assran et al. 2023).
    #[default]
    Masks,
    /// Two disturbed views of a cell have the same embedding (VICReg, Bardes et al. 2022): genes are hidden, and counts
    /// drawn anew from a Poisson distribution around them.
    Views {
        /// Share of the genes that is hidden in a view.
        gene_dropout: f64,
        /// Whether counts are drawn anew.
        poisson: bool,
    },
    /// From the visible genes of a cell, the values of the hidden ones (He et al. 2022, *Masked Autoencoders*): what the
    /// other objectives are compared with.
    Reconstruction,
    /// From some cells of a condition, the teacher's embedding of others, disjoint from them.
    Conditions {
        /// Cells in the context, and as many in the target; fewer where a condition has no `2 * cells`.
        cells: usize,
        /// Sets drawn from each condition; an epoch passes over all of them.
        draws: usize,
        /// Learned tokens of the set encoder that pools the cells.
        latents: usize,
    },
}

impl Objective {
    /// Views with the usual strength: 80 % of the genes hidden, Poisson noise.
    pub fn views() -> Self {
        Self::Views { gene_dropout: 0.8, poisson: true }
    }

    /// Sets of 32 cells, 40 a condition.
    pub fn conditions() -> Self {
        Self::Conditions { cells: 32, draws: 40, latents: 4 }
    }

    /// Whether a teacher gives the targets.
    pub fn has_teacher(&self) -> bool {
        matches!(self, Self::Masks | Self::Conditions { .. })
    }
}

/// What a target is made of.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum MaskKind {
    /// Genes at random, each subset as likely as any other.
    #[default]
    Random,
    /// Gene sets of a GMT file: as many as are needed to reach the fraction.
    GeneSets {
        /// The file.
        file: PathBuf,
        /// Sets with fewer measured genes are left out.
        min_size: usize,
        /// Sets with more measured genes are left out.
        max_size: usize,
    },
    /// The targets of a transcription factor, from a TSV file `tf<TAB>target[<TAB>weight]`.
    Regulons {
        /// The file.
        file: PathBuf,
        /// Transcription factors with fewer measured targets are left out.
        min_size: usize,
    },
    /// Genes in proportion to how much they tell of the perturbation: the norm of their weights in a linear probe on the
    /// training cells.
    Adversarial,
}

/// Which genes are hidden from the context, and predicted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaskConfig {
    /// What a target is made of.
    pub kind: MaskKind,
    /// Share of all genes in one target. Default 0.2 (I-JEPA: 0.15 to 0.2).
    pub fraction: f64,
    /// Targets a cell. Default 3 (I-JEPA: 4).
    pub targets: usize,
    /// Probability that a target's gene stays visible in the context. Default 0 (I-JEPA).
    pub overlap: f64,
    /// Different patterns in a batch; cells share them in turn. The cost of telling the network what is hidden grows with
    /// it. Default 16.
    pub patterns: usize,
}

impl Default for MaskConfig {
    fn default() -> Self {
        Self { kind: MaskKind::default(), fraction: 0.2, targets: 3, overlap: 0.0, patterns: 16 }
    }
}

/// What the teacher is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TeacherSees {
    /// The genes of the target alone.
    #[default]
    Target,
    /// All genes: each prediction is of the whole cell's embedding (data2vec, Baevski et al. 2022).
    Cell,
}

/// The teacher.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TeacherConfig {
    /// How slowly it follows the student; without it, it is the student of this very step with its gradient stopped.
    pub ema: Option<EmaMomentum>,
    /// What it is shown.
    pub sees: TeacherSees,
}

impl Default for TeacherConfig {
    fn default() -> Self {
        Self { ema: Some(EmaMomentum::default()), sees: TeacherSees::default() }
    }
}

/// What keeps embeddings apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum AntiCollapse {
    /// Nothing.
    None,
    /// `prediction + weight (variance V + covariance C)` with VICReg's terms V and C of the student's embeddings.
    VarianceCovariance {
        /// Default 0.1.
        weight: f32,
        /// Default 1.
        variance: f32,
        /// Default 0.04.
        covariance: f32,
    },
    /// `invariance prediction + variance V + covariance C`; 25, 25 and 1 in Bardes et al. 2022.
    Vicreg {
        /// Weight of the prediction.
        invariance: f32,
        /// Weight of the variance term.
        variance: f32,
        /// Weight of the covariance term.
        covariance: f32,
    },
}

impl Default for AntiCollapse {
    fn default() -> Self {
        Self::vicreg()
    }
}

impl AntiCollapse {
    /// 25, 25, 1.
    pub fn vicreg() -> Self {
        Self::Vicreg { invariance: 25.0, variance: 25.0, covariance: 1.0 }
    }

    /// 0.1; 1, 0.04.
    pub fn variance_covariance() -> Self {
        Self::VarianceCovariance { weight: 0.1, variance: 1.0, covariance: 0.04 }
    }

    /// Weights of the prediction, the variance term and the covariance term.
    pub fn weights(self) -> (f32, f32, f32) {
        match self {
            Self::None => (1.0, 0.0, 0.0),
            Self::VarianceCovariance { weight, variance, covariance } => (1.0, weight * variance, weight * covariance),
            Self::Vicreg { invariance, variance, covariance } => (invariance, variance, covariance),
        }
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

/// What happens when the embeddings collapse.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum OnCollapse {
    /// Training ends with an error.
    Stop,
    /// The weights of the anti-collapse terms are multiplied; after `times` of that, training ends with an error.
    Raise {
        /// Above 1.
        factor: f32,
        /// How often.
        times: usize,
    },
    /// Nothing: the figures are in the history.
    Ignore,
}

/// When embeddings count as collapsed: judged at the end of each epoch by the means over its steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CollapseAlarm {
    /// Least standard deviation of the embeddings over cells when each is brought to mean 0 and variance 1 over its
    /// features; it lies between 0 (all cells alike) and 1. Default 0.1.
    pub min_spread: f64,
    /// Least effective rank of their covariance. Default 3.
    pub min_rank: f64,
    /// Epochs at the beginning in which nothing is judged. Default 1.
    pub grace_epochs: usize,
    /// What then happens. Default stop.
    pub then: OnCollapse,
}

impl Default for CollapseAlarm {
    fn default() -> Self {
        Self { min_spread: 0.1, min_rank: 3.0, grace_epochs: 1, then: OnCollapse::Stop }
    }
}

/// Settings of a [`CellJepa`](super::CellJepa).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CellJepaConfig {
    /// What encodes a cell.
    pub encoder: EncoderConfig,
    /// Features of an embedding.
    pub width: usize,
    /// What is predicted from what.
    pub objective: Objective,
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

impl Default for CellJepaConfig {
    fn default() -> Self {
        Self::mlp(Size::Small)
    }
}

impl CellJepaConfig {
    /// With the multilayer perceptron.
    pub fn mlp(size: Size) -> Self {
        let (hidden, width, predictor) = match size {
            Size::Small => (vec![256], 128, 256),
            Size::Medium => (vec![512, 512], 256, 512),
            Size::Large => (vec![1024, 1024, 1024], 256, 1024),
        };
        Self::with(EncoderConfig::Mlp { hidden }, width, predictor)
    }

    /// With gene tokens.
    pub fn tokens(size: Size) -> Self {
        let (width, predictor) = match size {
            Size::Small => (64, 128),
            Size::Medium => (128, 256),
            Size::Large => (256, 512),
        };
        Self::with(EncoderConfig::Tokens(TokenConfig::of(size)), width, predictor)
    }

    fn with(encoder: EncoderConfig, width: usize, predictor: usize) -> Self {
        Self {
            encoder,
            width,
            objective: Objective::default(),
            masks: MaskConfig::default(),
            teacher: TeacherConfig::default(),
            loss: EmbeddingLoss::default(),
            layer_norm_targets: true,
            anti_collapse: AntiCollapse::default(),
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
        let masked = matches!(self.objective, Objective::Masks | Objective::Reconstruction);
        let momentum = self.teacher.ema.is_some_and(|ema| match ema {
            EmaMomentum::Constant { momentum } | EmaMomentum::Cosine { from: momentum } => {
                !(0.0..=1.0).contains(&momentum)
            }
        });
        let (no_layer, no_token) = match &self.encoder {
            EncoderConfig::Mlp { hidden } => (hidden.is_empty() || hidden.contains(&0), false),
            EncoderConfig::Tokens(TokenConfig { identity, frequencies, set, .. }) => {
                (false, [*identity, *frequencies, set.width, set.latents].contains(&0))
            }
        };
        let views = match self.objective {
            Objective::Views { gene_dropout, .. } => !(0.0..1.0).contains(&gene_dropout),
            _ => false,
        };
        let sets = match self.objective {
            Objective::Conditions { cells, draws, latents } => [cells, draws, latents].contains(&0),
            _ => false,
        };
        let raise = match self.alarm.then {
            OnCollapse::Raise { factor, .. } => Some((factor, self.anti_collapse == AntiCollapse::None)),
            _ => None,
        };
        let negative = [invariance, variance, covariance].iter().any(|w| !w.is_finite() || *w < 0.0);
        let rules = [
            (self.width < 2, "width must be at least 2".to_owned()),
            (no_layer, "encoder.hidden must name at least one width, none of them 0".to_owned()),
            (no_token, "encoder: identity, frequencies, set.width and set.latents must be at least 1".to_owned()),
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
            (patterns == 0, "masks.patterns must be at least 1".to_owned()),
            (views, "objective.gene_dropout must be 0 or more and below 1".to_owned()),
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
