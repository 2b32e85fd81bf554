//! Which direction of a metric is good.

use super::Better;

/// Words in names of errors and distances: lower is better. They are asked first: a rank by cosine is a rank.
const LOWER: [&str; 14] = [
    "rank",
    "l2",
    "mse",
    "wmse",
    "mae",
    "rmse",
    "distance",
    "energy",
    "edistance",
    "mmd",
    "wasserstein",
    "crps",
    "error",
    "nll",
];
/// Words in names of agreements: higher is better.
const HIGHER: [&str; 22] = [
    "pearson",
    "spearman",
    "cosine",
    "r2",
    "r2w",
    "precision",
    "recall",
    "auroc",
    "auprc",
    "overlap",
    "direction",
    "des",
    "pds",
    "accuracy",
    "correlation",
    "retrieval",
    "jaccard",
    "f1",
    "tpr",
    "agreement",
    "mixing",
    "match",
];

/// What only describes: a distance of the truth itself, a p-value that is uniform where nothing differs, the share of
/// observed values in an interval, which should be the interval's level.
const NEITHER: [&str; 4] = ["edistance_control", "energy_test", "coverage_50", "coverage_90"];

/// Whether a lower or a higher value of the metric is better; `None` for one that only describes (a coverage, a number of
/// genes), or that this version does not know.
pub fn better(metric: &str) -> Option<Better> {
    let has = |names: &[&str]| metric.split('_').any(|word| names.contains(&word));
    // `pearson_l2`, if there were one, would be a Pearson: the first word is the metric.
    let first = metric.split('_').next().unwrap_or_default();
    match first {
        _ if NEITHER.contains(&metric) => None,
        _ if LOWER.contains(&first) => Some(Better::Lower),
        _ if HIGHER.contains(&first) => Some(Better::Higher),
        _ if has(&LOWER) => Some(Better::Lower),
        _ if has(&HIGHER) => Some(Better::Higher),
        _ => None,
    }
}
