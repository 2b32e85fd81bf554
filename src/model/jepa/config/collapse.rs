//! What keeps embeddings from collapsing, and when they count as collapsed.

use crate::nn::EmaMomentum;
use serde::{Deserialize, Serialize};

/// What the teacher is shown, and what of it is the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TeacherSees {
    /// The genes of the target alone; the target is their embedding (SC-JEPA's form).
    #[default]
    Target,
    /// All genes; each prediction is of the whole cell's embedding (data2vec, Baevski et al. 2022).
    Cell,
    /// All genes; the targets are the teacher's output tokens at the hidden groups or genes, and beside them the embedding of
    /// the whole cell (I-JEPA, Assran et al. 2023). Needs `encoder.kind` = groups or genes.
    Tokens,
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

/// Which outputs the anti-collapse terms hold apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Regularise {
    /// The student's embedding (`masks`, `reconstruction`, `conditions`, phase B), or what its expander makes of it (`views`,
    /// Bardes et al. 2022).
    #[default]
    Usual,
    /// The predictions; not of `reconstruction`, which has none of embeddings.
    Predictions,
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
    /// features; it lies between 0 (all cells alike) and 1. Default 0.02.
    pub min_spread: f64,
    /// Least effective rank of their covariance. Default 1.5.
    pub min_rank: f64,
    /// Epochs at the beginning in which nothing is judged. Default 1.
    pub grace_epochs: usize,
    /// What then happens. Default stop.
    pub then: OnCollapse,
}

impl Default for CollapseAlarm {
    fn default() -> Self {
        Self { min_spread: 0.02, min_rank: 1.5, grace_epochs: 1, then: OnCollapse::Stop }
    }
}
