//! The numbers of a benchmark, looked up by model, metric and condition.

use crate::bench::{ALL, Benchmark, Better, Comparison, ModelFacts, Role};
use std::collections::{BTreeMap, HashMap};

/// Values of a model by a metric: (seed, condition) and value.
type Values<'a> = Vec<((u64, &'a str), f64)>;

/// A benchmark with an index of its rows.
pub(super) struct View<'a> {
    pub(super) benchmark: &'a Benchmark,
    /// By model, then by metric.
    values: HashMap<&'a str, HashMap<&'a str, Values<'a>>>,
}

impl<'a> View<'a> {
    pub(super) fn new(benchmark: &'a Benchmark) -> Self {
        let mut values: HashMap<&str, HashMap<&str, Values<'_>>> = HashMap::new();
        for row in &benchmark.rows {
            let of = values.entry(&row.model).or_default().entry(&row.metric).or_default();
            of.push(((row.seed, row.perturbation.as_str()), row.value));
        }
        Self { benchmark, values }
    }

    fn values(&self, model: &str, metric: &str) -> &[((u64, &'a str), f64)] {
        self.values.get(model).and_then(|of| of.get(metric)).map_or(&[], Vec::as_slice)
    }

    /// Mean over the seeds of each condition that a model has the metric of.
    pub(super) fn by_condition(&self, model: &str, metric: &str) -> BTreeMap<&'a str, f64> {
        let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
        for &((_, condition), value) in self.values(model, metric).iter().filter(|((_, c), _)| *c != ALL) {
            let sum = sums.entry(condition).or_insert((0.0, 0.0));
            *sum = (sum.0 + value, sum.1 + 1.0);
        }
        sums.into_iter().map(|(condition, (sum, n))| (condition, sum / n)).collect()
    }

    /// A model's mean over another's, a condition each, over the seeds that both have the condition in.
    pub(super) fn ratios(&self, model: &str, reference: &str, metric: &str) -> BTreeMap<&'a str, f64> {
        let known: HashMap<(u64, &str), f64> = self.values(reference, metric).iter().copied().collect();
        let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
        for &(key, value) in self.values(model, metric).iter().filter(|((_, c), _)| *c != ALL) {
            if let Some(other) = known.get(&key) {
                let sum = sums.entry(key.1).or_insert((0.0, 0.0));
                *sum = (sum.0 + value, sum.1 + other);
            }
        }
        let positive = sums.into_iter().filter(|(_, (_, of_reference))| *of_reference > 0.0);
        positive.map(|(condition, (of_model, of_reference))| (condition, of_model / of_reference)).collect()
    }

    /// Models that compete: neither the floor nor the ceiling.
    pub(super) fn competitors(&self) -> impl Iterator<Item = &'a ModelFacts> {
        self.benchmark.models.iter().filter(|model| matches!(model.role, Role::Model | Role::File))
    }

    /// The name of the model with this role, if it has any score.
    pub(super) fn of_role(&self, role: Role) -> Option<&'a str> {
        let of_role = self.benchmark.models.iter().filter(|model| model.role == role);
        of_role.map(|model| model.name.as_str()).find(|name| self.benchmark.summary.iter().any(|s| s.model == *name))
    }

    pub(super) fn mean(&self, model: &str, metric: &str) -> Option<f64> {
        self.benchmark.summary_of(model, metric).map(|summary| summary.mean)
    }

    /// Models with this metric among `models` and their means, the best first, judged on conditions that they share with
    /// the reference; equal ones by name.
    pub(super) fn ranked<'b>(
        &self,
        models: impl IntoIterator<Item = &'b str>,
        metric: &str,
        better: Better,
    ) -> Vec<(&'b str, f64)> {
        let mut ranked: Vec<(&str, f64, f64)> = models
            .into_iter()
            .filter_map(|model| Some((model, self.mean(model, metric)?, self.fair_mean(model, metric)?)))
            .collect();
        ranked.sort_by(|a, b| {
            let order = a.2.total_cmp(&b.2);
            let order = if better == Better::Higher { order.reverse() } else { order };
            order.then(a.0.cmp(b.0))
        });
        ranked.into_iter().map(|(model, mean, _)| (model, mean)).collect()
    }

    /// The mean of the reference plus the paired difference to it: a model that answers the easy conditions only must not
    /// rank by their mean.
    fn fair_mean(&self, model: &str, metric: &str) -> Option<f64> {
        let paired = self.comparison(model, metric).filter(|comparison| comparison.difference.is_finite());
        let reference = paired.and_then(|paired| Some(self.mean(&paired.reference, metric)? + paired.difference));
        reference.or_else(|| self.mean(model, metric))
    }

    /// What models are compared with by this metric.
    pub(super) fn reference(&self, metric: &str) -> Option<&'a str> {
        self.benchmark.comparisons.iter().find(|c| c.metric == metric).map(|c| c.reference.as_str())
    }

    pub(super) fn comparison(&self, model: &str, metric: &str) -> Option<&'a Comparison> {
        self.benchmark.comparison_of(model, metric)
    }

    /// The conditions that were judged, by name.
    pub(super) fn conditions(&self) -> Vec<&'a str> {
        let rows = self.benchmark.rows.iter().map(|row| row.perturbation.as_str()).filter(|name| *name != ALL);
        rows.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }

    /// What the judged conditions are called: doubles, singles, or where they are mixed or have contexts, conditions.
    pub(super) fn noun(&self, n: usize) -> &'static str {
        let conditions = self.conditions();
        let genes = |name: &&str| if name.contains(" in ") { 0 } else { name.split('+').count() };
        let all = |n: usize| !conditions.is_empty() && conditions.iter().all(|name| genes(name) == n);
        match (all(1), all(2), n == 1) {
            (true, _, true) => "single",
            (true, _, false) => "singles",
            (_, true, true) => "double",
            (_, true, false) => "doubles",
            (_, _, true) => "condition",
            _ => "conditions",
        }
    }
}
