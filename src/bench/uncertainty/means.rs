//! Drawn mean effects against held-out ones.

use super::LEVELS;
use crate::eval::calibration::{Sample, crps_gaussian, reliability};
use ndarray::{Array1, Array2};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// How well draws of a mean effect tell how far the prediction is off; means over genes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeanCalibration {
    /// Share of genes whose observed effect lies inside the central interval of each of [`LEVELS`].
    pub coverage: Vec<f64>,
    /// Fair CRPS of the draws.
    pub crps: f64,
    /// CRPS of the prediction as a point: its mean absolute error.
    pub crps_point: f64,
    /// CRPS of a normal distribution around the prediction, with the standard deviation of each gene's left-out residuals
    /// over all training perturbations: what knows nothing of the perturbation at hand.
    pub crps_gaussian: f64,
    /// Root mean square over genes of the draws' standard deviation: how far off the model expects to be.
    pub expected_error: f64,
    /// Root mean square over genes of how far off the prediction is.
    pub error: f64,
    /// Euclidean distance of the mean of the draws to the observed effect, as a share of the prediction's own.
    pub mean_of_draws: f64,
}

/// Judges draws `(n, genes)` of a mean effect by the observed effect; `deviation` `(genes,)` is that of the alternative that
/// knows nothing of the perturbation. `None` for fewer than two draws, other genes, or values that are not finite.
pub fn judge_means(
    observed: &Array1<f64>,
    predicted: &Array1<f64>,
    draws: &Array2<f64>,
    deviation: &Array1<f64>,
    seed: u64,
) -> Option<MeanCalibration> {
    let genes = observed.len();
    let fits = predicted.len() == genes && draws.ncols() == genes && deviation.len() == genes;
    if genes == 0 || !fits || draws.nrows() < 2 {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let n = genes as f64;
    let (mut pits, mut crps, mut gaussian, mut variance) = (Vec::with_capacity(genes), 0.0, 0.0, 0.0);
    for (gene, &y) in observed.iter().enumerate() {
        let sample = Sample::new(draws.column(gene).iter().copied())?;
        pits.push(sample.pit(y, rng.random()));
        crps += sample.fair_crps(&[y])? / n;
        gaussian += crps_gaussian(predicted[gene], deviation[gene], y)? / n;
        variance += draws.column(gene).var(1.0) / n;
    }
    let mean = draws.mean_axis(ndarray::Axis(0))?;
    let distance = |other: &Array1<f64>| (observed - other).mapv(|v| v * v).sum().sqrt();
    let off = distance(predicted);
    Some(MeanCalibration {
        coverage: reliability(&pits, &LEVELS)?,
        crps,
        crps_point: (observed - predicted).mapv(f64::abs).sum() / n,
        crps_gaussian: gaussian,
        expected_error: variance.sqrt(),
        error: off / n.sqrt(),
        mean_of_draws: if off > 0.0 { distance(&mean) / off } else { 1.0 },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_distr::StandardNormal;

    #[test]
    fn the_right_spread_has_the_right_coverage_and_the_lowest_crps() {
        let genes = 2000;
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut normal = |sd: f64| -> f64 { sd * rng.sample::<f64, _>(StandardNormal) };
        let observed: Array1<f64> = (0..genes).map(|_| normal(1.0)).collect();
        let predicted = Array1::zeros(genes);
        let mut judge = |sd: f64| {
            let draws = Array2::from_shape_fn((200, genes), |_| normal(sd));
            judge_means(&observed, &predicted, &draws, &Array1::from_elem(genes, 3.0), 0).unwrap()
        };
        let (right, narrow) = (judge(1.0), judge(0.3));
        assert!((right.coverage[8] - 0.9).abs() < 0.03, "{}", right.coverage[8]);
        assert!(narrow.coverage[8] < 0.5, "{}", narrow.coverage[8]);
        assert!(right.crps < narrow.crps && right.crps < right.crps_point && right.crps < right.crps_gaussian);
        assert!((right.expected_error / right.error - 1.0).abs() < 0.1);
        assert!((right.mean_of_draws - 1.0).abs() < 0.02, "the mean of 200 draws is the prediction");
    }
}
