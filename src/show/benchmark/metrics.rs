//! Which metrics stand where: the headline, and the families of the heat maps.

use crate::bench::{Benchmark, Better, better};

/// Pearson of the effect against control.
pub(super) const PEARSON: &str = "pearson";
/// Pearson of the effect against the mean of the training perturbations.
pub(super) const SYSTEMA: &str = "pearson_systema";

/// What a summary is headed by, the first that exist of these, in this order.
const HEADLINE: [&str; 9] =
    ["l2", "l2_top1000", PEARSON, SYSTEMA, "r2w", "pds_l1", "edistance", "de_recall", "interaction_auprc"];
/// Headline metrics shown, at most: more would not fit on a page.
const MOST_HEADLINES: usize = 7;

/// Families by words in a metric's name, the first that fits; what fits none is of the last.
const FAMILIES: [(&str, &[&str]); 5] = [
    ("Genetic interactions", &["interaction", "interactions", "synergy", "gi", "suppression"]),
    ("Gene sets", &["enrichment", "gsea", "pathway", "ora", "sets"]),
    ("Calibration", &["coverage", "crps", "calibration", "nll", "sharpness"]),
    (
        "Populations of cells",
        &[
            "energy",
            "edistance",
            "mmd",
            "wasserstein",
            "cells",
            "variance",
            "zero",
            "zeros",
            "knn",
            "mixing",
            "retrieval",
        ],
    ),
    ("Which genes change", &["de", "des", "auroc", "auprc", "precision", "recall", "overlap", "direction"]),
];
/// The family of all others.
const EFFECTS: &str = "Mean effects";

/// Columns of a heat map that leave room for their values.
pub(super) const MOST_COLUMNS: usize = 10;

/// The name of a metric for people: `pearson_top_20` is `Pearson top 20`.
pub(super) fn label(metric: &str) -> String {
    // `precision_at_20` is the field's precision@20.
    let words: Vec<String> = metric
        .replace("_at_", "@")
        .split('_')
        .map(|word| match word {
            "l2" | "mse" | "mae" | "rmse" | "r2" | "des" | "pds" | "auroc" | "auprc" | "mmd" | "crps" | "de"
            | "pca" | "fdr" | "nmse" | "auc" | "nll" | "knn" | "rbf" | "gi" | "f1" | "wmse" | "l1" => {
                word.to_uppercase()
            }
            "r2w" => "R2w".to_owned(),
            "logfc" => "logFC".to_owned(),
            // `top1000` is `top 1000`.
            top if top.strip_prefix("top").is_some_and(|n| n.parse::<u32>().is_ok()) => format!("top {}", &top[3..]),
            "pearson" | "spearman" => word[..1].to_uppercase() + &word[1..],
            other => other.to_owned(),
        })
        .collect();
    words.join(" ")
}

/// The metrics that head the summary, those that exist and have a good side.
pub(super) fn headline(benchmark: &Benchmark) -> Vec<&str> {
    let known = known(benchmark);
    let mut chosen: Vec<&str> = HEADLINE
        .iter()
        .filter_map(|wanted| known.iter().map(|(metric, _)| *metric).find(|metric| metric == wanted))
        .collect();
    let others: Vec<&str> = known.iter().map(|(metric, _)| *metric).filter(|metric| !chosen.contains(metric)).collect();
    // A benchmark of other metrics than these still has a headline.
    if chosen.is_empty() {
        chosen = others;
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

/// The metrics by family, families in the order of a story: effects, genes, cells, the rest.
pub(super) fn families(benchmark: &Benchmark) -> Vec<(&'static str, Vec<(&str, Better)>)> {
    let mut families: Vec<(&str, Vec<(&str, Better)>)> = std::iter::once(EFFECTS)
        .chain(FAMILIES.iter().rev().map(|family| family.0))
        .map(|name| (name, Vec::new()))
        .collect();
    for (metric, better) in known(benchmark) {
        let has = |words: &[&str]| metric.split('_').any(|word| words.contains(&word));
        let family = FAMILIES.iter().find(|(_, words)| has(words)).map_or(EFFECTS, |family| family.0);
        families.iter_mut().filter(|known| known.0 == family).for_each(|known| known.1.push((metric, better)));
    }
    families.retain(|family| !family.1.is_empty());
    families
}
