//! Distances and agreements of two effect vectors `(genes,)`: a predicted and an observed one.
//!
//! An effect is the difference of mean log-normalised expression to control, `d_g = mean_p(y_g) - mean_control(y_g)`.
//! Each function is pure, takes `predicted` and `observed` in that order, and returns `None` where the quantity is not
//! defined (a constant vector has no correlation): never NaN, and never 0 in place of nothing. Vectors of different lengths are a
//! mistake of the caller and also give `None`. Sums run in f64.
//!
//! Here are distances and correlations over the given genes, the same with weighted genes, and effects as fold changes;
//! `identity` asks whether a prediction is nearest to its own perturbation.
//!
//! **Weighted genes.** Over all genes alike, the many genes that no perturbation touches decide, and the mean of all
//! perturbations does well. Mejia et al., "Diversity by design" (bioRxiv 2025), weight gene g by the score of a t-test of the
//! perturbation's cells against the rest (scanpy's `t-test_overestim_var`), scaled to 0-1 and squared:
//!
//! ```text
//! w_g  = ((|s_g| - min |s|) / (max |s| - min |s|))^2
//! WMSE = sum w (x - y)^2 / sum w
//! R2_w = 1 - sum w (y - x)^2 / sum w (y - mean_w y)^2,      mean_w y = sum w y / sum w
//! ```
//!
//! with x the predicted and y the observed profile; R2_w takes both minus the mean of the perturbations.
//!
//! **Fold changes** are log2 fold changes of mean profiles. A predicted mean below zero (a large predicted loss of a gene that
//! control hardly expresses) counts as zero.

mod identity;

pub use identity::{Separation, centroid_accuracy, discrimination_score, perturbench_rank};

use super::de::log2_fold_change;

/// What PerturBench adds to a mean before it takes the logarithm (Wu et al. 2024, `logFC_adata(pseudocount=0.1)`).
pub const PERTURBENCH_PSEUDOCOUNT: f64 = 0.1;

/// Pearson correlation: `sum (x - mean x)(y - mean y) / sqrt(sum (x - mean x)^2 sum (y - mean y)^2)`.
///
/// On effects it is the field's "Pearson delta" (GEARS and cell-eval `pearson_delta`, without the absolute value that the
/// STATE paper mentions; GEARS puts 0 where it is not defined). `None` if either vector is constant.
pub fn pearson(predicted: &[f32], observed: &[f32]) -> Option<f64> {
    let (mean_x, mean_y) = (mean(predicted)?, mean(observed)?);
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in pairs(predicted, observed)? {
        let (x, y) = (x - mean_x, y - mean_y);
        xy += x * y;
        xx += x * x;
        yy += y * y;
    }
    // Rounding may leave a trace of variance in a constant vector, so the values themselves are compared.
    if is_constant(predicted) || is_constant(observed) {
        return None;
    }
    finite((xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0))
}

/// Spearman correlation: Pearson of the ranks, equal values sharing their mean rank.
pub fn spearman(predicted: &[f32], observed: &[f32]) -> Option<f64> {
    if pairs(predicted, observed)?.any(|(x, y)| x.is_nan() || y.is_nan()) {
        return None;
    }
    pearson(&ranks(predicted), &ranks(observed))
}

/// Coefficient of determination: `1 - sum (y - x)^2 / sum (y - mean y)^2`, y observed; as scikit-learn's `r2_score`.
///
/// Not the square of Pearson: it is negative for a prediction that is worse than the mean of the observed.
pub fn r2(predicted: &[f32], observed: &[f32]) -> Option<f64> {
    let mean_y = mean(observed)?;
    let residual = sum_over(predicted, observed, |x, y| (y - x) * (y - x))?;
    let total = sum_over(predicted, observed, |_, y| (y - mean_y) * (y - mean_y))?;
    if is_constant(observed) { None } else { finite(1.0 - residual / total) }
}

/// Mean squared error: `sum (x - y)^2 / genes`.
pub fn mse(predicted: &[f32], observed: &[f32]) -> Option<f64> {
    let sum = sum_over(predicted, observed, |x, y| (x - y) * (x - y))?;
    finite(sum / predicted.len() as f64)
}

/// Mean absolute error: `sum |x - y| / genes`.
pub fn mae(predicted: &[f32], observed: &[f32]) -> Option<f64> {
    let sum = sum_over(predicted, observed, |x, y| (x - y).abs())?;
    finite(sum / predicted.len() as f64)
}

/// Root of the mean squared error.
pub fn rmse(predicted: &[f32], observed: &[f32]) -> Option<f64> {
    mse(predicted, observed).map(f64::sqrt)
}

