//! Is the predicted spread the true one? Pure functions on samples, intervals and errors.
//!
//! A predictor that gives a distribution (cells, draws, a mean with a standard deviation) is calibrated if what it calls 90 %
//! holds 90 % of what is observed, and sharp if its intervals are narrow; the CRPS rewards both.
//!
//! Sources: Gneiting and Raftery, JASA 2007 (CRPS; strictly proper); Gneiting, Balabdaoui and Raftery, JRSS B 2007
//! (probability integral transform); Ferro, QJRMS 2014 (fair CRPS of an ensemble).

use super::{normal_cdf, pearson};
use std::f64::consts::PI;

/// A sample of a predicted distribution, sorted once for many questions.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Ascending, finite, at least one.
    values: Vec<f64>,
    /// `sums[i]` is the sum of the first i values.
    sums: Vec<f64>,
}

impl Sample {
    /// `None` if there is no value or one is not finite.
    pub fn new(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        values.sort_unstable_by(f64::total_cmp);
        let mut sum = 0.0;
        let sums = std::iter::once(0.0)
            .chain(values.iter().map(|value| {
                sum += value;
                sum
            }))
            .collect();
        Some(Self { values, sums })
    }

    /// Quantile with linear interpolation between order statistics (numpy's default, type 7); `p` in 0..=1.
    pub fn quantile(&self, p: f64) -> f64 {
        let place = p.clamp(0.0, 1.0) * (self.values.len() - 1) as f64;
        let lower = place.floor() as usize;
        let upper = (lower + 1).min(self.values.len() - 1);
        self.values[lower] + place.fract() * (self.values[upper] - self.values[lower])
    }

    /// The central interval of a level: the quantiles `(1 - level) / 2` and `(1 + level) / 2`.
    pub fn interval(&self, level: f64) -> (f64, f64) {
        (self.quantile((1.0 - level) / 2.0), self.quantile((1.0 + level) / 2.0))
    }

    /// Share of `observed` inside the central interval of a level, its ends included. Where many values are equal (zeros of
    /// counts) the interval holds more than its level by itself, so a coverage above the level is then no fault. `None` for
    /// no observation.
    pub fn coverage(&self, observed: &[f64], level: f64) -> Option<f64> {
        let (low, high) = self.interval(level);
        let inside = observed.iter().filter(|&&y| (low..=high).contains(&y)).count();
        (!observed.is_empty()).then(|| inside as f64 / observed.len() as f64)
    }

    /// Mean distance of the sample to `y`, `sum_i |x_i - y| / m`, in O(log m).
    fn distance(&self, y: f64) -> f64 {
        let m = self.values.len();
        let below = self.values.partition_point(|&x| x <= y);
        let total = self.sums[m];
        (below as f64 * y - self.sums[below] + total - self.sums[below] - (m - below) as f64 * y) / m as f64
    }

    /// `sum_i sum_j |x_i - x_j|`.
    fn spread(&self) -> f64 {
        let m = self.values.len() as f64;
        2.0 * self.values.iter().enumerate().map(|(i, x)| (2.0 * i as f64 + 1.0 - m) * x).sum::<f64>()
    }

    /// Continuous ranked probability score of the sample's empirical distribution,
    /// `E|X - y| - E|X - X'| / 2` with both means over all m (m^2) draws: exactly the integral of `(F - 1{x >= y})^2`.
    pub fn crps(&self, y: f64) -> f64 {
        let m = self.values.len() as f64;
        self.distance(y) - self.spread() / (2.0 * m * m)
    }

    /// Mean fair CRPS over observations: the same with `E|X - X'|` over the `m (m - 1)` pairs of different draws, whose expected
    /// value does not depend on m, so that samples of different sizes compare. `None` for fewer than two draws or no
    /// observation.
    pub fn fair_crps(&self, observed: &[f64]) -> Option<f64> {
        let m = self.values.len() as f64;
        if m < 2.0 || observed.is_empty() {
            return None;
        }
        // Expression is mostly zeros, so an observation is often the one before it.
        let mut last = (observed[0], self.distance(observed[0]));
        let mut sum = 0.0;
        for &y in observed {
            if y != last.0 {
                last = (y, self.distance(y));
            }
            sum += last.1;
        }
        let distance = sum / observed.len() as f64;
        Some(distance - self.spread() / (2.0 * m * (m - 1.0)))
    }

