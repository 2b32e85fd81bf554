//! Cells whose mean is a wanted one: an offset a gene to the logits of a count decoder.
//!
//! The residual form of the latent diffusion: what cells have in common is what the mean predictor says, how they differ
//! is what the diffusion says. For decoded cells with expected log-normalised mean E and a wanted mean t, `(genes,)` each,
//! the logits get `o += ln((e^t - 1) / (e^E - 1))` until E is t: for small rates E is in proportion to the rate, for large
//! ones it is its logarithm, and both are met by this step.

use crate::model::{
    NORMALISED_TOTAL,
    vae::{CellCovariates, CountModel},
};
use ndarray::Array1;

/// Steps; each takes off most of what is left.
const STEPS: usize = 6;
/// Means below it are not told from zero: about one count in ten thousand cells.
const SMALLEST: f64 = 1e-4;
/// Largest offset, a factor of 150.
const LARGEST: f64 = 5.0;

/// Expected log-normalised expression of decoded cells with `offset` added to their logits, mean over the cells, `(genes,)`.
pub(super) fn expected(
    decoded: &CountModel,
    offset: &Array1<f64>,
    carriers: &[CellCovariates],
    remainder: bool,
) -> Array1<f64> {
    let sizes: Vec<f32> = carriers.iter().map(|carrier| carrier.size_factor).collect();
    let scales: Vec<f64> = carriers.iter().map(|c| f64::from(NORMALISED_TOTAL / c.library_size.max(1.0))).collect();
    decoded.with_offset(offset).expected_log1p(&sizes, &scales, remainder) / carriers.len().max(1) as f64
}

/// The offset `(genes,)` with which the decoded cells have the wanted mean.
pub(super) fn offset_to(
    decoded: &CountModel,
    wanted: &Array1<f64>,
    carriers: &[CellCovariates],
    remainder: bool,
) -> Array1<f64> {
    let mut offset = Array1::zeros(wanted.len());
    for _ in 0..STEPS {
        let mean = expected(decoded, &offset, carriers, remainder);
        offset = &offset + &log_ratio(wanted, &mean);
        offset.mapv_inplace(|o: f64| o.clamp(-LARGEST, LARGEST));
    }
    offset
}

/// `ln((e^t - 1) / (e^E - 1))`, with both means at least [`SMALLEST`].
pub(super) fn log_ratio(wanted: &Array1<f64>, mean: &Array1<f64>) -> Array1<f64> {
    let rate = |mean: f64| mean.max(SMALLEST).exp_m1().ln();
    wanted.iter().zip(mean).map(|(&wanted, &mean)| rate(wanted) - rate(mean)).collect()
}