/// Euclidean distance: `sqrt(sum (x - y)^2)`, the headline distance of Ahlmann-Eltze et al., Nature Methods 2025.
pub fn l2(predicted: &[f32], observed: &[f32]) -> Option<f64> {
    sum_over(predicted, observed, |x, y| (x - y) * (x - y)).map(f64::sqrt).and_then(finite)
}

/// Cosine similarity: `sum x y / (|x| |y|)`. `None` if either vector is zero.
pub fn cosine(predicted: &[f32], observed: &[f32]) -> Option<f64> {
    let xy = sum_over(predicted, observed, |x, y| x * y)?;
    let xx = sum_over(predicted, observed, |x, _| x * x)?;
    let yy = sum_over(predicted, observed, |_, y| y * y)?;
    if xx == 0.0 || yy == 0.0 { None } else { finite((xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0)) }
}

/// `x - reference` gene by gene, where a difference that rounding alone can make counts as none: the mean of some
/// effects, subtracted from itself after another order of summation, is a constant and not a direction.
pub fn difference(x: &[f32], reference: &[f32]) -> Vec<f32> {
    const ROUNDING: f32 = 16.0 * f32::EPSILON;
    let beyond = |(&x, &r): (&f32, &f32)| {
        let difference = x - r;
        if difference.abs() <= ROUNDING * x.abs().max(r.abs()) { 0.0 } else { difference }
    };
    x.iter().zip(reference).map(beyond).collect()
}

/// The values at `places`.
pub(crate) fn pick(values: &[f32], places: &[usize]) -> Vec<f32> {
    places.iter().map(|&place| values[place]).collect()
}

/// Ranks from 1, equal values sharing their mean rank.
pub(crate) fn ranks(values: &[f32]) -> Vec<f32> {
    // Value and place in one integer: bits that sort as the values do, -0 as 0, so that a sort looks at nothing else.
    let key = |(place, &value): (usize, &f32)| {
        let bits = (value + 0.0).to_bits();
        let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
        (u64::from(ordered) << 32) | place as u64
    };
    let mut order: Vec<u64> = values.iter().enumerate().map(key).collect();
    order.sort_unstable();
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    for run in order.chunk_by(|a, b| a >> 32 == b >> 32) {
        let rank = start as f32 + (run.len() + 1) as f32 / 2.0;
        run.iter().for_each(|&key| ranks[(key & 0xffff_ffff) as usize] = rank);
        start += run.len();
    }
    ranks
}

fn pairs<'a>(x: &'a [f32], y: &'a [f32]) -> Option<impl Iterator<Item = (f64, f64)> + 'a> {
    (x.len() == y.len() && !x.is_empty()).then(|| x.iter().zip(y).map(|(&x, &y)| (f64::from(x), f64::from(y))))
}

fn sum_over(x: &[f32], y: &[f32], term: impl Fn(f64, f64) -> f64) -> Option<f64> {
    // Eight sums side by side: one alone waits for each addition before the next.
    const LANES: usize = 8;
    if x.len() != y.len() || x.is_empty() {
        return None;
    }
    let term = |(&x, &y): (&f32, &f32)| term(f64::from(x), f64::from(y));
    let ((whole_x, rest_x), (whole_y, rest_y)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (x, y) in whole_x.iter().zip(whole_y) {
        lanes.iter_mut().zip(x.iter().zip(y).map(term)).for_each(|(sum, term)| *sum += term);
    }
    Some(lanes.iter().sum::<f64>() + rest_x.iter().zip(rest_y).map(term).sum::<f64>())
}

fn mean(values: &[f32]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64)
}

fn is_constant(values: &[f32]) -> bool {
    values.iter().all(|value| *value == values[0])
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

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

/// PerturBench's log fold change `(genes,)`: `log2(mean + 0.1) - log2(mean_control + 0.1)`, of means of log-normalised
/// expression (it does not undo the logarithm of the cells). `control` and `effect` are `(genes,)`.
pub fn perturbench_log_fold_change(control: &[f32], effect: &[f32]) -> Vec<f32> {
    let log = |mean: f64| (mean.max(0.0) + PERTURBENCH_PSEUDOCOUNT).log2();
    let fold = |(&control, &effect): (&f32, &f32)| {
        let control = f64::from(control);
        (log(control + f64::from(effect)) - log(control)) as f32
    };
    control.iter().zip(effect).map(fold).collect()
}

/// scanpy's log fold change `(genes,)` of a predicted mean: `log2((exp(mean) - 1 + 1e-9) / (exp(mean_control) - 1 + 1e-9))`.
pub fn fold_change_of_means(control: &[f32], effect: &[f32]) -> Vec<f32> {
    let fold = |(&control, &effect): (&f32, &f32)| {
        let control = f64::from(control).max(0.0);
        log2_fold_change((control + f64::from(effect)).max(0.0), control) as f32
    };
    control.iter().zip(effect).map(fold).collect()
}
