//! What scores say together: means over conditions and seeds, and each model against the reference as a paired difference
//! with a bootstrap interval.
//!
//! A pair is a condition of a seed that both have a score of. The same condition is judged under several seeds, and its
//! differences resemble each other, so what is drawn with replacement is the condition with all its pairs (a cluster
//! bootstrap; Cameron, Gelbach & Miller 2008). The statistic is the mean over all drawn pairs, the interval holds the
//! middle 95 % of its draws. It is an interval for other perturbations like these, not for other experiments. Intervals are not
//! corrected for the number of metrics: of twenty metrics one may be "better" by chance.

use super::{
    ADDITIVE, ALL, Benchmark, Better, Comparison, GroupSummary, MEAN, MeanInterval, MetricSummary, NO_CHANGE, Row,
    SIMILARITY_WEIGHTED, Significance, better,
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};

/// Draws of the bootstrap: the ends of a 95 % interval are then known to about 3 % of its width.
const DRAWS: usize = 2_000;
/// Seed of the draws.
const SEED: u64 = 0;
/// With fewer conditions there is no interval.
const FEWEST: usize = 5;
/// What models are compared with: the first that has a score. `similarity_weighted` has one only where conditions have
/// contexts, that is on the splits that hold a context out; there it is the strongest opponent without a network.
const REFERENCES: [&str; 4] = [SIMILARITY_WEIGHTED, ADDITIVE, MEAN, NO_CHANGE];

impl Benchmark {
    /// Scores with everything that is computed from them: summaries, groups and comparisons. The other fields are empty.
    /// `groups` holds the group of each (seed, condition); none where the split has no groups.
    pub fn of_rows(rows: Vec<Row>, groups: &HashMap<(u64, String), String>) -> Self {
        let series = series(&rows);
        let (summary, groups, comparisons) = (summarise(&series), by_group(&series, groups), compare(&series));
        Self { rows, summary, groups, comparisons, ..Self::default() }
    }
}

/// The scores of one model and metric: where the metric stands in tables, and (seed, condition, value).
struct Series<'a> {
    model: &'a str,
    metric: &'a str,
    values: Vec<(u64, &'a str, f64)>,
}

/// Sorts rows by model and metric, both in the order of their first row.
fn series(rows: &[Row]) -> Vec<Series<'_>> {
    let (mut models, mut metrics): (HashMap<&str, usize>, HashMap<&str, usize>) = Default::default();
    let mut found: BTreeMap<(usize, usize), Series<'_>> = BTreeMap::new();
    for row in rows {
        let (n_models, n_metrics) = (models.len(), metrics.len());
        let model = *models.entry(&row.model).or_insert(n_models);
        let metric = *metrics.entry(&row.metric).or_insert(n_metrics);
        found
            .entry((model, metric))
            .or_insert_with(|| Series { model: &row.model, metric: &row.metric, values: Vec::new() })
            .values
            .push((row.seed, &row.perturbation, row.value));
    }
    found.into_values().collect()
}

