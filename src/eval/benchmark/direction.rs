//! Which direction of a metric is good.

use super::Better;

/// Parts of names of errors and distances: lower is better.
const LOWER: [&str; 15] = [
    "l2",
    "mse",
    "wmse",
    "mae",
    "rmse",
    "rank",
    "distance",
    "energy",
    "mmd",
    "wasserstein",
    "crps",
    "error",
    "edist",
    "nll",
    "fdp",
];
/// Parts of names of agreements: higher is better.
const HIGHER: [&str; 21] = [
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
];

/// Whether a lower or a higher value of the metric is better; `None` for one that only describes (a coverage, a number of
/// genes), or that this version does not know.
pub fn better(metric: &str) -> Option<Better> {
    let words: Vec<&str> = metric.split('_').collect();
    let has = |names: &[&str]| words.iter().any(|word| names.contains(word));
    if has(&HIGHER) {
        Some(Better::Higher)
    } else if has(&LOWER) {
        Some(Better::Lower)
    } else {
        None
    }
}
