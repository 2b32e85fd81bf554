//! Predicted cells against observed ones: as sets, and gene by gene.
//!
//! **As sets**: do they lie alike, and not only their means?
//!
//! Cells are compared in the [`PcaSpace`](super::super::PcaSpace) of the training cells, variances and zeros in
//! log-normalised expression. Of each condition at most 2,000 observed, control and predicted cells are used.
//!
//! | metric | meaning | best |
//! |---|---|---|
//! | `edistance` | squared E-distance, unbiased (scPerturb): means only | 0, with chance on both sides of it |
//! | `edistance_plain` | plain E-distance (pertpy): spread and shape, too | 0, with chance above it |
//! | `mmd_rbf` | squared MMD, five RBF widths around the median distance of the observed cells | 0 |
//! | `mmd_energy` | energy MMD (geomloss, PerturBench): half of `edistance_plain` | 0 |
//! | `sliced_wasserstein` | sliced Wasserstein distance of order 1, 100 directions | 0 |
//! | `variance_correlation` | Pearson over genes of predicted and observed variance (scGen) | 1 |
//! | `zero_fraction_error` | median over genes of the difference in the share of zeros | 0 |
//! | `knn_retrieval` | share of the 20 nearest observed cells that are of the predicted condition; the pool holds as many cells of control and of each other condition of the context | 1; chance is 1 / (conditions + 1) |
//! | `etest_p_adjusted` | p-value of predicted against observed cells by the squared E-distance (scPerturb `etest`, 1,000 shuffles), Holm-Sidak over the conditions | describes |
//! | `energy_test_rejected` | share of the tested conditions with such a p-value below 0.05, over all conditions | 0 |
//! | `control_separation` | squared E-distance of the observed cells to control, to scale `edistance` by; the same for every model | describes |
//!
//! **Gene by gene**: is the predicted spread between cells the observed one?
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
//! Of each condition at most 500 observed and 500 predicted cells are used, which is enough for means over genes.
//!
//! They are about the spread between cells, not about the uncertainty of the mean. Genes that are silent in both sets count
//! as predicted without error (a CRPS of 0, inside every interval), as they would for any model.

use super::{
    super::{ALL, MOST_CELLS, ObservedCells, ObservedEffects, Predicted, Scores, cell_truth::CellTruth},
    Sheet,
};
use crate::eval::{
    calibration::Sample,
    sets::{
        EDistance, GeneMoments, edistance, energy_test, holm_sidak, mmd_rbf, sliced_wasserstein, subsample,
        subsample_cells, variance_correlation, zero_fraction_error,
    },
};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

/// Central intervals whose coverage is measured.
const LEVELS: [(&str, f64); 2] = [("coverage_50", 0.5), ("coverage_90", 0.9)];

/// Cells of a condition that calibration uses, on each side.
const CALIBRATION_CELLS: usize = 500;
/// Shuffles of the energy test, as scPerturb's `etest`.
const SHUFFLES: usize = 1000;
/// Seven cells against seven can be divided in 3,432 ways: fewer would not fill the shuffles.
const LEAST_TESTED: usize = 7;
/// Level of the energy test.
const SIGNIFICANCE: f64 = 0.05;
/// Directions of the sliced Wasserstein distance.
const DIRECTIONS: usize = 100;

const SEPARATION: &str = "control_separation";
const TEST: &str = "etest_p_adjusted";
const REJECTED: &str = "energy_test_rejected";
/// What needs predicted and observed cells, in the order of [`Compared::values`].
const COMPARED: [&str; 8] = [
    "edistance",
    "edistance_plain",
    "mmd_rbf",
    "mmd_energy",
    "sliced_wasserstein",
    "variance_correlation",
    "zero_fraction_error",
    "knn_retrieval",
];

