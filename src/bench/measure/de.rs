//! Does a predicted effect find the genes that the perturbation really changes?
//!
//! The truth is a test of the held-out cells of a condition against the training control cells of its context:
//! Wilcoxon's, with ties corrected (scanpy's `wilcoxon`, `tie_correct=True`), adjusted by Benjamini and Hochberg; a gene is
//! changed where adjusted p < 0.05. The prediction ranks genes by |effect|, which a model of means has.
//!
//! | metric | what |
//! |---|---|
//! | `l2_topK_de`, `mse_…`, `mae_…`, `rmse_…`, `pearson_…` | the effects over the K = 20, 50, 100 genes of largest \|z\| |
//! | `…_top20_de_non_dropout` | over GEARS' genes: of largest \|t\| (Welch, its choice), expressed in the held-out cells, or neither there nor in control; `mse_…` is GEARS' headline |
//! | `precision_at_K`, `recall_at_K` | changed genes among the K of largest predicted \|effect\|, by K, and by the number of changed genes |
//! | `auroc`, `average_precision` | of all genes ranked by predicted \|effect\| |
//! | `des_by_effect` | as the challenge's DES, but by \|effect\|: share of the k changed genes among the k of largest predicted \|effect\| |
//! | `de_direction_match` | cell-eval: share of the changed genes whose predicted effect has the observed sign |
//! | `de_spearman_lfc_sig` | cell-eval: Spearman over the changed genes of observed and predicted log2 fold change (scanpy's, pseudocount 1e-9; a predicted mean below 0 counts as 0) |
//!
//! A model that says the same of all genes (no change) ranks nothing, and gets what a random order is expected to get.

use super::{
    super::{
        ObservedEffects, Predicted, Scores,
        truth::{ConditionDe, Effect, sizes},
    },
    Sheet, absent_without_effect,
};
use crate::eval::{
    auroc, average_precision, direction_match, fold_change_of_means, l2, mae, metrics::pick, mse, pearson,
    precision_at_k, recall_at_k, rmse, spearman,
};

const SETS: [(&str, usize); 3] = [("top20_de", 20), ("top50_de", 50), ("top100_de", 100)];
const NON_DROPOUT: &str = "top20_de_non_dropout";
const SET_METRICS: [&str; 5] = ["l2", "mse", "mae", "rmse", "pearson"];
const RECOVERY: [&str; 11] = [
    "precision_at_20",
    "recall_at_20",
    "precision_at_50",
    "recall_at_50",
    "precision_at_100",
    "recall_at_100",
    "auroc",
    "average_precision",
    "des_by_effect",
    "de_direction_match",
    "de_spearman_lfc_sig",
];

/// Why real values around 0 have no metric of fold changes.
pub(super) const NO_FOLDS: &str = "values around 0 have no fold change";

/// Names of all metrics of this family.
fn names() -> Vec<String> {
    let sets = SETS.iter().map(|(set, _)| *set).chain([NON_DROPOUT]);
    let of_sets = sets.flat_map(|set| SET_METRICS.iter().map(move |metric| format!("{metric}_{set}")));
    of_sets.chain(RECOVERY.iter().map(|&name| name.to_owned())).collect()
}

pub(super) fn measure(observed: &ObservedEffects, predicted: &Predicted, scores: &mut Scores) {
    let names = names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let truth = observed.expression_truth().conditions.iter().zip(&observed.de_truth().conditions);
    for (index, (effect, de)) in truth.enumerate() {
        let mut sheet = Sheet::new(scores, observed, index);
        match (predicted.effect(index), de) {
            (None, _) => absent_without_effect(&mut sheet, predicted, index, &names),
            (Some(_), Err(reason)) => sheet.absent(&names, reason),
            (Some(x), Ok(de)) => {
                let x = x.to_vec();
                for (set, k) in SETS {
                    over_genes(&mut sheet, set, &x, effect, de.largest.get(..k));
                }
                over_genes(&mut sheet, NON_DROPOUT, &x, effect, Some(&de.non_dropout));
                recovery(&mut sheet, &x, de);
                directions(&mut sheet, &x, effect, de);
            }
        }
    }
}

/// The effects over some genes; `None` where there are not as many.
fn over_genes(sheet: &mut Sheet<'_>, set: &str, x: &[f32], truth: &Effect, genes: Option<&[usize]>) {
    type Metric = fn(&[f32], &[f32]) -> Option<f64>;
    const METRICS: [Metric; 5] = [l2, mse, mae, rmse, pearson];
    let picked = genes.map(|genes| (pick(x, genes), pick(&truth.effect, genes)));
    for (name, metric) in SET_METRICS.iter().zip(METRICS) {
        let reason = match (&picked, *name) {
            (None, _) => "there are fewer genes",
            (_, "pearson") => "the predicted or the observed effect is constant over these genes",
            _ => "a value is not finite",
        };
        sheet.put(&format!("{name}_{set}"), picked.as_ref().and_then(|(x, y)| metric(x, y)), reason);
    }
}

fn recovery(sheet: &mut Sheet<'_>, x: &[f32], de: &ConditionDe) {
    let (size, changed) = (sizes(x), &de.significant);
    let n_changed = changed.iter().filter(|&&changed| changed).count();
    let none = "no gene is changed at a false discovery rate of 0.05";
    for (k, precision, recall) in [
        (20, "precision_at_20", "recall_at_20"),
        (50, "precision_at_50", "recall_at_50"),
        (100, "precision_at_100", "recall_at_100"),
    ] {
        let reason = if n_changed == 0 { none } else { "there are fewer genes" };
        sheet.put(precision, precision_at_k(&size, changed, k), reason);
        sheet.put(recall, recall_at_k(&size, changed, k), reason);
    }
    let reason = if n_changed == 0 { none } else { "every gene is changed" };
    sheet.put("auroc", auroc(&size, changed), reason);
    sheet.put("average_precision", average_precision(&size, changed), none);
    sheet.put("des_by_effect", precision_at_k(&size, changed, n_changed), none);
}

fn directions(sheet: &mut Sheet<'_>, x: &[f32], truth: &Effect, de: &ConditionDe) {
    let none = "no gene is changed at a false discovery rate of 0.05";
    sheet.put("de_direction_match", direction_match(&de.significant, &de.log2_fold_changes, x), none);
    let Some(control) = &truth.control else {
        sheet.absent(&["de_spearman_lfc_sig"], "there is no profile of control to take a fold change to");
        return;
    };
    if !de.has_folds {
        sheet.absent(&["de_spearman_lfc_sig"], NO_FOLDS);
        return;
    }
    let changed: Vec<usize> = (0..x.len()).filter(|&gene| de.significant[gene]).collect();
    let folds = pick(&fold_change_of_means(control, x), &changed);
    let observed: Vec<f32> = changed.iter().map(|&gene| de.log2_fold_changes[gene] as f32).collect();
    let reason = if changed.is_empty() { none } else { "the fold changes of the changed genes do not vary" };
    sheet.put("de_spearman_lfc_sig", spearman(&folds, &observed), reason);
}
