//! Gaussian mixtures, whose noised densities, scores and predicted noises are known at every time.
//!
//! If `x_0` is `sum_k w_k N(mu_k, Sigma_k)` and `x = a x_0 + b epsilon`, then x is `sum_k w_k N(a mu_k, S_k)` with
//! `S_k = a^2 Sigma_k + b^2 I`, and with the shares `r_k(x)` of the components at x
//!
//! ```text
//! E[x_0 | x]     = sum_k r_k (mu_k + a Sigma_k S_k^-1 (x - a mu_k))
//! E[epsilon | x] = sum_k r_k b S_k^-1 (x - a mu_k)
//! ```
//!
//! They are what a perfect network would predict: the yardstick of tests, and of a notebook where every density can be seen.

use super::{Denoiser, check_samples};
use crate::{Error, Result, math::symmetric_eigen, model::diffusion::Sde};
use ndarray::{Array1, Array2, Axis};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use std::f64::consts::PI;

/// A mixture of Gaussian distributions in any number of dimensions; of one component, a Gaussian.
#[derive(Debug, Clone)]
pub struct GaussianMixture {
    components: Vec<Component>,
}

#[derive(Debug, Clone)]
struct Component {
    weight: f64,
    mean: Array1<f64>,
    /// Of the covariance, and its eigenvectors as rows: one decomposition serves all times.
    variances: Array1<f64>,
    axes: Array2<f64>,
}

impl GaussianMixture {
    /// Components of these weights (above 0, of sum 1 after division by their sum), means `(dims,)` and covariances
    /// `(dims, dims)`.
    ///
    /// # Errors
    /// None, or numbers that do not fit; a weight that is not positive; a covariance that is not symmetric positive definite.
    pub fn new(weights: &[f64], means: &[Array1<f64>], covariances: &[Array2<f64>]) -> Result<Self> {
        let fail = |message: String| Err(Error::config(format!("Gaussian mixture: {message}")));
        if weights.is_empty() || weights.len() != means.len() || weights.len() != covariances.len() {
            return fail(format!(
                "{} weights, {} means and {} covariances; there must be one of each a component",
                weights.len(),
                means.len(),
                covariances.len()
            ));
        }
        let total: f64 = weights.iter().sum();
        let mut components = Vec::with_capacity(weights.len());
        for (k, ((&weight, mean), covariance)) in weights.iter().zip(means).zip(covariances).enumerate() {
            let dims = means[0].len();
            if !(weight > 0.0 && total.is_finite()) {
                return fail(format!("the weight of component {k} is {weight}; it must be a positive number"));
            }
            if mean.len() != dims || covariance.dim() != (dims, dims) || dims == 0 {
                return Err(Error::shape("Gaussian mixture: mean and covariance", mean.dim(), covariance.dim()));
            }
            let size = covariance.iter().fold(0.0, |top: f64, v| top.max(v.abs()));
            let skew = (covariance - &covariance.t()).iter().fold(0.0, |top: f64, v| top.max(v.abs()));
            let finite = mean.iter().chain(covariance).all(|v| v.is_finite());
            let (variances, axes) = symmetric_eigen(covariance.clone());
            if !finite || skew > 1e-9 * size || !variances.iter().all(|v| *v > 0.0) {
                return fail(format!("the covariance of component {k} is not symmetric and positive definite"));
            }
            components.push(Component { weight: weight / total, mean: mean.clone(), variances, axes });
        }
        Ok(Self { components })
    }

    /// Round components of one standard deviation; the means are the rows of `means` `(components, dims)`.
    ///
    /// # Errors
    /// See [`Self::new`].
    pub fn round(weights: &[f64], means: &Array2<f64>, std: f64) -> Result<Self> {
        let covariance = Array2::eye(means.ncols()) * (std * std);
        let means: Vec<Array1<f64>> = means.rows().into_iter().map(|mean| mean.to_owned()).collect();
        Self::new(weights, &means, &vec![covariance; means.len()])
    }

    /// The width of a sample.
    pub fn dims(&self) -> usize {
        self.components[0].mean.len()
    }

    /// Component `k` alone: what the mixture is, given its label.
    ///
    /// # Errors
    /// No such component.
    pub fn component(&self, k: usize) -> Result<Self> {
        let Some(component) = self.components.get(k) else {
            return Err(Error::config(format!("component {k} of a mixture of {}", self.components.len())));
        };
        Ok(Self { components: vec![Component { weight: 1.0, ..component.clone() }] })
    }

    /// The mean, `(dims,)`.
    pub fn mean(&self) -> Array1<f64> {
        self.components.iter().fold(Array1::zeros(self.dims()), |sum, c| sum + &c.mean * c.weight)
    }

    /// The covariance, `(dims, dims)`.
    pub fn covariance(&self) -> Array2<f64> {
        let mean = self.mean();
        self.components.iter().fold(Array2::zeros((self.dims(), self.dims())), |sum, c| {
            let offset = (&c.mean - &mean).insert_axis(Axis(1));
            let within = (&c.axes.t() * &c.variances).dot(&c.axes);
            sum + (within + offset.dot(&offset.t())) * c.weight
        })
    }

    /// Samples `(rows, dims)` and the component of each.
    pub fn sample(&self, rows: usize, rng: &mut ChaCha8Rng) -> (Array2<f64>, Vec<usize>) {
        let mut labels = Vec::with_capacity(rows);
        let mut x = Array2::zeros((rows, self.dims()));
        for mut row in x.rows_mut() {
            let mut left = rng.random::<f64>();
            let drawn = self.components.iter().position(|c| {
                left -= c.weight;
                left < 0.0
            });
            let k = drawn.unwrap_or(self.components.len() - 1);
            let c = &self.components[k];
            let along = c.variances.mapv(|v| v.sqrt() * rng.sample::<f64, _>(StandardNormal));
            row.assign(&(along.dot(&c.axes) + &c.mean));
            labels.push(k);
        }
        (x, labels)
    }

