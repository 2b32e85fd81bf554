//! The results of a benchmark: every score, and what the scores say together.

use super::{Absent, Better, ConditionFacts, DataFacts, MeanPoints, OwnSpace, Row};
use crate::data::Condition;
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Scores of all models on all seeds, as `results.json` keeps them.
///
/// The contract: `dataset`, `split`, `rows` and `summary` are always there, and no number is NaN or infinite. What does
/// not exist is in `absent` with its reason, or `null` where a field says so.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Benchmark {
    /// The version of this library.
    pub genailab: String,
    /// The file, or whatever the data is called.
    pub dataset: String,
    /// What was held out, as on the command line.
    pub split: String,
    /// The data that was used.
    pub data: DataFacts,
    /// The splits, one per seed.
    pub splits: Vec<SplitFacts>,
    /// What is known of the judged conditions.
    #[serde(default)]
    pub conditions: Vec<ConditionFacts>,
    /// The models, in the order of tables.
    pub models: Vec<ModelFacts>,
    /// The files of predictions, and the genes that they were compared on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileFacts>,
    /// What the user should know: one sentence each.
    pub notes: Vec<String>,
    /// One per model and metric.
    pub summary: Vec<MetricSummary>,
    /// One per model, metric and group of conditions, where the split has groups.
    pub groups: Vec<GroupSummary>,
    /// Each model against the reference, by every metric.
    pub comparisons: Vec<Comparison>,
    /// What does not exist, and why.
    pub absent: Vec<Absent>,
    /// One per model, seed, condition and metric.
    pub rows: Vec<Row>,
    /// Each model that predicts embeddings, in its own space beside opponents there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub own_spaces: Vec<OwnSpace>,
    /// Effects of the first seed, for figures; not written.
    #[serde(skip)]
    pub example: Option<Example>,
}

/// One split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitFacts {
    /// Its seed.
    pub seed: u64,
    /// Number of conditions that are trained on.
    pub train: usize,
    /// Number of conditions that settings may be chosen by.
    pub validation: usize,
    /// Number of conditions that are judged.
    pub test: usize,
    /// Number of judged conditions of each group: how much of them was seen.
    pub groups: std::collections::BTreeMap<String, usize>,
}

/// What a model is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// Its name.
    pub name: String,
    /// One sentence: what it predicts, with its source.
    pub description: String,
    /// Its role.
    pub role: Role,
    /// Its settings.
    pub settings: serde_json::Value,
    /// Whether it predicts cells itself. The cells of any other model are control cells shifted by its predicted effect.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draws_cells: bool,
    /// Seconds to fit it to one split, mean over the seeds; `null` where nothing was fitted.
    pub fit_seconds: Option<f64>,
    /// Seconds to predict the judged conditions of one split, mean over the seeds.
    pub predict_seconds: Option<f64>,
}

/// A file of predictions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// The name of its model.
    pub name: String,
    /// Number of the data's genes that it has; [`DataFacts::genes`] is the number that all models are compared on.
    pub genes: usize,
    /// Number of the data's genes.
    pub data_genes: usize,
    /// Why it has no scores; `null` where it has.
    pub not_scored: Option<String>,
}

/// The predictor that says that nothing changes: the floor of every table.
pub const NO_CHANGE: &str = "no_change";
/// The predictor that adds up the effects of the single perturbations: the reference, unless a context is held out.
pub const ADDITIVE: &str = "additive";
/// The predictor that takes the effects of other contexts, near ones first: the reference where a context is held out.
pub const SIMILARITY_WEIGHTED: &str = "similarity_weighted";
/// The mean of the training perturbations: the reference where single effects are unknown.
pub const MEAN: &str = "mean";

/// What a model is in a benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Half of the held-out cells against the other half: what noise leaves between two measurements of the same. It is no
    /// bound: a prediction without noise has about half of its L2, and the true mean is such a prediction.
    Ceiling,
    /// No change: a useful model must be better.
    Floor,
    /// A model of this library.
    Model,
    /// Predictions that were made elsewhere.
    File,
}

