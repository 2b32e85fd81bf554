//! Predicted cells against observed ones: do they lie alike, and not only their means?
//!
//! Cells are compared in the [`PcaSpace`](super::super::PcaSpace) of the training cells, variances and zeros in
//! log-normalised expression. Of each condition at most 2,000 observed, control and predicted cells are used.
//!
//! | metric | meaning | best |
//! |---|---|---|
//! | `edistance` | squared E-distance, unbiased (scPerturb): means only | 0, chance on both sides of it |
//! | `edistance_plain` | plain E-distance (pertpy): spread and shape, too | 0, chance above it |
//! | `edistance_control` | squared E-distance of the observed cells to control, to scale the first by; the same for every model | |
//! | `energy_test` | p-value of predicted against observed by the squared E-distance (1,000 shuffles), Holm-Sidak over the conditions | not small |
//! | `energy_test_rejected` | share of the tested conditions with such a p-value below 0.05; over all conditions | 0.05 or less |
//! | `mmd_rbf` | squared MMD, five RBF widths around the median distance of the observed cells | 0 |
//! | `mmd_energy` | energy MMD (geomloss, PerturBench): half of `edistance_plain` | 0 |
//! | `sliced_wasserstein` | sliced Wasserstein distance of order 1, 100 directions | 0 |
//! | `variance_correlation` | Pearson over genes of predicted and observed variance (scGen) | 1 |
//! | `zero_fraction_error` | median over genes of the difference in the share of zeros | 0 |
//! | `knn_retrieval` | share of the 20 nearest observed cells that are of the predicted condition; the others in the pool are control and the other conditions of its context, all with the same number of cells | 1; chance is 1 / conditions |

use super::super::{ALL, Observed, ObservedCells, Predicted, Scores};
use crate::eval::sets::{
    EDistance, EnergyTest, GeneMoments, edistance, energy_test, holm_sidak, knn_retrieval, median_gamma, mmd_rbf,
    sliced_wasserstein, subsample, variance_correlation, zero_fraction_error,
};
use ndarray::{Array2, Axis, concatenate};
use rayon::prelude::*;

/// Cells of a condition that are used, on each side; as scPerturBench.
const MOST_CELLS: usize = 2000;
/// Shuffles of the energy test, as scPerturb's `etest`.
const SHUFFLES: usize = 1000;
/// Seven cells against seven can be divided in 3,432 ways: fewer would not fill the shuffles.
const LEAST_TESTED: usize = 7;
/// Level of the energy test.
const SIGNIFICANCE: f64 = 0.05;
/// Directions of the sliced Wasserstein distance.
const DIRECTIONS: usize = 100;
/// Neighbours of a predicted cell, as ReconEval's kNN purity.
const NEIGHBOURS: usize = 20;
/// Most cells a condition gives to the pool of neighbours.
const POOL_CELLS: usize = 100;
/// Most predicted cells whose neighbours are looked up.
const QUERIES: usize = 200;

const TO_CONTROL: &str = "edistance_control";
const TEST: &str = "energy_test";
const REJECTED: &str = "energy_test_rejected";
const RETRIEVAL: &str = "knn_retrieval";
/// What needs predicted and observed cells.
const COMPARED: [&str; 8] = [
    "edistance",
    "edistance_plain",
    "mmd_rbf",
    "mmd_energy",
    "sliced_wasserstein",
    "variance_correlation",
    "zero_fraction_error",
    RETRIEVAL,
];

const FEW_OBSERVED: &str = "fewer than two observed cells";
const FEW_PREDICTED: &str = "fewer than two predicted cells";

