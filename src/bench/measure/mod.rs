//! Scores of one model: a value per condition and metric, or the reason why there is none. One file per family of metrics.

mod cells;
mod de;
pub(super) mod embedding;
mod enrichment;
mod expression;
mod identity;
mod interactions;
mod published;

pub(super) use enrichment::EnrichmentTruth;
pub(super) use interactions::InteractionTruth;
pub use interactions::interaction_curve;

use super::{ObservedEffects, Predicted};
use crate::data::GeneSets;
use serde::{Deserialize, Serialize};

/// Choices of the user that metrics need; the default needs no file.
#[derive(Debug, Clone, Default)]
pub struct MeasureOptions {
    /// The gene sets of the enrichment metrics, `--gene-sets FILE.gmt`; without them those metrics are absent.
    pub gene_sets: Option<GeneSets>,
}

/// The condition of a score that is about all of them together.
pub const ALL: &str = "all";

/// One score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Seed of the split.
    pub seed: u64,
    /// The predictor.
    pub model: String,
    /// The condition (`A+B`, or `A+B in stimulated`), or `all` for a score of all conditions together.
    pub perturbation: String,
    /// Name of the metric.
    pub metric: String,
    /// Its value, finite.
    pub value: f64,
}

/// A score that does not exist, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Absent {
    /// The predictor.
    pub model: String,
    /// Name of the metric.
    pub metric: String,
    /// Why it is absent.
    pub reason: String,
    /// Number of conditions (over all seeds) of which it is absent.
    pub n: usize,
}

/// Collects the scores of one model and seed.
#[derive(Debug, Clone)]
pub struct Scores {
    seed: u64,
    model: String,
    /// The scores that exist.
    pub rows: Vec<Row>,
    /// Those that do not.
    pub absent: Vec<Absent>,
}

impl Scores {
    /// No score yet.
    pub fn new(seed: u64, model: &str) -> Self {
        Self { seed, model: model.to_owned(), rows: Vec::new(), absent: Vec::new() }
    }

    /// Adds a score; a value that is `None` or not finite is kept as absent for `reason`.
    pub fn put(&mut self, metric: &str, perturbation: &str, value: Option<f64>, reason: &str) {
        match value.filter(|value| value.is_finite()) {
            Some(value) => self.rows.push(Row {
                seed: self.seed,
                model: self.model.clone(),
                perturbation: perturbation.to_owned(),
                metric: metric.to_owned(),
                value,
            }),
            None => self.absent(metric, reason, 1),
        }
    }

    /// Notes that a metric does not exist for `n` conditions.
    pub fn absent(&mut self, metric: &str, reason: &str, n: usize) {
        match self.absent.iter_mut().find(|a| a.metric == metric && a.reason == reason) {
            Some(known) => known.n += n,
            None => self.absent.push(Absent {
                model: self.model.clone(),
                metric: metric.to_owned(),
                reason: reason.to_owned(),
                n,
            }),
        }
    }
}

/// Measures one model's answers; what does not apply is noted with its reason.
pub fn measure(observed: &ObservedEffects, predicted: &Predicted, options: &MeasureOptions, seed: u64) -> Scores {
    let mut scores = Scores::new(seed, &predicted.model);
    expression::measure(observed, predicted, &mut scores);
    identity::measure(observed, predicted, &mut scores);
    published::perturbench(observed, predicted, &mut scores);
    de::measure(observed, predicted, &mut scores);
    published::challenge(observed, predicted, &mut scores);
    interactions::measure(observed, predicted, &mut scores);
    enrichment::measure(observed, predicted, options, &mut scores);
    cells::calibration(observed, predicted, seed, &mut scores);
    cells::sets(observed, predicted, seed, &mut scores);
    embedding::measure(observed, predicted, &mut scores);
    scores
}

/// The scores of one condition.
struct Sheet<'a> {
    scores: &'a mut Scores,
    condition: String,
}

impl<'a> Sheet<'a> {
    fn new(scores: &'a mut Scores, observed: &ObservedEffects, index: usize) -> Self {
        Self { scores, condition: observed.conditions[index].to_string() }
    }

    /// Adds a score; where it is `None`, for `reason`.
    fn put(&mut self, metric: &str, value: Option<f64>, reason: &str) {
        self.scores.put(metric, &self.condition, value, reason);
    }

    /// Notes that none of `metrics` exists here.
    fn absent(&mut self, metrics: &[&str], reason: &str) {
        metrics.iter().for_each(|metric| self.scores.absent(metric, reason, 1));
    }
}

/// Notes that none of `metrics` exists, because the predictor has no answer for this condition.
fn absent_without_effect(sheet: &mut Sheet<'_>, predicted: &Predicted, index: usize, metrics: &[&str]) {
    if let Err(reason) = &predicted.effects[index] {
        sheet.absent(metrics, reason);
    }
}