/// A metric of a model over all conditions and seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricSummary {
    /// The predictor.
    pub model: String,
    /// Name of the metric.
    pub metric: String,
    /// Mean of the values.
    pub mean: f64,
    /// Their standard deviation (n - 1); `null` where there is one value only.
    pub sd: Option<f64>,
    /// Number of values: (seed, condition) pairs, or seeds for a score of all conditions together.
    pub n: usize,
    /// Median of the values.
    pub median: f64,
    /// Standard deviation (n - 1) of the means of the seeds: how much the choice of the split matters; `null` for one
    /// seed.
    pub sd_of_seeds: Option<f64>,
}

/// A metric of a model over the conditions of one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupSummary {
    /// The group (`seen0`, `unseen_single`, …).
    pub group: String,
    /// As for all conditions.
    #[serde(flatten)]
    pub summary: MetricSummary,
}

/// A model against the reference, over the same conditions of the same seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The predictor.
    pub model: String,
    /// What it is compared with: `similarity_weighted` where a context is held out, else `additive`, or where that does not
    /// apply the mean of the training perturbations, or no change.
    pub reference: String,
    /// Name of the metric.
    pub metric: String,
    /// Whether a lower or a higher value is better; `null` where neither is.
    pub better: Option<Better>,
    /// Mean of model - reference over the pairs.
    pub difference: f64,
    /// Lower end of the 95 % interval of the difference (paired bootstrap over conditions); `null` for a score of all
    /// conditions together, or fewer than five conditions.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Mean of the model over mean of the reference, for metrics where lower is better and zero is perfect.
    pub ratio: Option<f64>,
    /// Fraction of the conditions on which the model is better (a tie counts half); `null` where neither side is.
    pub won: Option<f64>,
    /// Whether the interval lies on the better or on the worse side of 0.
    pub verdict: Significance,
    /// Number of conditions.
    pub conditions: usize,
    /// Number of (seed, condition) pairs.
    pub pairs: usize,
}

/// The mean of a metric of a model over some conditions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanInterval {
    /// Mean over the (seed, condition) pairs.
    pub mean: f64,
    /// Lower end of its 95 % interval (bootstrap over conditions); `None` for fewer than five conditions.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Number of conditions.
    pub conditions: usize,
}

/// What an interval says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Significance {
    /// The whole interval is on the better side of 0.
    Better,
    /// The whole interval is on the worse side of 0.
    Worse,
    /// The interval holds 0.
    Unclear,
    /// There is no interval, or no better side.
    None,
}

/// Observed and predicted effects of one seed, for scatter plots.
#[derive(Debug, Clone)]
pub struct Example {
    /// The seed.
    pub seed: u64,
    /// Gene names, one per column.
    pub genes: Arc<[String]>,
    /// The judged conditions, one per row.
    pub conditions: Vec<Condition>,
    /// Observed effects, `(conditions, genes)`.
    pub observed: Array2<f32>,
    /// Each model's predicted effects, `(conditions, genes)`; a row of NaN where there is no prediction.
    pub predicted: Vec<(String, Array2<f32>)>,
    /// How the models rank synergies; a model that predicts none has no curve.
    pub interactions: Vec<InteractionCurve>,
    /// Mean embeddings in the common space of all models; `None` for an effects dataset, which has no such space.
    pub points: Option<MeanPoints>,
}

/// How a model ranks genes x doubles for synergies, the observed departures from additivity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InteractionCurve {
    /// Name of the model.
    pub model: String,
    /// Share of the synergies that is found, and share of the calls that is wrong (false discovery proportion), from the
    /// boldest call to all.
    pub recall_and_fdp: Vec<(f64, f64)>,
    /// Average precision.
    pub auprc: f64,
    /// Share of synergies among all candidates, which a random ranking reaches at any recall.
    pub base_rate: f64,
}

impl Benchmark {
    /// The summary of a metric of a model.
    pub fn summary_of(&self, model: &str, metric: &str) -> Option<&MetricSummary> {
        self.summary.iter().find(|summary| summary.model == model && summary.metric == metric)
    }

    /// The comparison of a model with the reference by a metric.
    pub fn comparison_of(&self, model: &str, metric: &str) -> Option<&Comparison> {
        self.comparisons.iter().find(|comparison| comparison.model == model && comparison.metric == metric)
    }
}
