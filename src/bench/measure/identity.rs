//! Is a prediction nearest to the perturbation that it is of, among those judged in the same context?
//!
//! | metric | what | best, random |
//! |---|---|---|
//! | `pds_l1`, `pds_l2`, `pds_cosine` | cell-eval's discrimination score (PDS of the Virtual Cell Challenge is `pds_l1`): observed effects ranked by distance to the predicted one, `1 - rank0 / n`, columns of the perturbed genes left out | 1, 0.5 |
//! | `centroid_accuracy` | systema: share of the other observed effects that are farther (Euclidean, all genes) | 1, 0.5 |
//! | `rank_rmse`, `rank_logfc` | PerturBench: predictions ranked by RMSE of the means, or by cosine of log2(mean + 0.1) fold changes, to the observed; `rank0 / (n - 1)` | 0, 0.5 |
//!
//! n counts the conditions of the context; for PerturBench's ranks those that have a prediction. Control being common to
//! a context, a distance of effects is the distance of the profiles.

use super::{
    super::{ObservedEffects, Predicted, Scores},
    Sheet, absent_without_effect,
};
use crate::eval::{Separation, centroid_accuracy, discrimination_score, perturbench_log_fold_change, perturbench_rank};

const METRICS: [&str; 6] = ["pds_l1", "pds_l2", "pds_cosine", "centroid_accuracy", "rank_rmse", "rank_logfc"];
const ALONE: &str = "a rank needs at least two conditions of a context";

pub(super) fn measure(observed: &ObservedEffects, predicted: &Predicted, scores: &mut Scores) {
    let truth = &observed.expression_truth().conditions;
    let n = truth.len();
    let effects: Vec<Option<Vec<f32>>> =
        (0..n).map(|index| predicted.effect(index).map(|effect| effect.to_vec())).collect();
    // Separation of prediction `i` from the observed effect `j`, where both are of one context.
    let separations: Vec<Vec<Separation>> = (0..n)
        .map(|i| match &effects[i] {
            Some(x) => truth[i].peers.iter().map(|&j| Separation::new(x, &truth[j].effect)).collect(),
            None => Vec::new(),
        })
        .collect();
    let folds: Vec<Option<Vec<f32>>> =
        (0..n).map(|i| Some(perturbench_log_fold_change(truth[i].control.as_ref()?, effects[i].as_ref()?))).collect();

    for (index, effect) in truth.iter().enumerate() {
        let mut sheet = Sheet::new(scores, observed, index);
        let Some(x) = &effects[index] else {
            absent_without_effect(&mut sheet, predicted, index, &METRICS);
            continue;
        };
        let own = effect.peers.iter().position(|&peer| peer == index).unwrap_or(0);
        let to_observed = |distance: fn(Separation) -> f64| -> Vec<f64> {
            separations[index].iter().map(|&separation| distance(separation)).collect()
        };
        let without_targets = |distance: fn(Separation) -> f64| -> Vec<f64> {
            let pairs = separations[index].iter().zip(&effect.peers);
            let cut = |(&all, &peer): (&Separation, &usize)| {
                effect.targets.iter().fold(all, |left, &gene| left.without(x[gene], truth[peer].effect[gene]))
            };
            pairs.map(cut).map(distance).collect()
        };
        sheet.put("pds_l1", discrimination_score(&without_targets(Separation::l1), own), ALONE);
        sheet.put("pds_l2", discrimination_score(&without_targets(Separation::l2), own), ALONE);
        let reason = if effect.peers.len() < 2 { ALONE } else { "an effect is zero and has no direction" };
        sheet.put("pds_cosine", discrimination_score(&without_targets(Separation::cosine), own), reason);
        sheet.put("centroid_accuracy", centroid_accuracy(&to_observed(Separation::l2), own), ALONE);

        let answered: Vec<usize> = effect.peers.iter().copied().filter(|&peer| effects[peer].is_some()).collect();
        let own = answered.iter().position(|&peer| peer == index).unwrap_or(0);
        let to_this = |peer: usize| {
            let place = truth[peer].peers.iter().position(|&other| other == index).unwrap_or(0);
            separations[peer][place].l2()
        };
        let distances: Vec<f64> = answered.iter().map(|&peer| to_this(peer)).collect();
        sheet.put("rank_rmse", perturbench_rank(&distances, own), "a rank needs at least two predictions of a context");
        match &effect.log_fold_change {
            None => sheet.absent(&["rank_logfc"], super::published::NO_CONTROL),
            Some(y) => {
                let distance = |&peer: &usize| {
                    folds[peer].as_ref().map_or(f64::NAN, |x: &Vec<f32>| Separation::new(x, y).cosine())
                };
                let distances: Vec<f64> = answered.iter().map(distance).collect();
                let reason = if answered.len() < 2 { ALONE } else { "a fold change is zero and has no direction" };
                sheet.put("rank_logfc", perturbench_rank(&distances, own), reason);
            }
        }
    }
}
