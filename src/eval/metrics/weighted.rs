//! Errors with genes weighted by how much a perturbation sets them apart from all other cells.
//!
//! Over all genes alike, the many that no perturbation touches decide, and the mean of all perturbations does well. Mejia
//! et al., "Diversity by design" (bioRxiv 2025), weight gene g by the score of a t-test of the perturbation's cells against
//! the rest (scanpy's `t-test_overestim_var`), scaled to 0-1 and squared:
//!
//! ```text
//! w_g  = ((|s_g| - min |s|) / (max |s| - min |s|))^2
//! WMSE = sum w (x - y)^2 / sum w
//! R2_w = 1 - sum w (y - x)^2 / sum w (y - mean_w y)^2,      mean_w y = sum w y / sum w
//! ```
//!
//! with x the predicted and y the observed profile; for R2_w both less the mean of the perturbations.

use super::{finite, pairs};

/// The weights `(genes,)` from the scores of a test of the perturbation's cells against the rest.
///
/// All 1 where the scores are equal and not 0. `None` where they are all 0, or one is not finite.
pub fn perturbation_weights(scores: &[f64]) -> Option<Vec<f64>> {
    let sizes = || scores.iter().map(|score| score.abs());
    let (least, most) = (sizes().fold(f64::INFINITY, f64::min), sizes().fold(0.0, f64::max));
    if scores.iter().any(|score| !score.is_finite()) || most == 0.0 {
        return None;
    }
    let scaled = |size: f64| if most == least { 1.0 } else { (size - least) / (most - least) };
    Some(sizes().map(|size| scaled(size) * scaled(size)).collect())
}

/// Weighted mean squared error. `None` if the weights sum to 0 or the lengths differ.
pub fn wmse(predicted: &[f32], observed: &[f32], weights: &[f64]) -> Option<f64> {
    let total = total(predicted, weights)?;
    let sum: f64 = pairs(predicted, observed)?.zip(weights).map(|((x, y), w)| w * (x - y) * (x - y)).sum();
    finite(sum / total)
}

/// Weighted coefficient of determination, as scikit-learn's `r2_score(observed, predicted, sample_weight=weights)`.
/// `None` if the weights sum to 0, the observed values do not vary where the weight is, or the lengths differ.
pub fn r2_weighted(predicted: &[f32], observed: &[f32], weights: &[f64]) -> Option<f64> {
    let total = total(predicted, weights)?;
    let mean = pairs(predicted, observed)?.zip(weights).map(|((_, y), w)| w * y).sum::<f64>() / total;
    let (mut residual, mut spread) = (0.0, 0.0);
    for ((x, y), w) in pairs(predicted, observed)?.zip(weights) {
        residual += w * (y - x) * (y - x);
        spread += w * (y - mean) * (y - mean);
    }
    if spread > 0.0 { finite(1.0 - residual / spread) } else { None }
}

fn total(values: &[f32], weights: &[f64]) -> Option<f64> {
    let total: f64 = weights.iter().sum();
    (values.len() == weights.len() && total > 0.0).then_some(total)
}
