//! From the decoder's output to expected counts, and to drawn ones.

use super::{
    config::Likelihood,
    net::{Decoded, VaeNet},
};
use crate::nn::{Backend, ops};
use dfdx::prelude::NoneTape;
use ndarray::{Array1, Array2, Axis, Zip, parallel::prelude::*};
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma, Normal, Poisson};

/// What a decoder says of a batch, on the host; `(cells, genes)` each.
pub(in crate::model) struct CountModel {
    likelihood: Likelihood,
    output: Array2<f32>,
    /// Log theta (counts) or log sigma (Gaussian): one row for all cells, or one a cell.
    log_dispersion: Array2<f32>,
    zero_logits: Option<Array2<f32>>,
}

impl CountModel {
    pub(in crate::model) fn of<D: Backend>(net: &VaeNet<D>, decoded: Decoded<D, NoneTape>) -> Self {
        let log_dispersion = match &decoded.log_theta {
            Some(log_theta) => ops::download(log_theta),
            None => {
                let per_gene = net.log_dispersion.as_vec();
                Array2::from_shape_vec((1, per_gene.len()), per_gene).expect("one row")
            }
        };
        Self {
            likelihood: net.config().likelihood,
            output: ops::download(&decoded.output),
            log_dispersion,
            zero_logits: decoded.zero_logits.as_ref().map(ops::download),
        }
    }

    /// Negative binomials of these logits `(cells, genes)` and log theta, one row for all cells or one a cell.
    pub(in crate::model) fn negative_binomial(logits: Array2<f32>, log_theta: Array2<f32>) -> Self {
        Self { likelihood: Likelihood::Nb, output: logits, log_dispersion: log_theta, zero_logits: None }
    }

    /// The same with `offset` `(genes,)` added to the logits of every cell.
    pub(in crate::model) fn with_offset(&self, offset: &Array1<f64>) -> Self {
        Self {
            likelihood: self.likelihood,
            output: &self.output + &offset.mapv(|value| value as f32),
            log_dispersion: self.log_dispersion.clone(),
            zero_logits: self.zero_logits.clone(),
        }
    }

    /// Sum over the cells of `E[ln(1 + scale x)]` for negative binomial counts x, `(genes,)`; one size factor and one
    /// scale a cell. See [`expected_log1p`].
    pub(in crate::model) fn expected_log1p(
        &self,
        size_factor: &[f32],
        scale: &[f64],
        with_remainder: bool,
    ) -> Array1<f64> {
        let mean = self.rate(size_factor, with_remainder);
        let one_row = self.log_dispersion.nrows() == 1;
        let of_gene = |gene: usize| -> f64 {
            let of_cell = |cell: usize| {
                let theta = f64::from(self.log_dispersion[[if one_row { 0 } else { cell }, gene]]).exp();
                expected_log1p(f64::from(mean[[cell, gene]]), theta, scale[cell])
            };
            (0..mean.nrows()).map(of_cell).sum()
        };
        (0..mean.ncols()).into_par_iter().map(of_gene).collect::<Vec<f64>>().into()
    }

    /// The negative binomial's mean `softmax(output) * size_factor`, or the Gaussian's mean.
    fn rate(&self, size_factor: &[f32], with_remainder: bool) -> Array2<f32> {
        let mut mean = self.output.clone();
        if self.likelihood == Likelihood::Gaussian {
            return mean;
        }
        Zip::from(mean.rows_mut()).and(size_factor).par_for_each(|mut cell, &size| {
            // The remainder is one more class, of logit 0.
            let start = if with_remainder { 0.0 } else { f32::NEG_INFINITY };
            let top = cell.iter().copied().fold(start, f32::max);
            cell.mapv_inplace(|logit| (logit - top).exp());
            let sum = cell.sum() + if with_remainder { (-top).exp() } else { 0.0 };
            cell.mapv_inplace(|share| share / sum * size);
        });
        mean
    }

    /// The expected value, `(cells, genes)`: counts at `size_factor`, or the Gaussian's mean.
    pub(in crate::model) fn mean(&self, size_factor: &[f32], with_remainder: bool) -> Array2<f32> {
        let mut mean = self.rate(size_factor, with_remainder);
        if let Some(zero_logits) = &self.zero_logits {
            Zip::from(&mut mean).and(zero_logits).for_each(|mean, &logit| *mean *= 1.0 - sigmoid(logit));
        }
        mean
    }
}

