//! Means over conditions and seeds.

use super::{GroupSummary, MetricSummary, Row};
use std::collections::{BTreeMap, HashMap};

/// The scores of one model and metric: where the metric stands in tables, and (seed, condition, value).
pub(super) struct Series<'a> {
    pub(super) model: &'a str,
    pub(super) metric: &'a str,
    pub(super) values: Vec<(u64, &'a str, f64)>,
}

/// Sorts rows by model and metric, both in the order of their first row.
pub(super) fn series(rows: &[Row]) -> Vec<Series<'_>> {
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

/// One a model and metric.
pub(super) fn summarise(series: &[Series<'_>]) -> Vec<MetricSummary> {
    series.iter().map(|series| summary(series, &series.values)).collect()
}

/// One a model, metric and group; `groups` holds the group of (seed, condition).
pub(super) fn by_group(series: &[Series<'_>], groups: &HashMap<(u64, String), String>) -> Vec<GroupSummary> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn row(seed: u64, model: &str, perturbation: &str, value: f64) -> Row {
        let (model, perturbation) = (model.to_owned(), perturbation.to_owned());
        Row { seed, model, perturbation, metric: "l2".to_owned(), value }
    }

    #[test]
    fn means_spreads_and_groups() {
        let rows = [row(0, "b", "X", 1.0), row(0, "b", "Y", 3.0), row(1, "b", "X", 8.0), row(1, "a", "X", 5.0)];
        let series = series(&rows);
        let found = summarise(&series);
        assert_eq!((found[0].model.as_str(), found[1].model.as_str()), ("b", "a"), "the order of the rows");
        assert_eq!((found[0].mean, found[0].median, found[0].n), (4.0, 3.0, 3));
        // numpy.std([1, 3, 8], ddof=1), and of the seeds' means 2 and 8.
        assert!((found[0].sd.unwrap() - 3.605_551_275_463_989).abs() < 1e-12);
        assert!((found[0].sd_of_seeds.unwrap() - 18.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!((found[1].sd, found[1].sd_of_seeds), (None, None), "one value has no spread");
        let groups = [((0, "X".to_owned()), "seen0".to_owned()), ((1, "X".to_owned()), "seen1".to_owned())].into();
        let of_groups = by_group(&series, &groups);
        let named: Vec<_> = of_groups.iter().map(|g| (g.group.as_str(), g.summary.mean, g.summary.n)).collect();
        assert_eq!(named, [("seen0", 1.0, 1), ("seen1", 8.0, 1), ("seen1", 5.0, 1)]);
    }
}