pub(super) fn sets(observed: &ObservedEffects, predicted: &Predicted, seed: u64, scores: &mut Scores) {
    let n = observed.conditions.len();
    let (truth, cells) = match (observed.cell_truth(), &observed.cells) {
        (Ok(truth), Some(cells)) => (truth, cells),
        (truth, _) => {
            let reason = truth.err().unwrap_or("there are no cells to compare");
            COMPARED.iter().chain(&[SEPARATION, TEST]).for_each(|metric| scores.absent(metric, reason, n));
            return scores.absent(REJECTED, reason, 1);
        }
    };
    let compared: Vec<Result<Compared, String>> =
        (0..n).into_par_iter().map(|index| Compared::new(observed, cells, truth, predicted, index, seed)).collect();
    let tested: Vec<f64> = compared.iter().filter_map(|compared| compared.as_ref().ok()?.p_value).collect();
    let adjusted = holm_sidak(&tested);
    let mut of_condition = adjusted.iter();
    for (index, compared) in compared.into_iter().enumerate() {
        let mut sheet = Sheet::new(scores, observed, index);
        match &truth.sets[index] {
            Ok(set) => sheet.put(SEPARATION, set.to_control, "fewer than two control cells"),
            Err(reason) => sheet.absent(&[SEPARATION], reason),
        }
        let compared = match compared {
            Ok(compared) => compared,
            Err(reason) => {
                sheet.absent(&COMPARED, &reason);
                sheet.absent(&[TEST], &reason);
                continue;
            }
        };
        for (metric, value) in COMPARED.iter().zip(compared.values) {
            match value {
                Ok(value) => sheet.put(metric, Some(value), "the value is not finite"),
                Err(reason) => sheet.absent(&[metric], &reason),
            }
        }
        let p = compared.p_value.and_then(|_| of_condition.next().copied());
        sheet.put(TEST, p, &format!("fewer than {LEAST_TESTED} cells on one side"));
    }
    let rejected = adjusted.iter().filter(|&&p| p < SIGNIFICANCE).count() as f64 / tested.len() as f64;
    scores.put(REJECTED, ALL, (!tested.is_empty()).then_some(rejected), "no condition could be tested");
}

/// What one condition scores.
struct Compared {
    /// The values of [`COMPARED`], or the reasons why there are none.
    values: [Result<f64, String>; COMPARED.len()],
    /// Of the energy test, not adjusted.
    p_value: Option<f64>,
}

impl Compared {
    fn new(
        observed: &ObservedEffects,
        cells: &ObservedCells,
        truth: &CellTruth,
        predicted: &Predicted,
        index: usize,
        seed: u64,
    ) -> Result<Self, String> {
        let set = truth.sets[index].as_ref().map_err(Clone::clone)?;
        let answer = predicted.cells[index].as_ref().map_err(Clone::clone)?;
        if answer.nrows() < 2 {
            return Err("fewer than two predicted cells".to_owned());
        }
        let drawn: Option<Array2<f32>> =
            (answer.nrows() > MOST_CELLS).then(|| subsample_cells(answer.view(), MOST_CELLS, seed));
        let answer: ArrayView2<'_, f32> = drawn.as_ref().unwrap_or(answer).view();
        let own = cells.space.of_cells(&cells.expression, answer).map_err(|error| error.to_string())?;
        if own.iter().any(|score| !score.is_finite()) {
            return Err("a predicted cell is not finite".to_owned());
        }
        let moments = GeneMoments::of_dense(answer).ok_or("there are no genes")?;
        let (x, y) = (own.view(), set.scores.view());
        let or = |value: Option<f64>, reason: &str| value.ok_or_else(|| reason.to_owned());
        let unsound = "the cells do not make two sets of one space";
        let plain = or(edistance(x, y, EDistance::Plain), unsound);
        let values = [
            or(edistance(x, y, EDistance::Squared), unsound),
            plain.clone(),
            or(set.gamma.and_then(|gamma| mmd_rbf(x, y, gamma)), "half of the observed cells are one and the same"),
            plain.map(|plain| 0.5 * plain),
            or(sliced_wasserstein(x, y, DIRECTIONS, seed), unsound),
            or(variance_correlation(&moments, &set.moments), "all genes of one side vary alike, or not at all"),
            or(zero_fraction_error(&moments, &set.moments), "there are no genes"),
            truth.retrieval(observed, index, &own),
        ];
        let p_value = (x.nrows().min(y.nrows()) >= LEAST_TESTED)
            .then(|| energy_test(x, y, EDistance::Squared, SHUFFLES, seed))
            .flatten()
            .map(|test| test.p_value);
        Ok(Self { values, p_value })
    }
}

pub(super) fn calibration(observed: &ObservedEffects, predicted: &Predicted, seed: u64, scores: &mut Scores) {
    let names = || LEVELS.iter().map(|(name, _)| *name).chain(["crps"]);
    let Some(cells) = &observed.cells else {
        let reason = "the dataset holds effects, so there is no spread between cells";
        names().chain(["crps_point"]).for_each(|name| scores.absent(name, reason, observed.conditions.len()));
        return;
    };
    for (index, condition) in observed.conditions.iter().enumerate() {
        let name = condition.to_string();
        let truth =
            by_gene(&cells.expression.select_cells(&subsample(&cells.rows[index], CALIBRATION_CELLS, seed)).to_dense());
        match &predicted.cells[index] {
            Err(reason) => names().for_each(|metric| scores.absent(metric, reason, 1)),
            Ok(cells) => {
                let values =
                    coverage_and_crps(&truth, &by_gene(&subsample_cells(cells.view(), CALIBRATION_CELLS, seed)));
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
fn coverage_and_crps(observed: &Array2<f32>, predicted: &Array2<f32>) -> Option<[f64; 3]> {
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
