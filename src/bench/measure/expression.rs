//! Distances and correlations of the effects, one condition at a time.
//!
//! | metric | what |
//! |---|---|
//! | `l2`, `mse`, `mae`, `rmse` | over all genes |
//! | `…_top1000`, `pearson_top1000` | over the 1,000 genes that control expresses most, as const-ae scores (rank of the control mean, ties by order in the file); all genes where there are fewer; absent for effects datasets |
//! | `mse_topK_effect`, `pearson_topK_effect` | over the K = 20, 50, 100 genes of largest observed \|effect\| (const-ae's `de_rank`) |
//! | `pearson`, `spearman`, `cosine`, `r2` | of the effect against control; `pearson` is GEARS' and cell-eval's `pearson_delta` of means |
//! | `pearson_systema`, … | of the effect against the mean of the training perturbations (systema): what is left when the response that all perturbations share is taken away |
//! | `top50_recall_effect` | share of the 50 genes of largest observed \|effect\| among the 50 of largest predicted |
//!
//! `wmse` and `r2w` weight each gene by how much the perturbation's cells differ from all others (Mejia et al. 2025). `wmse`
//! is the weighted mean squared error; `r2w` is R2_w of the effect against the mean of the training perturbations. (Mejia et
//! al. take the mean of all perturbations, including the held-out ones, which a benchmark must not use.) The weights come from a
//! t-test (`t-test_overestim_var`) of the held-out cells of a condition against all other cells of the dataset, so these two
//! need cells.
//!
//! A correlation of a constant (no change; under systema the training mean itself) does not exist and is absent.

use super::{
    super::{
        ObservedEffects, Predicted, Scores,
        truth::{Effect, sizes},
    },
    Sheet, absent_without_effect,
};
use crate::eval::{
    cosine, difference, l2, mae,
    metrics::{pick, ranks},
    mse, pearson, r2, r2_weighted, rmse, top_k_recall, wmse,
};

/// Names of the metrics, for a prediction that is not there.
const METRICS: [&str; 18] = [
    "l2",
    "mse",
    "mae",
    "rmse",
    "pearson",
    "spearman",
    "cosine",
    "r2",
    "pearson_systema",
    "spearman_systema",
    "cosine_systema",
    "mse_top20_effect",
    "pearson_top20_effect",
    "mse_top50_effect",
    "pearson_top50_effect",
    "mse_top100_effect",
    "pearson_top100_effect",
    "top50_recall_effect",
];

const NOT_FINITE: &str = "a value is not finite";
/// Those over the genes that control expresses most.
const EXPRESSED: [&str; 5] = ["l2_top1000", "mse_top1000", "mae_top1000", "rmse_top1000", "pearson_top1000"];
/// Those with weighted genes.
const WEIGHTED: [&str; 2] = ["wmse", "r2w"];
const CONSTANT: &str = "the predicted or the observed effect is constant";

pub(super) fn measure(observed: &ObservedEffects, predicted: &Predicted, scores: &mut Scores) {
    let truth = observed.expression_truth();
    for (index, truth) in truth.conditions.iter().enumerate() {
        let mut sheet = Sheet::new(scores, observed, index);
        let Some(x) = predicted.effect(index) else {
            absent_without_effect(&mut sheet, predicted, index, &METRICS);
            absent_without_effect(&mut sheet, predicted, index, &EXPRESSED);
            continue;
        };
        let x = x.to_vec();
        over_all_genes(&mut sheet, &x, truth);
        against_the_mean(&mut sheet, &x, truth, &observed.training_mean.to_vec());
        over_expressed_genes(&mut sheet, &x, truth);
        over_most_changed_genes(&mut sheet, &x, truth);
    }
    measure_weighted(observed, predicted, scores);
}

fn over_all_genes(sheet: &mut Sheet<'_>, x: &[f32], truth: &Effect) {
    let y = &truth.effect;
    sheet.put("l2", l2(x, y), NOT_FINITE);
    sheet.put("mse", mse(x, y), NOT_FINITE);
    sheet.put("mae", mae(x, y), NOT_FINITE);
    sheet.put("rmse", rmse(x, y), NOT_FINITE);
    sheet.put("pearson", pearson(x, y), CONSTANT);
    sheet.put("spearman", rank_correlation(x, &truth.ranks), CONSTANT);
    sheet.put("cosine", cosine(x, y), "the predicted or the observed effect is zero");
    sheet.put("r2", r2(x, y), "the observed effect is constant");
}