pub(super) fn measure(observed: &Observed, predicted: &Predicted, seed: u64, scores: &mut Scores) {
    let n = observed.conditions.len();
    let all_absent = |scores: &mut Scores, reason: &str| {
        COMPARED.iter().chain(&[TO_CONTROL, TEST]).for_each(|metric| scores.absent(metric, reason, n));
        scores.absent(REJECTED, reason, 1);
    };
    let Some(cells) = &observed.cells else {
        return all_absent(scores, "an effects dataset has no cells");
    };
    let pools = match Pools::new(observed, cells, seed) {
        Ok(pools) => pools,
        Err(reason) => return all_absent(scores, &reason),
    };
    let answers: Vec<Answer> =
        (0..n).into_par_iter().map(|index| compare(observed, cells, &pools, predicted, index, seed)).collect();

    let tested: Vec<f64> = answers.iter().filter_map(|answer| Some(answer.test.as_ref().ok()?.p_value)).collect();
    let mut adjusted = holm_sidak(&tested).into_iter();
    for (answer, condition) in answers.iter().zip(&observed.conditions) {
        let name = condition.to_string();
        for (metric, value) in &answer.values {
            match value {
                Ok(value) => scores.put(metric, &name, Some(*value), "a value is not finite"),
                Err(reason) => scores.absent(metric, reason, 1),
            }
        }
        match &answer.test {
            Ok(_) => scores.put(TEST, &name, adjusted.next(), "one p-value a test"),
            Err(reason) => scores.absent(TEST, reason, 1),
        }
    }
    let rejected = holm_sidak(&tested).iter().filter(|&&p| p < SIGNIFICANCE).count() as f64 / tested.len() as f64;
    scores.put(REJECTED, ALL, (!tested.is_empty()).then_some(rejected), "no condition could be tested");
}