/// One per model and metric.
fn summarise(series: &[Series<'_>]) -> Vec<MetricSummary> {
    series.iter().map(|series| summary(series, &series.values)).collect()
}

/// One per model, metric and group; `groups` holds the group of (seed, condition).
fn by_group(series: &[Series<'_>], groups: &HashMap<(u64, String), String>) -> Vec<GroupSummary> {
    let mut summaries = Vec::new();
    for series in series {
        let mut divided: BTreeMap<&str, Vec<(u64, &str, f64)>> = BTreeMap::new();
        for &(seed, condition, value) in &series.values {
            if let Some(group) = groups.get(&(seed, condition.to_owned())) {
                divided.entry(group).or_default().push((seed, condition, value));
            }
        }
        summaries.extend(
            divided
                .into_iter()
                .map(|(group, values)| GroupSummary { group: group.to_owned(), summary: summary(series, &values) }),
        );
    }
    summaries
}

fn summary(series: &Series<'_>, values: &[(u64, &str, f64)]) -> MetricSummary {
    let mut seeds: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    values.iter().for_each(|&(seed, _, value)| seeds.entry(seed).or_default().push(value));
    let of_seeds: Vec<f64> = seeds.values().map(|values| mean(values)).collect();
    let all: Vec<f64> = values.iter().map(|&(.., value)| value).collect();
    MetricSummary {
        model: series.model.to_owned(),
        metric: series.metric.to_owned(),
        mean: mean(&all),
        sd: sd(&all),
        n: all.len(),
        median: median(all),
        sd_of_seeds: sd(&of_seeds),
    }
}

/// Mean of a list that is not empty.
pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Standard deviation with n - 1; `None` for fewer than two values.
fn sd(values: &[f64]) -> Option<f64> {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

/// Compares every model with the reference, by every metric that both have.
fn compare(series: &[Series<'_>]) -> Vec<Comparison> {
    let place: HashMap<(&str, &str), usize> =
        series.iter().enumerate().map(|(index, series)| ((series.model, series.metric), index)).collect();
    // The reference of a metric is the same for all models: the first that has any score.
    let reference_of = |metric: &str| REFERENCES.iter().find_map(|name| place.get(&(*name, metric)).copied());
    let mut resamples: HashMap<usize, Resamples> = HashMap::new();
    let mut todo = Vec::new();
    for model in series {
        let Some(reference) = reference_of(model.metric).map(|index| &series[index]) else { continue };
        let pairs = paired(model, reference);
        if model.model != reference.model && !pairs.is_empty() {
            resamples.entry(pairs.len()).or_insert_with(|| Resamples::new(pairs.len()));
            todo.push((model, reference.model, pairs));
        }
    }
    todo.par_iter().map(|(model, reference, pairs)| one(model, reference, pairs, &resamples[&pairs.len()])).collect()
}

/// The values of both by condition.
fn paired(series: &Series<'_>, other: &Series<'_>) -> BTreeMap<String, Vec<(f64, f64)>> {
    let known: HashMap<(u64, &str), f64> =
        other.values.iter().map(|&(seed, condition, value)| ((seed, condition), value)).collect();
    let mut pairs: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for &(seed, condition, value) in &series.values {
        if let Some(&other) = known.get(&(seed, condition)) {
            pairs.entry(condition.to_owned()).or_default().push((value, other));
        }
    }
    pairs
}

impl Benchmark {
    /// Any model against any other by a metric, as [`Benchmark::comparisons`] have each against the reference. `None`
    /// where they have no condition in common.
    pub fn compare(&self, model: &str, other: &str, metric: &str) -> Option<Comparison> {
        self.compare_where(model, other, metric, |_| true)
    }

    /// As [`Benchmark::compare`], on the conditions whose name is kept.
    pub fn compare_where(
        &self,
        model: &str,
        other: &str,
        metric: &str,
        kept: impl Fn(&str) -> bool,
    ) -> Option<Comparison> {
        let of_model = self.series(model, metric, &kept);
        let pairs = paired(&of_model, &self.series(other, metric, &kept));
        (!pairs.is_empty()).then(|| one(&of_model, other, &pairs, &Resamples::new(pairs.len())))
    }

    /// The mean of a metric of a model on the conditions whose name is kept, with its interval. `None` where it has no
    /// value of them.
    pub fn mean_where(&self, model: &str, metric: &str, kept: impl Fn(&str) -> bool) -> Option<MeanInterval> {
        let series = self.series(model, metric, &kept);
        let mut clusters: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
        for (_, condition, value) in series.values {
            let cluster = clusters.entry(condition).or_default();
            *cluster = (cluster.0 + value, cluster.1 + 1.0);
        }
        let clusters: Vec<(f64, f64)> = clusters.into_values().collect();
        let n: f64 = clusters.iter().map(|(_, n)| n).sum();
        let interval = (clusters.len() >= FEWEST).then(|| Resamples::new(clusters.len()).interval(&clusters));
        (n > 0.0).then(|| MeanInterval {
            mean: clusters.iter().map(|(sum, _)| sum).sum::<f64>() / n,
            low: interval.map(|(low, _)| low),
            high: interval.map(|(_, high)| high),
            conditions: clusters.len(),
        })
    }

    fn series<'a>(&'a self, model: &'a str, metric: &'a str, kept: impl Fn(&str) -> bool) -> Series<'a> {
        let rows = self.rows.iter().filter(|row| row.model == model && row.metric == metric && kept(&row.perturbation));
        Series { model, metric, values: rows.map(|r| (r.seed, r.perturbation.as_str(), r.value)).collect() }
    }
}

fn one(
    model: &Series<'_>,
    reference: &str,
    pairs: &BTreeMap<String, Vec<(f64, f64)>>,
    resamples: &Resamples,
) -> Comparison {
    let differences: Vec<(f64, f64)> = pairs
        .values()
        .map(|of| (of.iter().map(|(model, reference)| model - reference).sum(), of.len() as f64))
        .collect();
    let n: f64 = differences.iter().map(|(_, n)| n).sum();
    let difference = differences.iter().map(|(sum, _)| sum).sum::<f64>() / n;
    let single = pairs.len() == 1 && pairs.contains_key(ALL);
    let interval = (!single && pairs.len() >= FEWEST).then(|| resamples.interval(&differences));
    let better = better(model.metric);
    let all = || pairs.values().flatten();
    let (of_model, of_reference): (Vec<f64>, Vec<f64>) = all().copied().unzip();
    let ratio = (better == Some(Better::Lower) && mean(&of_reference) > 0.0)
        .then(|| mean(&of_model) / mean(&of_reference))
        .filter(|ratio| ratio.is_finite());
    let won = better.map(|better| {
        let points = differences.iter().map(|&(sum, _)| match (better, sum.total_cmp(&0.0)) {
            _ if sum == 0.0 => 0.5,
            (Better::Lower, order) => f64::from(order.is_lt()),
            (Better::Higher, order) => f64::from(order.is_gt()),
        });
        points.sum::<f64>() / differences.len() as f64
    });
    let verdict = match (better, interval) {
        (Some(better), Some((low, high))) => match better {
            Better::Lower if high < 0.0 => Significance::Better,
            Better::Higher if low > 0.0 => Significance::Better,
            Better::Lower if low > 0.0 => Significance::Worse,
            Better::Higher if high < 0.0 => Significance::Worse,
            _ => Significance::Unclear,
        },
        _ => Significance::None,
    };
    Comparison {
        model: model.model.to_owned(),
        reference: reference.to_owned(),
        metric: model.metric.to_owned(),
        better,
        difference,
        low: interval.map(|(low, _)| low),
        high: interval.map(|(_, high)| high),
        ratio,
        won,
        verdict,
        conditions: pairs.len(),
        pairs: of_model.len(),
    }
}

/// How often each of n conditions is drawn, for every draw.
struct Resamples(Vec<Vec<u32>>);

impl Resamples {
    fn new(n: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        let draw = |_| {
            let mut times = vec![0; n];
            // Multiply-shift: see `shuffle`.
            (0..n).for_each(|_| times[((u128::from(rng.next_u64()) * n as u128) >> 64) as usize] += 1);
            times
        };
        Self((0..DRAWS).map(draw).collect())
    }

    /// The middle 95 % of the mean over drawn (sum, number) clusters.
    fn interval(&self, clusters: &[(f64, f64)]) -> (f64, f64) {
        let mut means: Vec<f64> = self
            .0
            .iter()
            .map(|times| {
                let (sum, n) = times.iter().zip(clusters).fold((0.0, 0.0), |(sum, n), (&times, &(of, size))| {
                    (sum + f64::from(times) * of, n + f64::from(times) * size)
                });
                sum / n
            })
            .collect();
        means.sort_by(f64::total_cmp);
        let at = |fraction: f64| means[(fraction * (means.len() - 1) as f64).round() as usize];
        (at(0.025), at(0.975))
    }
}
