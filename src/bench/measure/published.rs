//! Metrics of published benchmarks that are not elsewhere.
//!
//! **The Virtual Cell Challenge**, on predicted cells. Its PDS is `pds_l1` (in `identity`), its MAE is `mae`.
//!
//! | metric | what |
//! |---|---|
//! | `des` | differential expression score (cell-eval `overlap_at_N`): the predicted cells tested against control as the held-out ones are, the k significant ones of largest \|log2 fold change\| against the k significant ones observed |
//! | `de_sig_genes_recall` | share of the observed significant genes that are significant in the predicted cells |
//! | `de_auprc`, `de_auroc` | areas under the curves of the observed significant genes, ranked by -log10 adjusted p of the predicted cells |
//! | `pearson_delta` | cell-eval: Pearson of the mean of the predicted cells less control with the observed effect; `pearson` is the same of the predicted effect |
//!
//! Both tests are Wilcoxon's, ties corrected, against the same control cells: the training control cells of the context.
//! For a model of means the predicted cells are control cells shifted by its effect. That moves every zero, so
//! a rank test calls most genes changed: use `des_by_effect` for such a model.

//!
//! **PerturBench** (Wu et al. 2024, 2025). Its RMSE is `rmse`, its ranks are in `identity`.
//!
//! | metric | what |
//! |---|---|
//! | `cosine_logfc` | cosine of `log2(mean + 0.1) - log2(mean_control + 0.1)`, means of log-normalised expression; a predicted mean below 0 counts as 0 |
//! | `top50_recall` | share of the 50 genes of largest \|t\| (`t-test_overestim_var` against control) in the held-out cells that are among the 50 in the predicted cells; `top50_recall_effect` is the same by \|effect\| and needs no cells |

use super::{
    super::{
        ObservedEffects, Predicted, Scores,
        truth::{ConditionDe, absolute},
    },
    Sheet, absent_without_effect,
    de::NO_FOLDS,
};
use crate::eval::{
    DeTable, DeTest, RankSum, auroc, average_precision, certainty, cosine, overlap_at_n, pearson,
    perturbench_log_fold_change, significant_genes_recall, top_k_recall,
};
use ndarray::{Array2, Axis};

/// Why fold changes do not exist.
pub(super) const NO_CONTROL: &str = "the dataset holds effects, and a fold change needs the profile of control";
/// PerturBench's number of genes.
const TOP: usize = 50;
/// The challenge's metrics that come from a test of the predicted cells.
const OF_TEST: [&str; 4] = ["des", "de_sig_genes_recall", "de_auprc", "de_auroc"];

pub(super) fn perturbench(observed: &ObservedEffects, predicted: &Predicted, scores: &mut Scores) {
    let truth = observed.expression_truth().conditions.iter().zip(&observed.de_truth().conditions);
    for (index, (effect, de)) in truth.enumerate() {
        let mut sheet = Sheet::new(scores, observed, index);
        match (predicted.effect(index), &effect.log_fold_change, &effect.control) {
            (None, ..) => absent_without_effect(&mut sheet, predicted, index, &["cosine_logfc"]),
            (Some(x), Some(y), Some(control)) => {
                let x = perturbench_log_fold_change(control, &x.to_vec());
                sheet.put("cosine_logfc", cosine(&x, y), "the predicted or the observed fold change is zero");
            }
            (_, _, Some(_)) => sheet.absent(&["cosine_logfc"], NO_FOLDS),
            _ => sheet.absent(&["cosine_logfc"], NO_CONTROL),
        }
        match (de, &predicted.cells[index]) {
            (Err(reason), _) | (_, Err(reason)) => sheet.absent(&["top50_recall"], reason),
            (Ok(de), Ok(cells)) => match de.reference.test(cells.view(), DeTest::TTestOverestimVar) {
                Err(error) => sheet.absent(&["top50_recall"], &error.to_string()),
                Ok(test) => {
                    let sizes = absolute(test.scores.row(0));
                    let recall = top_k_recall(&sizes, &de.overestimated, TOP);
                    sheet.put("top50_recall", recall, "there are fewer than 50 genes");
                }
            },
        }
    }
}

pub(super) fn challenge(observed: &ObservedEffects, predicted: &Predicted, scores: &mut Scores) {
    let truth = observed.expression_truth().conditions.iter().zip(&observed.de_truth().conditions);
    for (index, (effect, de)) in truth.enumerate() {
        let mut sheet = Sheet::new(scores, observed, index);
        let cells = match (&observed.cells, &predicted.cells[index]) {
            (None, _) => Err("the dataset holds effects and not the cells behind them"),
            (_, Err(reason)) => Err(reason.as_str()),
            (_, Ok(cells)) => Ok(cells),
        };
        let cells = match cells {
            Ok(cells) => cells,
            Err(reason) => {
                sheet.absent(&OF_TEST, reason);
                sheet.absent(&["pearson_delta"], reason);
                continue;
            }
        };
        match de {
            Err(reason) => sheet.absent(&OF_TEST, reason),
            Ok(de) => of_test(&mut sheet, cells, de),
        }
        let delta = effect.control.as_ref().and_then(|control| {
            let mean = cells.mapv(f64::from).mean_axis(Axis(0))?;
            let delta: Vec<f32> =
                mean.iter().zip(control).map(|(mean, control)| (mean - f64::from(*control)) as f32).collect();
            pearson(&delta, &effect.effect)
        });
        sheet.put("pearson_delta", delta, "the predicted or the observed effect is constant");
    }
}

fn of_test(sheet: &mut Sheet<'_>, cells: &Array2<f32>, de: &ConditionDe) {
    let test = match de.reference.test(cells.view(), DeTest::RankSum(RankSum { tie_correct: true })) {
        Ok(test) => test,
        Err(error) => return sheet.absent(&OF_TEST, &error.to_string()),
    };
    let (p_adjusted, folds) = (test.p_adjusted.row(0).to_vec(), test.log2_fold_changes.row(0).to_vec());
    let observed = DeTable { p_adjusted: &de.p_adjusted, log2_fold_changes: &de.log2_fold_changes };
    let predicted = DeTable { p_adjusted: &p_adjusted, log2_fold_changes: &folds };
    let none = "no gene is changed at a false discovery rate of 0.05";
    match de.has_folds {
        true => sheet.put("des", overlap_at_n(observed, predicted), none),
        false => sheet.absent(&["des"], NO_FOLDS),
    }
    sheet.put("de_sig_genes_recall", significant_genes_recall(observed, predicted), none);
    let certainty = certainty(&p_adjusted);
    let some = de.significant.contains(&true);
    sheet.put("de_auprc", average_precision(&certainty, &de.significant), none);
    let reason = if some { "every gene is changed" } else { none };
    sheet.put("de_auroc", auroc(&certainty, &de.significant), reason);
}