    /// Probability integral transform of `y`: the share of the sample below it, plus the part `u` (0..=1) of the share equal
    /// to it. With u drawn uniformly, the transforms of a calibrated prediction are uniform, ties or not (Czado, Gneiting
    /// and Held, Biometrics 2009).
    pub fn pit(&self, y: f64, u: f64) -> f64 {
        let below = self.values.partition_point(|&x| x < y);
        let up_to = self.values.partition_point(|&x| x <= y);
        (below as f64 + u * (up_to - below) as f64) / self.values.len() as f64
    }
}

/// CRPS of a normal prediction: `sigma (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt pi)`, `z = (y - mean) / sigma`; the distance
/// `|y - mean|` for a `sigma` of 0. `None` for a negative or not finite argument.
pub fn crps_gaussian(mean: f64, sigma: f64, y: f64) -> Option<f64> {
    if !(mean.is_finite() && sigma.is_finite() && y.is_finite()) || sigma < 0.0 {
        return None;
    }
    if sigma == 0.0 {
        return Some((y - mean).abs());
    }
    let z = (y - mean) / sigma;
    let phi = (-0.5 * z * z).exp() / (2.0 * PI).sqrt();
    Some(sigma * (z * (2.0 * normal_cdf(z) - 1.0) + 2.0 * phi - 1.0 / PI.sqrt()))
}

/// Share of the transforms in each of `bins` equal bins of 0..=1; flat if calibrated, a U if too narrow, a hump if too wide.
/// `None` for no transform, no bin, or one outside.
pub fn pit_histogram(pits: &[f64], bins: usize) -> Option<Vec<f64>> {
    if pits.is_empty() || bins == 0 || pits.iter().any(|pit| !(0.0..=1.0).contains(pit)) {
        return None;
    }
    let mut shares = vec![0.0; bins];
    pits.iter().for_each(|pit| shares[((pit * bins as f64) as usize).min(bins - 1)] += 1.0 / pits.len() as f64);
    Some(shares)
}

/// The reliability curve: for each level, the share of observations whose transform lies in the middle `level` of 0..=1, that
/// is, inside the central interval of that level. On the diagonal if calibrated. `None` for no transform.
pub fn reliability(pits: &[f64], levels: &[f64]) -> Option<Vec<f64>> {
    let inside = |level: f64| pits.iter().filter(|pit| (*pit - 0.5).abs() <= level / 2.0).count();
    (!pits.is_empty()).then(|| levels.iter().map(|&level| inside(level) as f64 / pits.len() as f64).collect())
}

/// Mean distance of a reliability curve from the diagonal, `mean |observed - level|` (expected calibration error of
/// regression; Kuleshov et al., ICML 2018, there squared). `None` for no level.
pub fn calibration_error(levels: &[f64], observed: &[f64]) -> Option<f64> {
    let gaps = levels.iter().zip(observed).map(|(level, got)| (got - level).abs());
    (!levels.is_empty() && levels.len() == observed.len()).then(|| gaps.sum::<f64>() / levels.len() as f64)
}

/// Pearson correlation of predicted and observed variances, one a gene. `None` if either is constant.
pub fn variance_correlation(predicted: &[f32], observed: &[f32]) -> Option<f64> {
    pearson(predicted, observed)
}

/// Selective prediction: with the cases ordered from the surest (lowest `uncertainty`), the mean error of the first k, for every
/// k, as `(kept fraction, mean error)`. A useful uncertainty makes it rise. Equally sure cases come in together. `None` for no
/// case, different lengths or a value that is not finite.
pub fn selective_curve(errors: &[f64], uncertainty: &[f64]) -> Option<Vec<(f64, f64)>> {
    let finite = |values: &[f64]| values.iter().all(|value| value.is_finite());
    if errors.is_empty() || errors.len() != uncertainty.len() || !finite(errors) || !finite(uncertainty) {
        return None;
    }
    let mut cases: Vec<(f64, f64)> = uncertainty.iter().copied().zip(errors.iter().copied()).collect();
    cases.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut kept, mut sum) = (0_usize, 0.0);
    let mut curve = Vec::new();
    for group in cases.chunk_by(|a, b| a.0 == b.0) {
        kept += group.len();
        sum += group.iter().map(|(_, error)| error).sum::<f64>();
        curve.push((kept as f64 / errors.len() as f64, sum / kept as f64));
    }
    Some(curve)
}
