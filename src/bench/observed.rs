//! The two sides that metrics compare: what was observed, and what was predicted.

use super::{
    PcaSpace,
    cell_truth::CellTruth,
    measure::{EnrichmentTruth, InteractionTruth, embedding::ObservedMeans},
    truth::{DeTruth, ExpressionTruth},
};
use crate::data::{Condition, Counts};
use ndarray::{Array1, Array2, ArrayView1};
use std::sync::{Arc, OnceLock};

/// Most cells of a condition that are compared as sets, observed and predicted: beyond, distances of sets hardly change
/// and their cost grows with the square.
pub const MOST_CELLS: usize = 2_000;

/// The held-out truth.
#[derive(Debug, Clone)]
pub struct ObservedEffects {
    /// Gene names, one per column.
    pub genes: Arc<[String]>,
    /// The conditions that are judged.
    pub conditions: Vec<Condition>,
    /// The group of each condition (how much of it was seen), where the split has groups.
    pub groups: Vec<Option<String>>,
    /// Mean effect of each, `(conditions, genes)`: difference to the training control of its context in mean
    /// log-normalised expression.
    pub effects: Array2<f32>,
    /// Mean profile of the training control of each condition's context, `(conditions, genes)`; `None` for an effects
    /// dataset, which holds differences only.
    pub controls: Option<Array2<f32>>,
    /// Mean of the training effects, `(genes,)`: systema's reference.
    pub training_mean: Array1<f32>,
    /// The sum of the trained single effects, `(conditions, genes)`: what an interaction departs from. NaN rows where
    /// a single is missing or the condition is not of several genes.
    pub additive: Array2<f32>,
    /// The trained effects `(genes,)` of the single genes of each condition, in the order of their names: what `additive`
    /// sums. Empty where that is NaN.
    pub singles: Vec<Vec<Array1<f32>>>,
    /// The cells behind the effects; `None` for an effects dataset.
    pub cells: Option<ObservedCells>,
    /// The conditions of the dataset that are not judged: what a prediction may be confused with. Empty for an effects
    /// dataset, which holds no profiles.
    pub others: MeanProfiles,
    /// What metrics have computed from the truth alone; `Memo::default()` to begin with.
    pub memo: Memo,
}

/// The held-out cells, and the control cells that they are compared with.
#[derive(Debug, Clone)]
pub struct ObservedCells {
    /// Log-normalised expression of all cells of the dataset, `(cells, genes)`.
    pub expression: Arc<Counts>,
    /// The held-out cells of each condition: rows of `expression`.
    pub rows: Vec<Vec<usize>>,
    /// The control cells of each condition's context.
    pub control_rows: Vec<Arc<[usize]>>,
    /// Where sets of cells are compared: principal components of the training cells.
    pub space: Arc<PcaSpace>,
}

/// Conditions and the mean log-normalised expression of their cells.
#[derive(Debug, Clone, Default)]
pub struct MeanProfiles {
    /// The conditions, one per row.
    pub conditions: Vec<Condition>,
    /// `(conditions, genes)`.
    pub profiles: Array2<f32>,
}

/// What a predictor answered.
#[derive(Debug, Clone)]
pub struct Predicted {
    /// The predictor's name.
    pub model: String,
    /// Predicted effect `(genes,)` of each observed condition, or the reason why there is none.
    pub effects: Vec<Result<Array1<f32>, String>>,
    /// Predicted cells of each condition in log-normalised expression, `(cells, genes)`, or the reason why there are
    /// none.
    pub cells: Vec<Result<Array2<f32>, String>>,
}

impl Predicted {
    /// The predicted effect of a condition, if there is one.
    pub fn effect(&self, condition: usize) -> Option<ArrayView1<'_, f32>> {
        self.effects[condition].as_ref().ok().map(|effect| effect.view())
    }
}

/// Results that depend on the observed side only. A benchmark measures many models against one truth: the first model
/// computes them, the others wait and read. So neither the truth nor the user's choices may change once something was
/// measured against it.
///
/// A clone starts empty, because a clone of [`ObservedEffects`] may be changed.
#[derive(Debug, Default)]
pub struct Memo {
    /// Ranks and gene sets of the observed effects.
    pub(super) expression: OnceLock<ExpressionTruth>,
    /// Tests of the held-out cells.
    pub(super) de: OnceLock<DeTruth>,
    /// The interactions, or the reason why there are none.
    pub(super) interactions: OnceLock<Result<InteractionTruth, String>>,
    /// The enriched gene sets, or the reason why there are none.
    pub(super) enrichment: OnceLock<Result<EnrichmentTruth, String>>,
    /// The held-out cells in the space that sets are compared in.
    pub(super) cells: OnceLock<Result<CellTruth, String>>,
    /// The mean profiles in the common space, or the reason why there are none.
    pub(super) means: OnceLock<Result<ObservedMeans, String>>,
}

impl Clone for Memo {
    fn clone(&self) -> Self {
        Self::default()
    }
}
