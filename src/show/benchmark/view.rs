//! The numbers of a benchmark, looked up by model, metric and condition; and the metrics that it has.

use crate::{
    bench::{ALL, Benchmark, Better, Comparison, Coverage, Metric, MetricFamily, ModelFacts, Role, better, label},
    data::cut_at_plus,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Pearson of the effect against control.
pub(super) const PEARSON: &str = "pearson";
/// Pearson of the effect against the mean of the training perturbations.
pub(super) const SYSTEMA: &str = "pearson_systema";

/// Headline metrics shown, at most: more would not fit on a page.
const MOST_HEADLINES: usize = 7;

/// Columns of a heat map that leave room for their values.
pub(super) const MOST_COLUMNS: usize = 10;

/// Values of a model by a metric: (seed, condition) and value.
type Values<'a> = Vec<((u64, &'a str), f64)>;

/// A benchmark with an index of its rows.
pub(super) struct View<'a> {
    pub(super) benchmark: &'a Benchmark,
    /// By model, then by metric.
    values: HashMap<&'a str, HashMap<&'a str, Values<'a>>>,
    /// How much of what is judged each model predicts.
    coverages: HashMap<&'a str, Coverage>,
}

impl<'a> View<'a> {
    pub(super) fn new(benchmark: &'a Benchmark) -> Self {
        let mut values: HashMap<&str, HashMap<&str, Values<'_>>> = HashMap::new();
        for row in &benchmark.rows {
            let of = values.entry(&row.model).or_default().entry(&row.metric).or_default();
            of.push(((row.seed, row.perturbation.as_str()), row.value));
        }
        Self { benchmark, values, coverages: benchmark.coverages() }
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

    /// The ratio of a model's mean to another's for each condition, over the seeds in which both have it.
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

    /// Models with this metric among `models` and their means, the best first; equal ones by name. Models that predict all
    /// judged conditions stand before those that predict a part, which are ordered by the conditions that they share with
    /// the reference.
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
            self.is_partial(a.0).cmp(&self.is_partial(b.0)).then(order).then(a.0.cmp(b.0))
        });
        ranked.into_iter().map(|(model, mean, _)| (model, mean)).collect()
    }

    /// How much of what is judged a model predicts, where it is not all.
    pub(super) fn part_of(&self, model: &str) -> Option<Coverage> {
        self.coverages.get(model).copied().filter(|coverage| !coverage.is_whole())
    }

    /// Whether a model predicts a part of the judged conditions only.
    pub(super) fn is_partial(&self, model: &str) -> bool {
        self.part_of(model).is_some()
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
        rows.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The numbers of genes that the judged conditions have; empty where all have the same.
    pub(super) fn numbers_of_genes(&self) -> Vec<usize> {
        let numbers: BTreeSet<usize> = self.conditions().into_iter().map(number_of_genes).collect();
        if numbers.len() > 1 { numbers.into_iter().collect() } else { Vec::new() }
    }

    /// What the judged conditions are called: doubles, singles, or where they are mixed or have contexts, conditions.
    pub(super) fn noun(&self, n: usize) -> &'static str {
        let conditions = self.conditions();
        let genes = |name: &&str| if name.contains(" in ") { 0 } else { number_of_genes(name) };
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

/// The metrics that head the summary, those that exist and have a good side.
pub(super) fn headline(benchmark: &Benchmark) -> Vec<&str> {
    let known = known(benchmark);
    let measured = |name: &str| known.iter().any(|(metric, _)| *metric == name);
    let mut chosen: Vec<&str> =
        Metric::headlines().into_iter().map(|metric| metric.name).filter(|name| measured(name)).collect();
    // A benchmark of other metrics than these still has a headline.
    if chosen.is_empty() {
        chosen = known.iter().map(|(metric, _)| *metric).collect();
    }
    // The 1,000 most expressed of fewer genes are all of them: one column is enough.
    let values = |metric: &str| -> Vec<(&str, u64)> {
        let of = benchmark.summary.iter().filter(|summary| summary.metric == metric);
        of.map(|summary| (summary.model.as_str(), summary.mean.to_bits())).collect()
    };
    let all = chosen.clone();
    chosen
        .retain(|metric| all.iter().take_while(|other| *other != metric).all(|other| values(other) != values(metric)));
    chosen.truncate(MOST_HEADLINES);
    chosen
}

/// All metrics of the summary with a good side, in its order.
pub(super) fn known(benchmark: &Benchmark) -> Vec<(&str, Better)> {
    let mut known: Vec<(&str, Better)> = Vec::new();
    for summary in &benchmark.summary {
        if !known.iter().any(|(metric, _)| *metric == summary.metric)
            && let Some(better) = better(&summary.metric)
        {
            known.push((&summary.metric, better));
        }
    }
    known
}

/// The metrics by family, families in the order of a report.
pub(super) fn families(benchmark: &Benchmark) -> Vec<(&'static str, Vec<&str>)> {
    let mut families: Vec<(MetricFamily, Vec<&str>)> = MetricFamily::ALL.map(|family| (family, Vec::new())).into();
    for (name, _) in known(benchmark) {
        let family = Metric::of(name).map(|metric| metric.family);
        families.iter_mut().filter(|(known, _)| Some(*known) == family).for_each(|(_, names)| names.push(name));
    }
    families.retain(|(_, names)| !names.is_empty());
    families.into_iter().map(|(family, names)| (family.title(), names)).collect()
}

/// The heading of a column: the label of a metric, `of` what (may be empty), and an arrow to its good side.
pub(super) fn heading(metric: &str, of: &str) -> String {
    let arrow = match better(metric) {
        Some(Better::Lower) => " ↓",
        Some(Better::Higher) => " ↑",
        None => "",
    };
    format!("{}{of}{arrow}", label(metric))
}

/// Number of genes of a condition, by its name.
pub(super) fn number_of_genes(name: &str) -> usize {
    cut_at_plus(name.split(" in ").next().unwrap_or(name)).len()
}