/// What one condition scores.
struct Answer {
    values: Vec<(&'static str, Result<f64, String>)>,
    test: Result<EnergyTest, String>,
}

fn compare(
    observed: &Observed,
    cells: &ObservedCells,
    pools: &Pools,
    predicted: &Predicted,
    index: usize,
    seed: u64,
) -> Answer {
    let rows = subsample(&cells.rows[index], MOST_CELLS, seed);
    let control = subsample(&cells.control_rows[index], MOST_CELLS, seed);
    let space = |rows: &[usize]| cells.space.of_rows(&cells.expression, rows).map_err(|e| e.to_string());
    let absent = |values: &mut Vec<_>, reason: &str| {
        values.extend(COMPARED.map(|metric| (metric, Err(reason.to_owned()))));
    };
    let mut values = Vec::new();
    let scores = match space(&rows) {
        Ok(scores) if rows.len() > 1 => scores,
        failed => {
            let reason = failed.map_or_else(|reason| reason, |_| FEW_OBSERVED.to_owned());
            values.push((TO_CONTROL, Err(reason.clone())));
            absent(&mut values, &reason);
            return Answer { values, test: Err(reason) };
        }
    };
    let to_control = space(&control).and_then(|control| {
        edistance(scores.view(), control.view(), EDistance::Squared).ok_or("fewer than two control cells".to_owned())
    });
    values.push((TO_CONTROL, to_control));

    let answer = predicted.cells[index].as_ref().map_err(Clone::clone).and_then(|answer| {
        if answer.nrows() < 2 {
            return Err(FEW_PREDICTED.to_owned());
        }
        let kept = subsample(&(0..answer.nrows()).collect::<Vec<_>>(), MOST_CELLS, seed);
        let answer = answer.select(Axis(0), &kept);
        let scores = cells.space.of_cells(&cells.expression, answer.view()).map_err(|e| e.to_string())?;
        match scores.iter().all(|score| score.is_finite()) {
            true => Ok((answer, scores)),
            false => Err("a predicted cell is not finite".to_owned()),
        }
    });
    let (answer, own) = match answer {
        Ok(answer) => answer,
        Err(reason) => {
            absent(&mut values, &reason);
            return Answer { values, test: Err(reason) };
        }
    };
    let mut put = |metric, value: Option<f64>, reason: &str| values.push((metric, value.ok_or(reason.to_owned())));
    put("edistance", edistance(own.view(), scores.view(), EDistance::Squared), "a value is not finite");
    let plain = edistance(own.view(), scores.view(), EDistance::Plain);
    put("edistance_plain", plain, "a value is not finite");
    put("mmd_energy", plain.map(|e| 0.5 * e), "a value is not finite");
    let gamma = median_gamma(scores.view());
    put(
        "mmd_rbf",
        gamma.and_then(|gamma| mmd_rbf(own.view(), scores.view(), gamma)),
        "half of the observed cells are one and the same",
    );
    put("sliced_wasserstein", sliced_wasserstein(own.view(), scores.view(), DIRECTIONS, seed), "a value is not finite");
    let moments = (GeneMoments::of_dense(answer.view()), GeneMoments::of_sparse(&cells.expression, &rows));
    let moments = moments.0.zip(moments.1);
    let of_moments = |f: fn(&GeneMoments, &GeneMoments) -> Option<f64>| moments.as_ref().and_then(|(x, y)| f(x, y));
    put(
        "variance_correlation",
        of_moments(variance_correlation),
        "the predicted cells, or the observed ones, do not vary",
    );
    put("zero_fraction_error", of_moments(zero_fraction_error), "there are no genes");
    let retrieval = pools.retrieval(observed, index, &own, seed);
    values.push((RETRIEVAL, retrieval));

    let least = own.nrows().min(scores.nrows());
    let test = match energy_test(own.view(), scores.view(), EDistance::Squared, SHUFFLES, seed) {
        Some(test) if least >= LEAST_TESTED => Ok(test),
        _ => Err(format!("fewer than {LEAST_TESTED} cells on one side")),
    };
    Answer { values, test }
}

/// The observed cells, a context at a time, that neighbours are looked for in.
struct Pools(Vec<Pool>);

struct Pool {
    context: Option<String>,
    /// Scores, `(cells, components)`.
    cells: Array2<f32>,
    /// The condition of each cell; control is one more.
    labels: Vec<u32>,
    /// Number of groups in the pool.
    groups: usize,
}

impl Pools {
    fn new(observed: &Observed, cells: &ObservedCells, seed: u64) -> Result<Self, String> {
        let mut contexts: Vec<Option<String>> = observed.conditions.iter().map(|c| c.context.clone()).collect();
        contexts.sort();
        contexts.dedup();
        let control_label = observed.conditions.len() as u32;
        let mut pools = Vec::new();
        for context in contexts {
            let conditions: Vec<usize> =
                (0..observed.conditions.len()).filter(|&index| observed.conditions[index].context == context).collect();
            // A condition with fewer cells than neighbours cannot fill a neighbourhood, and would thin all others.
            let mut members: Vec<(u32, &[usize])> = conditions
                .iter()
                .map(|&index| (index as u32, cells.rows[index].as_slice()))
                .chain(conditions.first().map(|&index| (control_label, &*cells.control_rows[index])))
                .collect();
            members.retain(|(_, rows)| rows.len() >= NEIGHBOURS);
            let each = members.iter().map(|(_, rows)| rows.len()).min().unwrap_or(0).min(POOL_CELLS);
            let (mut parts, mut labels) = (Vec::new(), Vec::new());
            for (label, rows) in &members {
                let rows = subsample(rows, each, seed);
                labels.extend(vec![*label; rows.len()]);
                parts.push(cells.space.of_rows(&cells.expression, &rows).map_err(|e| e.to_string())?);
            }
            let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
            let cells = match views.is_empty() {
                true => Array2::zeros((0, 0)),
                false => concatenate(Axis(0), &views).expect("scores on the same components"),
            };
            pools.push(Pool { context, cells, labels, groups: members.len() });
        }
        Ok(Self(pools))
    }

    fn retrieval(&self, observed: &Observed, index: usize, own: &Array2<f32>, seed: u64) -> Result<f64, String> {
        let context = &observed.conditions[index].context;
        let pool = self.0.iter().find(|pool| pool.context == *context).expect("every context has a pool");
        if !pool.labels.contains(&(index as u32)) {
            return Err(format!("fewer than {NEIGHBOURS} observed cells"));
        }
        if pool.groups < 2 {
            return Err("no control and no other condition of the context to tell it from".to_owned());
        }
        let queries = subsample(&(0..own.nrows()).collect::<Vec<_>>(), QUERIES, seed);
        let queries = own.select(Axis(0), &queries);
        knn_retrieval(queries.view(), index as u32, pool.cells.view(), &pool.labels, NEIGHBOURS)
            .ok_or("a value is not finite".to_owned())
    }
}