fn against_the_mean(sheet: &mut Sheet<'_>, x: &[f32], truth: &Effect, training_mean: &[f32]) {
    let reason = "the prediction, or the truth, differs from the mean of the training perturbations by a constant";
    let x = difference(x, training_mean);
    sheet.put("pearson_systema", pearson(&x, &truth.specific), reason);
    sheet.put("spearman_systema", rank_correlation(&x, &truth.specific_ranks), reason);
    let reason = "the prediction, or the truth, is the mean of the training perturbations";
    sheet.put("cosine_systema", cosine(&x, &truth.specific), reason);
}

fn over_expressed_genes(sheet: &mut Sheet<'_>, x: &[f32], truth: &Effect) {
    let Some(genes) = &truth.expressed else {
        let reason = "the dataset holds effects, and no profile of control to rank the genes by";
        return sheet.absent(&EXPRESSED, reason);
    };
    let (x, y) = (pick(x, genes), pick(&truth.effect, genes));
    sheet.put("l2_top1000", l2(&x, &y), NOT_FINITE);
    sheet.put("mse_top1000", mse(&x, &y), NOT_FINITE);
    sheet.put("mae_top1000", mae(&x, &y), NOT_FINITE);
    sheet.put("rmse_top1000", rmse(&x, &y), NOT_FINITE);
    sheet.put("pearson_top1000", pearson(&x, &y), CONSTANT);
}

fn over_most_changed_genes(sheet: &mut Sheet<'_>, x: &[f32], truth: &Effect) {
    for (k, mse_name, pearson_name) in [
        (20, "mse_top20_effect", "pearson_top20_effect"),
        (50, "mse_top50_effect", "pearson_top50_effect"),
        (100, "mse_top100_effect", "pearson_top100_effect"),
    ] {
        match truth.largest.get(..k) {
            Some(genes) => {
                let (x, y) = (pick(x, genes), pick(&truth.effect, genes));
                sheet.put(mse_name, mse(&x, &y), NOT_FINITE);
                sheet.put(pearson_name, pearson(&x, &y), CONSTANT);
            }
            None => [mse_name, pearson_name].iter().for_each(|name| sheet.put(name, None, "there are fewer genes")),
        }
    }
    let recall = top_k_recall(&sizes(x), &sizes(&truth.effect), 50);
    sheet.put("top50_recall_effect", recall, "there are fewer than 50 genes");
}

/// Spearman with the ranks of the truth known.
fn rank_correlation(x: &[f32], ranks_of_truth: &[f32]) -> Option<f64> {
    if x.iter().any(|value| value.is_nan()) { None } else { pearson(&ranks(x), ranks_of_truth) }
}

fn measure_weighted(observed: &ObservedEffects, predicted: &Predicted, scores: &mut Scores) {
    let mean = observed.training_mean.to_vec();
    let truth = observed.expression_truth().conditions.iter().zip(&observed.de_truth().conditions);
    for (index, (effect, de)) in truth.enumerate() {
        let mut sheet = Sheet::new(scores, observed, index);
        let Some(x) = predicted.effect(index) else {
            absent_without_effect(&mut sheet, predicted, index, &WEIGHTED);
            continue;
        };
        let weights = match de {
            Ok(de) => de.weights.as_ref().ok_or("the cells do not differ from all others, so no gene has weight"),
            Err(reason) => Err(reason.as_str()),
        };
        match weights {
            Err(reason) => sheet.absent(&WEIGHTED, reason),
            Ok(weights) => {
                let x = x.to_vec();
                sheet.put("wmse", wmse(&x, &effect.effect, weights), "a value is not finite");
                let x = difference(&x, &mean);
                sheet.put("r2w", r2_weighted(&x, &effect.specific, weights), "the weighted truth does not vary");
            }
        }
    }
}
