//! The offset of the logits with which decoded cells have a wanted mean.
//!
//! It is the residual form of the latent diffusion: what cells have in common is what the mean predictor says, how they differ is what
//! the diffusion says. For decoded cells with expected log-normalised mean E and a wanted mean t, `(genes,)` each, the logits get
//! `o += ln((e^t - 1) / (e^E - 1))` until E is t: for small rates E is in proportion to the rate, for large ones it is its logarithm,
//! and both are met by this step. With the extra zeros of a ZINB decoder, `E = mean over cells of (1 - pi) E_NB[ln(1 + s x)]`
//! ([`CountModel::expected_log1p`]), and the step takes t and E of the other counts alone, each divided by the mean of `1 - pi`.

use crate::model::{CellCovariates, NORMALISED_TOTAL, vae::CountModel};
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
    let kept = decoded.kept_share();
    for _ in 0..STEPS {
        let mean = expected(decoded, &offset, carriers, remainder);
        offset = &offset + &log_ratio(wanted, &mean, &kept);
        offset.mapv_inplace(|o: f64| o.clamp(-LARGEST, LARGEST));
    }
    offset
}

/// `ln((e^(t / k) - 1) / (e^(E / k) - 1))`, with both means at least [`SMALLEST`] and k the share that extra zeros leave.
pub(super) fn log_ratio(wanted: &Array1<f64>, mean: &Array1<f64>, kept: &Array1<f64>) -> Array1<f64> {
    let rate = |mean: f64, kept: f64| (mean.max(SMALLEST) / kept).exp_m1().ln();
    wanted.iter().zip(mean).zip(kept).map(|((&wanted, &mean), &kept)| rate(wanted, kept) - rate(mean, kept)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::vae::sample_counts;
    use ndarray::{Array2, Axis};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn cells_with_extra_zeros_have_the_wanted_mean() {
        let (cells, genes) = (400, 5);
        let logits =
            Array2::from_shape_fn((cells, genes), |(cell, gene)| (cell % 7) as f32 * 0.1 - gene as f32 * 0.5 - 3.0);
        // Half to nine tenths of the values are extra zeros.
        let zeros = Array2::from_shape_fn((cells, genes), |(cell, gene)| gene as f32 * 0.5 + (cell % 3) as f32 * 0.1);
        let plain = CountModel::negative_binomial(logits, Array2::from_elem((1, genes), 1.0));
        let decoded = plain.clone().with_extra_zeros(zeros);
        let carrier = CellCovariates { lane: 0, library_size: 300.0, size_factor: 300.0, others: Vec::new() };
        let carriers = vec![carrier; cells];
        let wanted = Array1::from(vec![2.0, 1.5, 1.0, 0.7, 0.3]);
        let offset = offset_to(&decoded, &wanted, &carriers, true);
        let reached = expected(&decoded, &offset, &carriers, true);
        assert!((&reached - &wanted).iter().all(|off| off.abs() < 0.02), "{reached} for {wanted}");
        let sizes = vec![300.0; cells];
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut sum = Array1::<f64>::zeros(genes);
        for _ in 0..20 {
            let drawn = sample_counts(&decoded.with_offset(&offset), &sizes, true, &mut rng);
            sum += &drawn.mapv(|x| (f64::from(x) * f64::from(NORMALISED_TOTAL) / 300.0).ln_1p()).sum_axis(Axis(0));
        }
        let drawn = sum / (20 * cells) as f64;
        // The standard deviation of a value is about 2, of a mean of 8,000 about 0.025.
        assert!((&drawn - &wanted).iter().all(|off| off.abs() < 0.1), "{drawn} for {wanted}");
        let without = expected(&plain, &offset, &carriers, true);
        assert!(without.iter().zip(&wanted).all(|(a, b)| *a > 1.5 * b), "extra zeros lower the mean: {without}");
    }
}