/// `E[ln(1 + scale x)]` of x ~ NB(mean, theta), to about 1e-7 of probability: summed over x by the recursion
/// `p(x + 1) = p(x) (x + theta) / (x + 1) * mean / (mean + theta)`. Where `p(0)` is no number any more the mean is large
/// against its spread, and the second-order expansion around it stands in.
fn expected_log1p(mean: f64, theta: f64, scale: f64) -> f64 {
    const SMALLEST_LOG: f64 = -600.0;
    const REST: f64 = 1e-7;
    const MOST_TERMS: usize = 20_000;
    let log_zero = -theta * (mean / theta).ln_1p();
    if log_zero < SMALLEST_LOG || !log_zero.is_finite() {
        let (slope, variance) = (scale / (1.0 + scale * mean), mean + mean * mean / theta);
        return (scale * mean).ln_1p() - 0.5 * slope * slope * variance;
    }
    let ratio = mean / (mean + theta);
    let (mut p, mut below, mut sum) = (log_zero.exp(), 0.0, 0.0);
    for x in 0..MOST_TERMS {
        let x = x as f64;
        below += p;
        sum += p * (scale * x).ln_1p();
        if 1.0 - below < REST && x > mean {
            break;
        }
        p *= (x + theta) / (x + 1.0) * ratio;
    }
    sum
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Draws one value a cell and gene: `Poisson(Gamma(theta, mean / theta))` is the negative binomial; a zero instead with
/// probability `sigmoid(zero_logit)`. Every cell has its own stream, so the draw does not depend on the thread count.
pub(in crate::model) fn sample_counts(
    model: &CountModel,
    size_factor: &[f32],
    with_remainder: bool,
    rng: &mut ChaCha8Rng,
) -> Array2<f32> {
    let mut values = model.rate(size_factor, with_remainder);
    let seed = rng.next_u64();
    values.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(cell, mut row)| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(cell as u64);
        let dispersion = model.log_dispersion.row(if model.log_dispersion.nrows() == 1 { 0 } else { cell });
        for (gene, value) in row.iter_mut().enumerate() {
            *value = match (model.likelihood, &model.zero_logits) {
                (Likelihood::Gaussian, _) => normal(*value, dispersion[gene].exp(), &mut rng),
                (_, Some(zero)) if rng.random::<f32>() < sigmoid(zero[[cell, gene]]) => 0.0,
                _ => negative_binomial(*value, dispersion[gene].exp(), &mut rng),
            };
        }
    });
    values
}

fn normal(mean: f32, sigma: f32, rng: &mut ChaCha8Rng) -> f32 {
    // An infinite sigma has no distribution; its mean is the honest answer.
    Normal::new(mean, sigma).map_or(mean, |normal| normal.sample(rng))
}

/// A draw from NB(mean, theta). Parameters outside what can be drawn (a mean of 0, a theta that overflowed) fall back
/// to the limit of the distribution there: 0, or Poisson.
fn negative_binomial(mean: f32, theta: f32, rng: &mut ChaCha8Rng) -> f32 {
    let rate = match Gamma::new(theta, mean / theta) {
        Ok(gamma) => gamma.sample(rng),
        Err(_) => mean,
    };
    Poisson::new(rate).map_or(0.0, |poisson| poisson.sample(rng))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_the_mean_and_variance_of_a_negative_binomial() {
        let (n, mean, theta) = (4000, 6.0f32, 2.0f32);
        let model = CountModel {
            likelihood: Likelihood::Nb,
            output: Array2::zeros((n, 2)), // two genes of equal share
            log_dispersion: Array2::from_elem((1, 2), theta.ln()),
            zero_logits: None,
        };
        let draws = sample_counts(&model, &vec![2.0 * mean; n], false, &mut ChaCha8Rng::seed_from_u64(1));
        let column = draws.column(0).mapv(f64::from);
        let (m, v) = (column.mean().expect("not empty"), column.var(1.0));
        // Standard error of the mean: sqrt(24 / 4000) = 0.08; of the variance about 1.3.
        assert!((m - 6.0).abs() < 0.4, "mean {m}");
        assert!((v - 24.0).abs() < 5.0, "variance {v}, expected mu + mu^2 / theta = 24");
        assert!(column.iter().all(|&x| x.fract() == 0.0 && x >= 0.0), "counts are whole numbers");
    }

    #[test]
    fn the_remainder_takes_its_share_and_zeros_lower_the_mean() {
        let model = CountModel {
            likelihood: Likelihood::Zinb,
            output: Array2::zeros((1, 3)),
            log_dispersion: Array2::zeros((1, 3)),
            zero_logits: Some(Array2::zeros((1, 3))),
        };
        // Three genes and the remainder share 100 counts; half of each is lost to extra zeros.
        assert!(model.mean(&[100.0], true).iter().all(|&m| (m - 12.5).abs() < 1e-4));
        assert!(model.mean(&[100.0], false).iter().all(|&m| (m - 100.0 / 6.0).abs() < 1e-4));
    }
}
