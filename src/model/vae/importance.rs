//! Importance weights: a bound of `ln p(x|c)` from several draws of z, as an objective and as a measurement.
//!
//! ```text
//! z_k ~ q(z|x,c)                     k = 1 ... K
//! w_k = p(x|z_k,c) p(z_k) / q(z_k|x,c)
//! L_K = E ln (1/K sum_k w_k)         L_1 = ELBO <= L_2 <= ... <= ln p(x|c)        (Burda et al. 2016, theorem 1)
//! ```

use super::{
    batch::VaeBatch,
    model::{CountVae, on_device},
    net::{Posterior, VaeNet},
};
use crate::{
    Result,
    data::Dataset,
    nn::{Backend, Matrix, Vector, ops},
};
use dfdx::{
    prelude::{HasShape, NoneTape, Tape},
    tensor_ops::{TryMul, TrySub},
};
use ndarray::{Array2, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Several draws of z per cell, the draws of a cell in consecutive rows.
pub(super) struct Draws<D: Backend, T: Tape<f32, D>> {
    samples: usize,
    /// `(cells samples, latent)`
    pub z: Matrix<D, T>,
    /// `(cells samples, condition)`
    pub condition: Matrix<D, T>,
    mu: Matrix<D, T>,
    logvar: Matrix<D, T>,
}

impl<D: Backend, T: Tape<f32, D>> Draws<D, T> {
    /// With standard normal noise `(cells samples, latent)`.
    pub fn new(posterior: Posterior<D, T>, condition: Matrix<D, T>, samples: usize, noise: Matrix<D>) -> Result<Self> {
        let cells = posterior.mu.shape().0 as u32;
        let rows: Arc<[u32]> = (0..cells).flat_map(|cell| std::iter::repeat_n(cell, samples)).collect();
        let (mu, logvar) = (D::take_rows(posterior.mu, &rows)?, D::take_rows(posterior.logvar, &rows)?);
        let (of_mu, of_logvar) = (mu.retaped::<T>(), logvar.retaped::<T>());
        let z = ops::reparameterise(mu, logvar, noise)?;
        Ok(Self { samples, z, condition: D::take_rows(condition, &rows)?, mu: of_mu, logvar: of_logvar })
    }

    /// `ln p(z) - ln q(z|x,c)` of each draw, `(cells samples,)`.
    pub fn log_ratio(&self) -> Result<Vector<D, T>> {
        ops::gaussian_log_ratio(self.z.retaped::<T>(), self.mu.retaped::<T>(), self.logvar.retaped::<T>())
    }

    /// The same values without a tape.
    pub fn untaped(&self) -> Draws<D, NoneTape> {
        Draws {
            samples: self.samples,
            z: self.z.retaped(),
            condition: self.condition.retaped(),
            mu: self.mu.retaped(),
            logvar: self.logvar.retaped(),
        }
    }

    /// The same values with another gradient of the encoder, whose signal-to-noise ratio does not fall with K (Tucker et al.
    /// 2019), as that of the plain gradient does (Rainforth et al. 2018): z passes on the gradient of its weight times the
    /// weight's share v among the draws of its cell, and the density
    /// `q(z|x,c)` has constant parameters. With the ratio `p(z) / q(z|x,c)` to the power `annealed` = a, the factor is
    /// `1 - a + a v` instead of v, by the same derivation.
    pub fn doubly_reparameterised(self, log_weights: &[f32], annealed: f32) -> Result<Self> {
        let latent = self.z.shape().1;
        let kept: Vec<f32> = log_weights
            .chunks_exact(self.samples)
            .flat_map(shares)
            .map(|share| 1.0 - annealed + annealed * share)
            .flat_map(|factor| std::iter::repeat_n(factor, latent))
            .collect();
        let device = self.z.device().clone();
        let mut rest = ops::download(&self.z);
        rest.iter_mut().zip(&kept).for_each(|(value, kept)| *value *= 1.0 - kept);
        let constant =
            |values: &Array2<f32>| -> Result<Matrix<D, T>> { Ok(ops::upload(&device, values)?.retaped::<T>()) };
        let (mu, logvar) = (constant(&ops::download(&self.mu))?, constant(&ops::download(&self.logvar))?);
        let z = ops::add(D::multiply(self.z, kept)?, constant(&rest)?)?;
        Ok(Self { z, mu, logvar, ..self })
    }
}

/// `exp(w) / sum exp(w)`
fn shares(log_weights: &[f32]) -> Vec<f32> {
    let top = log_weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f32> = log_weights.iter().map(|w| (w - top).exp()).collect();
    let sum: f32 = weights.iter().sum();
    weights.into_iter().map(|w| w / sum).collect()
}

/// `ln w = -nll + annealed ratio`, `(draws,)`.
pub(super) fn log_weights<D: Backend, T: Tape<f32, D>>(
    nll: Vector<D, T>,
    ratio: Vector<D, T>,
    annealed: f32,
) -> Result<Vector<D, T>> {
    let run = || ratio.try_mul(annealed)?.try_sub(nll);
    run().map_err(|e: D::Err| crate::Error::device("importance weights", e))
}

impl VaeBatch {
    /// Every row `times` times, its copies next to each other.
    pub(super) fn repeated(&self, times: usize) -> Self {
        let rows: Vec<usize> = (0..self.len()).flat_map(|row| std::iter::repeat_n(row, times)).collect();
        self.select(&rows)
    }
}

/// A lower bound of `ln p(x|c)` in nats per cell, averaged over cells.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LogLikelihood {
    /// Mean of `ln (1/K sum_k w_k)`: the higher, the better.
    pub bound: f64,
    /// Standard error of the mean over cells; NaN of a single cell.
    pub standard_error: f64,
    /// Mean effective number of draws `(sum w)^2 / sum w^2`, between 1 and K. Near 1, one draw outweighs all others and
    /// the bound is still far from `ln p(x|c)`.
    pub effective_samples: f64,
    /// Draws of z per cell, K.
    pub samples: usize,
    /// Number of cells.
    pub cells: usize,
}