    /// Log density of the rows of `x` `(rows, dims)`, in nats, `(rows,)`.
    ///
    /// # Errors
    /// Another width; a value that is not finite.
    pub fn log_density(&self, x: &Array2<f64>) -> Result<Array1<f64>> {
        self.log_density_noised(x, 1.0, 0.0)
    }

    /// The score `grad ln p` at the rows of `x` `(rows, dims)`, of the same shape.
    ///
    /// # Errors
    /// See [`Self::log_density`].
    pub fn score(&self, x: &Array2<f64>) -> Result<Array2<f64>> {
        let shares = self.shares(x)?;
        let mut score = Array2::zeros(x.dim());
        for (c, share) in self.components.iter().zip(shares.columns()) {
            let pull = c.along_axes(x, 1.0) / &c.variances;
            score = score - pull.dot(&c.axes) * share.insert_axis(Axis(1));
        }
        Ok(score)
    }

    /// Log density of what `sde` makes of the mixture until time `t`.
    ///
    /// # Errors
    /// See [`Self::log_density`].
    pub fn log_density_at(&self, x: &Array2<f64>, sde: &Sde, t: f64) -> Result<Array1<f64>> {
        self.log_density_noised(x, sde.mean(t), sde.std(t))
    }

    /// The probability of each component at each row, `(rows, components)`.
    ///
    /// # Errors
    /// See [`Self::log_density`].
    pub fn shares(&self, x: &Array2<f64>) -> Result<Array2<f64>> {
        check_samples("Gaussian mixture", x, self.dims())?;
        Ok(softmax(self.joint(x, 1.0, 0.0)).0)
    }

    /// `(E[x_0 | x], E[epsilon | x])`, `(rows, dims)` each, where `x = a x_0 + b epsilon` with standard normal epsilon.
    ///
    /// # Errors
    /// See [`Self::log_density`].
    pub fn expectations(&self, x: &Array2<f64>, a: f64, b: f64) -> Result<(Array2<f64>, Array2<f64>)> {
        check_samples("Gaussian mixture", x, self.dims())?;
        let (shares, _) = softmax(self.joint(x, a, b));
        let (mut data, mut noise) = (Array2::zeros(x.dim()), Array2::zeros(x.dim()));
        for (c, share) in self.components.iter().zip(shares.columns()) {
            let pull = c.along_axes(x, a) / &c.variances_at(a, b); // S^-1 (x - a mu), in the axes
            let share = share.insert_axis(Axis(1));
            data = data + (&((&pull * &c.variances).dot(&c.axes) * a) + &c.mean) * share;
            noise = noise + pull.dot(&c.axes) * b * share;
        }
        Ok((data, noise))
    }

    /// The perfect denoiser of this mixture under `sde`.
    pub fn denoiser(&self, sde: Sde) -> MixtureDenoiser {
        MixtureDenoiser { mixture: self.clone(), sde }
    }

    fn log_density_noised(&self, x: &Array2<f64>, a: f64, b: f64) -> Result<Array1<f64>> {
        check_samples("Gaussian mixture", x, self.dims())?;
        Ok(softmax(self.joint(x, a, b)).1)
    }

    /// `ln w_k + ln N(x; a mu_k, S_k)`, `(rows, components)`.
    fn joint(&self, x: &Array2<f64>, a: f64, b: f64) -> Array2<f64> {
        let mut joint = Array2::zeros((x.nrows(), self.components.len()));
        for (c, mut column) in self.components.iter().zip(joint.columns_mut()) {
            let variances = c.variances_at(a, b);
            let constant = c.weight.ln() - 0.5 * variances.mapv(|v| (2.0 * PI * v).ln()).sum();
            let distances = (c.along_axes(x, a).mapv(|v| v * v) / variances).sum_axis(Axis(1));
            column.assign(&(distances * -0.5 + constant));
        }
        joint
    }
}

impl Component {
    /// `x - a mu` in the axes of the covariance.
    fn along_axes(&self, x: &Array2<f64>, a: f64) -> Array2<f64> {
        (x - &(&self.mean * a)).dot(&self.axes.t())
    }

    fn variances_at(&self, a: f64, b: f64) -> Array1<f64> {
        self.variances.mapv(|v| a * a * v + b * b)
    }
}

/// The softmax of each row, and the logarithm of the sum of its exponentials.
fn softmax(mut rows: Array2<f64>) -> (Array2<f64>, Array1<f64>) {
    let mut log_sums = Array1::zeros(rows.nrows());
    for (mut row, log_sum) in rows.rows_mut().into_iter().zip(&mut log_sums) {
        let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        *log_sum = top + row.iter().map(|v| (v - top).exp()).sum::<f64>().ln();
        row.mapv_inplace(|v| (v - *log_sum).exp());
    }
    (rows, log_sums)
}

/// The exact `E[epsilon | x_t]` of a [`GaussianMixture`] under an [`Sde`].
#[derive(Debug, Clone)]
pub struct MixtureDenoiser {
    mixture: GaussianMixture,
    sde: Sde,
}

impl Denoiser for MixtureDenoiser {
    fn dims(&self) -> usize {
        self.mixture.dims()
    }

    fn noise(&self, x: &Array2<f64>, t: f64) -> Result<Array2<f64>> {
        Ok(self.mixture.expectations(x, self.sde.mean(t), self.sde.std(t))?.1)
    }
}
