//! The optimal denoiser of Gaussian data, which a network has to beat.
//!
//! Of `x_0 ~ N(m, S)` seen as `x_t = a x_0 + s epsilon`,
//!
//! ```text
//! E[x_0 | x_t]     = m + a S (a^2 S + s^2 I)^-1 (x_t - a m)
//! mean square error = mean over axes of lambda_i s^2 / (a^2 lambda_i + s^2)         lambda: eigenvalues of S
//! ```
//!
//! (Bishop 2006, *Pattern Recognition and Machine Learning*, eqs. 2.116 and 2.117.)

use crate::{Error, Result, math::symmetric_eigen};
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

/// Least variance of an axis, as a share of the mean: data of fewer rows than axes have axes of none.
const LEAST_SHARE: f64 = 1e-4;

/// Principal axes of a covariance.
#[derive(Debug, Clone, PartialEq)]
pub struct Axes {
    /// Variance along each axis, largest first, `(axes,)`.
    pub variances: Array1<f64>,
    /// Unit vectors, one per row, `(axes, dims)`.
    pub directions: Array2<f64>,
}

impl Axes {
    /// Of a covariance `(dims, dims)`.
    ///
    /// # Errors
    /// A covariance that is 0 or not finite: the embeddings do not vary.
    pub fn of_covariance(covariance: Array2<f64>) -> Result<Self> {
        let mean = covariance.diag().mean().unwrap_or(0.0);
        if !(mean > 0.0 && covariance.iter().all(|v| v.is_finite())) {
            return Err(Error::data(
                "the embeddings of the training cells do not vary within their conditions: there is nothing to draw; \
                 train the jepa again",
            ));
        }
        let (variances, directions) = symmetric_eigen(covariance);
        Ok(Self { variances: variances.mapv(|v| v.max(LEAST_SHARE * mean)), directions })
    }

    /// Of deviations from their conditions' means `(rows, dims)`, `means` of which were estimated from the same rows.
    ///
    /// # Errors
    /// As [`Self::of_covariance`].
    pub fn of_deviations(deviations: &Array2<f64>, means: usize) -> Result<Self> {
        let freedom = deviations.nrows().saturating_sub(means).max(1) as f64;
        Self::of_covariance(deviations.t().dot(deviations) / freedom)
    }

    /// The same in the precision of saved arrays, `f32`: a model that was read from a file draws the same bits.
    pub fn rounded(&self) -> Self {
        let round = |v: f64| f64::from(v as f32);
        Self { variances: self.variances.mapv(round), directions: self.directions.mapv(round) }
    }

    /// Coordinates along the axes of rows `(rows, dims)`.
    pub fn along(&self, x: &Array2<f64>) -> Array2<f64> {
        x.dot(&self.directions.t())
    }

    /// Rows `(rows, dims)` of coordinates along the axes.
    pub fn back(&self, y: &Array2<f64>) -> Array2<f64> {
        y.dot(&self.directions)
    }

    /// `a lambda / (a^2 lambda + s^2)` of each axis: what `x_t - a m` is multiplied by.
    pub fn gains(&self, a: f64, s: f64) -> Array1<f64> {
        self.variances.mapv(|v| a * v / (a * a * v + s * s))
    }

    /// `sqrt(a^2 lambda + s^2)` of each axis: the standard deviation of x_t.
    pub fn noised_deviations(&self, a: f64, s: f64) -> Array1<f64> {
        self.variances.mapv(|v| (a * a * v + s * s).sqrt())
    }

    /// Mean square error of the optimal denoiser per dimension, on data that are Gaussian.
    pub fn expected_loss(&self, a: f64, s: f64) -> f64 {
        self.variances.mapv(|v| v * s * s / (a * a * v + s * s)).mean().unwrap_or(0.0)
    }
}

/// `E[x_0 | x_t]` of data `N(mean, S)`, `(rows, dims)`: x is `x_t`, each row has a mean of its own, S is given by its axes,
/// `x_t = a x_0 + s epsilon`.
pub fn gaussian_denoised(x: &Array2<f64>, mean: &Array2<f64>, axes: &Axes, (a, s): (f64, f64)) -> Array2<f64> {
    let off = x - &(mean * a);
    mean + &axes.back(&(axes.along(&off) * &axes.gains(a, s)))
}

/// Mean square errors per dimension of held-out embeddings at one noise level.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LevelLoss {
    /// Diffusion time.
    pub time: f64,
    /// `s / a`: the noise's deviation over the data's factor.
    pub noise_to_signal: f64,
    /// Of the network.
    pub network: f64,
    /// Of the closed-form Gaussian denoiser: the mean of each training condition, the pooled covariance.
    pub gaussian: f64,
    /// The network's divided by the Gaussian's.
    pub ratio: f64,
    /// The network's divided by that of a Gaussian denoiser whose mean depends on the library size, as the network's does.
    pub ratio_to_gaussian_with_library: f64,
}
