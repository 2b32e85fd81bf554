//! What a network predicts, and how one prediction is turned into another.
//!
//! With `x_t = m x_0 + s epsilon` (m, s: mean and standard deviation of the [`Sde`] at t) and `r^2 = m^2 + s^2`:
//!
//! | prediction | of | epsilon from it |
//! |---|---|---|
//! | epsilon | the noise | itself |
//! | x0 | the data | `(x - m x0) / s` |
//! | v | `(m epsilon - s x0) / r`: the data and noise axes, turned (Salimans and Ho 2022, where r = 1) | `(s x / r + m v) / r` |
//! | score | `grad ln p_t(x) = -E[epsilon] / s` | `-s score` |
//!
//! Each is `epsilon = a x + b output`, so that all conversions are lossless wherever m and s are above 0, for every SDE. Dividing by
//! r keeps v of unit size where the noise explodes.

use super::Sde;
use crate::{Error, Result};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

/// What a network's output means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parameterization {
    /// The noise.
    #[default]
    Epsilon,
    /// The data without noise.
    X0,
    /// A rotation of both, of unit size at every time.
    V,
    /// The gradient of the log density.
    Score,
}

impl Parameterization {
    /// `(a, b)` of `epsilon = a x_t + b output` where the data's factor is `mean` and the noise's `std`.
    pub fn epsilon_coefficients(self, mean: f64, std: f64) -> (f64, f64) {
        let r = mean.hypot(std);
        match self {
            Self::Epsilon => (0.0, 1.0),
            Self::X0 => (1.0 / std, -mean / std),
            Self::V => (std / (r * r), mean / r),
            Self::Score => (0.0, -std),
        }
    }

    /// `(p, q)` of the training target `p x_0 + q epsilon` where the data's factor is `mean` and the noise's `std`.
    pub fn target_coefficients(self, mean: f64, std: f64) -> (f64, f64) {
        let r = mean.hypot(std);
        match self {
            Self::Epsilon => (0.0, 1.0),
            Self::X0 => (1.0, 0.0),
            Self::V => (-std / r, mean / r),
            Self::Score => (0.0, -1.0 / std),
        }
    }

    /// The training target of data `x0` and noise `epsilon`, `(rows, dims)` each.
    pub fn target(self, x0: &Array2<f64>, epsilon: &Array2<f64>, t: f64, sde: &Sde) -> Array2<f64> {
        let (p, q) = self.target_coefficients(sde.mean(t), sde.std(t));
        x0 * p + epsilon * q
    }

    /// The noise that `output` means at samples `x` and time `t` in (0, 1], `(rows, dims)` each.
    ///
    /// # Errors
    /// A time at which there is no noise.
    pub fn to_epsilon(self, output: &Array2<f64>, x: &Array2<f64>, t: f64, sde: &Sde) -> Result<Array2<f64>> {
        let (a, b) = self.epsilon_coefficients(sde.mean(t), noise_at(sde, t)?);
        Ok(x * a + output * b)
    }

    /// The output that means the noise `epsilon`; the inverse of [`Self::to_epsilon`].
    ///
    /// # Errors
    /// A time at which there is no noise.
    pub fn from_epsilon(self, epsilon: &Array2<f64>, x: &Array2<f64>, t: f64, sde: &Sde) -> Result<Array2<f64>> {
        let (a, b) = self.epsilon_coefficients(sde.mean(t), noise_at(sde, t)?);
        Ok((epsilon - &(x * a)) / b)
    }

    /// The output of the parameterisation `to` that says what `output` says under this one.
    ///
    /// # Errors
    /// A time at which there is no noise.
    pub fn convert(self, to: Self, output: &Array2<f64>, x: &Array2<f64>, t: f64, sde: &Sde) -> Result<Array2<f64>> {
        to.from_epsilon(&self.to_epsilon(output, x, t, sde)?, x, t, sde)
    }
}

fn noise_at(sde: &Sde, t: f64) -> Result<f64> {
    let std = sde.std(t);
    if std > 0.0 {
        return Ok(std);
    }
    Err(Error::config(format!("there is no noise at time {t}; a time must lie in (0, 1]")))
}

/// The weight of a sample's squared error, by its signal-to-noise ratio.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LossWeight {
    /// 1: the squared error of the output as it is.
    #[default]
    Uniform,
    /// What makes the loss that of the noise, whatever the output (Ho et al. 2020, eq. 14): the SNR for x0.
    Snr,
    /// Hang et al. 2023, eq. 8: `min(SNR, gamma)` for x0, `min(SNR, gamma) / SNR` for the noise, `min(SNR, gamma) / (SNR + 1)` for v.
    MinSnr {
        /// Where the SNR is cut; 5 in the paper.
        gamma: f64,
    },
    /// `std^2`, which keeps the score's loss of one size over time (Song et al. 2021, eq. 7).
    Variance,
}

impl LossWeight {
    /// # Errors
    /// A gamma that is not positive.
    pub fn validate(&self) -> Result<()> {
        match *self {
            Self::MinSnr { gamma } if !(gamma > 0.0 && gamma.is_finite()) => {
                Err(Error::config(format!("the loss weight's gamma is {gamma}; it must be a positive number")))
            }
            _ => Ok(()),
        }
    }

    /// The weight of the squared error of the output of `parameterization` where the data's factor is `mean` and the noise's
    /// `std` (above 0).
    pub fn weight(self, parameterization: Parameterization, mean: f64, std: f64) -> f64 {
        // |error of epsilon|^2 = b^2 |error of the output|^2.
        let of_noise = parameterization.epsilon_coefficients(mean, std).1.powi(2);
        match self {
            Self::Uniform => 1.0,
            Self::Snr => of_noise,
            Self::MinSnr { gamma } => of_noise * (gamma * (std / mean).powi(2)).min(1.0),
            Self::Variance => std * std,
        }
    }
}
