//! Scores: a value for each model, condition and metric, or the reason why there is none.

use serde::{Deserialize, Serialize};

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
