//! PerturBench's metrics (Wu et al. 2024, 2025) that are not elsewhere: its RMSE is `rmse`, its ranks are in `identity`.
//!
//! | metric | what |
//! |---|---|
//! | `cosine_logfc` | cosine of `log2(mean + 0.1) - log2(mean_control + 0.1)`, means of log-normalised expression; a predicted mean below 0 counts as 0 |
//! | `top50_recall` | share of the 50 genes of largest \|t\| (`t-test_overestim_var` against control) in the held-out cells that are among the 50 in the predicted cells; `top50_recall_effect` is the same by \|effect\| and needs no cells |

use super::{
    super::{Observed, Predicted, Scores, truth::absolute},
    Sheet, absent_without_effect,
};
use crate::eval::{DeTest, cosine, perturbench_log_fold_change, top_k_recall};

/// Why fold changes do not exist.
pub(super) const NO_CONTROL: &str = "the dataset holds effects, and a fold change needs the profile of control";
/// PerturBench's number of genes.
const TOP: usize = 50;

pub(super) fn measure(observed: &Observed, predicted: &Predicted, scores: &mut Scores) {
    let truth = observed.expression_truth().conditions.iter().zip(&observed.de_truth().conditions);
    for (index, (effect, de)) in truth.enumerate() {
        let mut sheet = Sheet::new(scores, observed, index);
        match (predicted.effect(index), &effect.log_fold_change, &effect.control) {
            (None, ..) => absent_without_effect(&mut sheet, predicted, index, &["cosine_logfc"]),
            (Some(x), Some(y), Some(control)) => {
                let x = perturbench_log_fold_change(control, &x.to_vec());
                sheet.put("cosine_logfc", cosine(&x, y), "the predicted or the observed fold change is zero");
            }
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
