//! Is the predicted distribution of cells the observed one, gene by gene?
//!
//! For each condition and gene, the predicted cells are a sample of the predicted distribution of log-normalised expression over
//! cells, and each held-out cell is an observation; a score is the mean over genes.
//!
//! | metric | meaning |
//! |---|---|
//! | `coverage_50`, `coverage_90` | share of held-out cells inside the central 50 % (90 %) of the predicted cells. 0.5 (0.9) is right, except that zeros, which many cells share, lift it |
//! | `crps` | fair CRPS of the predicted cells: lower is better, in log-normalised units |
//! | `crps_point` | CRPS of a point at the predicted mean, `mean \|y - mean\|`: what `crps` must be below for the spread to be worth anything |
//!
//! Of each condition at most 500 observed and 500 predicted cells are used: means over the genes are then known well enough.
//!
//! They are about the spread between cells, not about the uncertainty of the mean. Genes that are silent in both sets count
//! as predicted without error (a CRPS of 0, inside every interval), as they would for any model.

use super::super::{ObservedEffects, Predicted, Scores};
use crate::eval::{calibration::Sample, sets::subsample};
use ndarray::{Array2, ArrayView2, Axis};

const LEVELS: [(&str, f64); 2] = [("coverage_50", 0.5), ("coverage_90", 0.9)];

/// Cells of a condition that are used, on each side.
const MOST_CELLS: usize = 500;

pub(super) fn measure(observed: &ObservedEffects, predicted: &Predicted, seed: u64, scores: &mut Scores) {
    let names = || LEVELS.iter().map(|(name, _)| *name).chain(["crps"]);
    let Some(cells) = &observed.cells else {
        let reason = "the dataset holds effects, so there is no spread between cells";
        names().chain(["crps_point"]).for_each(|name| scores.absent(name, reason, observed.conditions.len()));
        return;
    };
    for (index, condition) in observed.conditions.iter().enumerate() {
        let name = condition.to_string();
        let truth =
            by_gene(&cells.expression.select_cells(&subsample(&cells.rows[index], MOST_CELLS, seed)).to_dense());
        match &predicted.cells[index] {
            Err(reason) => names().for_each(|metric| scores.absent(metric, reason, 1)),
            Ok(cells) => {
                let kept = subsample(&(0..cells.nrows()).collect::<Vec<_>>(), MOST_CELLS, seed);
                let values = of_cells(&truth, &by_gene(&cells.select(Axis(0), &kept)));
                let reason = "fewer than two predicted cells, or one that is not finite";
                names().enumerate().for_each(|(k, metric)| scores.put(metric, &name, values.map(|v| v[k]), reason));
            }
        }
        match (&predicted.effects[index], &observed.controls) {
            (Ok(effect), Some(controls)) => {
                let mean = effect + &controls.row(index);
                let distances = truth.rows().into_iter().zip(&mean).map(|(cells, &mean)| {
                    cells.iter().map(|&y| (f64::from(y) - f64::from(mean)).abs()).sum::<f64>() / cells.len() as f64
                });
                let value = distances.sum::<f64>() / truth.nrows() as f64;
                scores.put("crps_point", &name, Some(value), "a predicted mean is not finite");
            }
            (Err(reason), _) => scores.absent("crps_point", reason, 1),
            (_, None) => scores.absent("crps_point", "no control says where an effect starts from", 1),
        }
    }
}

/// `(genes, cells)`, each gene's cells side by side.
fn by_gene(cells: &Array2<f32>) -> Array2<f32> {
    cells.t().as_standard_layout().into_owned()
}

/// Coverage at each level and CRPS, means over genes.
fn of_cells(observed: &Array2<f32>, predicted: &Array2<f32>) -> Option<[f64; 3]> {
    let genes = observed.nrows();
    let mut sums = [0.0; 3];
    let rows =
        |of: &ArrayView2<'_, f32>, gene: usize| -> Vec<f64> { of.row(gene).iter().map(|&v| f64::from(v)).collect() };
    let (observed, predicted) = (observed.view(), predicted.view());
    let silent = |of: &ArrayView2<'_, f32>, gene: usize| of.row(gene).iter().all(|&value| value == 0.0);
    if predicted.ncols() < 2 {
        return None;
    }
    for gene in 0..genes {
        if silent(&observed, gene) && silent(&predicted, gene) {
            // Met exactly, as the sums below would find at more length.
            sums[0] += 1.0;
            sums[1] += 1.0;
            continue;
        }
        let truth = rows(&observed, gene);
        let sample = Sample::new(rows(&predicted, gene))?;
        for (sum, (_, level)) in sums.iter_mut().zip(LEVELS) {
            *sum += sample.coverage(&truth, level)?;
        }
        sums[2] += sample.fair_crps(&truth)?;
    }
    (genes > 0).then(|| sums.map(|sum| sum / genes as f64))
}
