//! How much of what is judged a model predicts. A mean over fewer conditions compares with no other mean: a model that answers the
//! easy ones only would win. So such a model is marked, ranked behind the others, and compared on its own conditions.

use super::{ALL, Benchmark, CEILING, MetricSummary, Role, better};
use std::{
    collections::{HashMap, HashSet},
    fmt,
};

/// How many of the judged conditions a model predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coverage {
    /// Conditions of which it has any score.
    pub conditions: usize,
    /// Judged conditions.
    pub of_conditions: usize,
    /// (seed, condition) pairs of which it has any score.
    pub pairs: usize,
    /// Judged (seed, condition) pairs.
    pub of_pairs: usize,
}

impl Coverage {
    /// Whether every judged condition is predicted on every split.
    pub fn is_whole(&self) -> bool {
        self.pairs == self.of_pairs
    }
}

impl fmt::Display for Coverage {
    /// `3 of 5 conditions`; where each condition is predicted on some split, `8 of 10 predictions`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.conditions < self.of_conditions {
            true => write!(f, "{} of {} conditions", self.conditions, self.of_conditions),
            false => write!(f, "{} of {} predictions", self.pairs, self.of_pairs),
        }
    }
}

/// Whether a metric says how good a prediction is; one without a good side is of the observed cells, and every model has it.
fn is_score(metric: &str) -> bool {
    better(metric).is_some()
}

/// (seed, condition) pairs.
type Pairs<'a> = HashSet<(u64, &'a str)>;

impl Benchmark {
    /// The pairs of which each model has any score.
    fn pairs(&self) -> HashMap<&str, Pairs<'_>> {
        let mut pairs: HashMap<&str, Pairs<'_>> = HashMap::new();
        let mut last = None;
        for row in self.rows.iter().filter(|row| row.perturbation != ALL) {
            // The metrics of a condition stand together, so most rows repeat the pair before them.
            let pair = (row.model.as_str(), row.seed, row.perturbation.as_str());
            if last != Some(pair) && is_score(&row.metric) {
                pairs.entry(pair.0).or_default().insert((pair.1, pair.2));
                last = Some(pair);
            }
        }
        pairs
    }

    /// How many of the judged conditions each model predicts. What is judged is what any model but the ceiling predicts.
    pub fn coverages(&self) -> HashMap<&str, Coverage> {
        let pairs = self.pairs();
        let judged: Pairs<'_> =
            pairs.iter().filter(|(model, _)| **model != CEILING).flat_map(|(_, pairs)| pairs).copied().collect();
        let conditions =
            |pairs: &Pairs<'_>| pairs.iter().map(|(_, condition)| *condition).collect::<HashSet<_>>().len();
        let (of_conditions, of_pairs) = (conditions(&judged), judged.len());
        let coverage = |model: &str| {
            let (conditions, pairs) = pairs.get(model).map_or((0, 0), |own| (conditions(own), own.len()));
            Coverage { conditions, of_conditions, pairs, of_pairs }
        };
        self.models.iter().map(|model| (model.name.as_str(), coverage(&model.name))).collect()
    }

    /// How many of the judged conditions a model predicts.
    ///
    /// # Panics
    /// If there is no model of this name.
    pub fn coverage(&self, model: &str) -> Coverage {
        self.coverages()[model]
    }

    /// The files that predict a part of what is judged: each is to be compared on its own conditions.
    pub fn partial_files(&self) -> Vec<(&str, Coverage)> {
        let files = self.models.iter().filter(|model| model.role == Role::File);
        let coverages = self.coverages();
        let covered = files.map(|model| (model.name.as_str(), coverages[model.name.as_str()]));
        covered.filter(|(_, coverage)| coverage.pairs > 0 && !coverage.is_whole()).collect()
    }

    /// The means of all models over the conditions that `model` predicts, for metrics that have a value per condition. A model that
    /// predicts fewer of them is left out.
    pub fn on_conditions_of(&self, model: &str, metrics: &[&str]) -> Vec<MetricSummary> {
        let own = self.pairs().remove(model).unwrap_or_default();
        let mut values: HashMap<(&str, &str), Vec<f64>> = HashMap::new();
        for row in self.rows.iter().filter(|row| own.contains(&(row.seed, row.perturbation.as_str()))) {
            if metrics.contains(&row.metric.as_str()) {
                values.entry((&row.model, &row.metric)).or_default().push(row.value);
            }
        }
        let of = |name: &str, metric: &str| -> Option<MetricSummary> {
            let (values, own) = (values.get(&(name, metric))?, values.get(&(model, metric))?);
            let n = values.len();
            let mean = values.iter().sum::<f64>() / n as f64;
            let sd = (n > 1)
                .then(|| (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1) as f64).sqrt());
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let median = 0.5 * (sorted[(n - 1) / 2] + sorted[n / 2]);
            let (model, metric) = (name.to_owned(), metric.to_owned());
            (n == own.len()).then_some(MetricSummary { model, metric, mean, sd, n, median, sd_of_seeds: None })
        };
        self.models
            .iter()
            .flat_map(|facts| metrics.iter().filter_map(|metric| of(&facts.name, metric)).collect::<Vec<_>>())
            .collect()
    }

    /// The models without a single score, and the most frequent reason; the ceiling is no model.
    pub fn not_scored(&self) -> Vec<(&str, String)> {
        let scores = self.summary.iter().filter(|summary| is_score(&summary.metric));
        let scored: HashSet<&str> = scores.map(|summary| summary.model.as_str()).collect();
        let competing = self.models.iter().filter(|model| model.role != Role::Ceiling);
        let without = competing.filter(|model| !scored.contains(model.name.as_str()));
        let reason = |name: &str| {
            let mut reasons: HashMap<&str, usize> = HashMap::new();
            for absent in self.absent.iter().filter(|absent| absent.model == name) {
                *reasons.entry(&absent.reason).or_default() += absent.n;
            }
            let most = reasons.into_iter().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(a.0)));
            most.map_or_else(|| "no metric applies".to_owned(), |(reason, _)| reason.to_owned())
        };
        without.map(|model| (model.name.as_str(), reason(&model.name))).collect()
    }
}