impl<D: Backend> VaeNet<D> {
    /// `ln w` of one draw of z per row, `(rows,)`, without dropout.
    fn draw_log_weights(
        &self,
        batch: &VaeBatch,
        condition: &Matrix<D>,
        Posterior { mu, logvar }: &Posterior<D, NoneTape>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Vec<f32>> {
        let posterior = Posterior { mu: mu.clone(), logvar: logvar.clone() };
        let draws = Draws::new(posterior, condition.clone(), 1, self.noise(batch.len(), rng)?)?;
        let ratio = draws.log_ratio()?;
        let nll = self.nll(self.decode(draws.z, draws.condition)?, batch)?;
        Ok(log_weights(nll, ratio, 1.0)?.as_vec())
    }

    /// `ln (1/K sum w)` and the effective number of draws of each row, `(rows, 2)`.
    fn importance_bound(&self, batch: &VaeBatch, samples: usize, rng: &mut ChaCha8Rng) -> Result<Array2<f32>> {
        let condition = self.condition(&batch.condition, NoneTape)?;
        let posterior = self.encode(&batch.input, &condition)?;
        let mut weights = vec![Weights::default(); batch.len()];
        for _ in 0..samples {
            let logs = self.draw_log_weights(batch, &condition, &posterior, rng)?;
            weights.iter_mut().zip(logs).for_each(|(weights, log)| weights.add(f64::from(log)));
        }
        let rows = weights.iter().flat_map(|weights| [weights.log_mean(samples) as f32, weights.effective() as f32]);
        Ok(Array2::from_shape_vec((batch.len(), 2), rows.collect()).expect("two values per row"))
    }
}

/// Sums of weights relative to the largest so far, so that none overflows.
#[derive(Clone, Copy)]
struct Weights {
    top: f64,
    sum: f64,
    squares: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { top: f64::NEG_INFINITY, sum: 0.0, squares: 0.0 }
    }
}

impl Weights {
    fn add(&mut self, log: f64) {
        if log > self.top {
            let shrink = (self.top - log).exp();
            *self = Self { top: log, sum: self.sum * shrink, squares: self.squares * shrink * shrink };
        }
        let weight = (log - self.top).exp();
        self.sum += weight;
        self.squares += weight * weight;
    }

    fn log_mean(&self, samples: usize) -> f64 {
        self.top + (self.sum / samples as f64).ln()
    }

    fn effective(&self) -> f64 {
        self.sum * self.sum / self.squares
    }
}

impl CountVae {
    /// A lower bound of the log-likelihood of the cells `rows`, from `samples` draws of z per cell; at least one.
    ///
    /// # Errors
    /// As [`Self::latents`].
    pub fn log_likelihood(&self, data: &Dataset, rows: &[usize], samples: usize, seed: u64) -> Result<LogLikelihood> {
        let (samples, mut rng) = (samples.max(1), ChaCha8Rng::seed_from_u64(seed));
        let of_cells = self.over_cells(
            data,
            rows,
            |batch| on_device!(&self.net, net => net.importance_bound(batch, samples, &mut rng)),
        )?;
        let of_cells = of_cells.mapv(f64::from);
        let bounds = of_cells.index_axis(Axis(1), 0);
        let cells = bounds.len();
        Ok(LogLikelihood {
            bound: bounds.mean().expect("there are cells"),
            standard_error: bounds.std(1.0) / (cells as f64).sqrt(),
            effective_samples: of_cells.index_axis(Axis(1), 1).mean().expect("there are cells"),
            samples,
            cells,
        })
    }
}
