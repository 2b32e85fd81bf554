//! Forward diffusions `dx = f(t) x dt + g(t) dw` and what they make of a sample, `x_t = mean(t) x_0 + std(t) epsilon`.
//!
//! | | f(t) | g(t)^2 | mean(t) | std(t)^2 |
//! |---|---|---|---|---|
//! | VP | `-beta / 2` | `beta` | `e^(-B/2)` | `1 - e^-B` |
//! | sub-VP | `-beta / 2` | `beta (1 - e^(-2B))` | `e^(-B/2)` | `(1 - e^-B)^2` |
//! | VE | 0 | `2 sigma^2 ln(sigma_max / sigma_min)` | 1 | `sigma(t)^2`, `sigma(t) = sigma_min (sigma_max / sigma_min)^t` |
//!
//! with `beta`, `B` of a [`Schedule`] (Song et al. 2021, eqs. 29-31 and appendix B). VE has the noise `sigma_min` at time 0 already,
//! so its "data" are the data seen through that noise.

use super::Schedule;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// A forward diffusion from data (time 0) to noise (time 1).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Sde {
    /// Variance preserving: the continuous DDPM.
    Vp(Schedule),
    /// Variance preserving with less noise on the way.
    SubVp(Schedule),
    /// Variance exploding: the data stay, the noise grows.
    Ve {
        /// Noise at time 0.
        sigma_min: f64,
        /// Noise at time 1; should be at least the largest distance between two samples (Song and Ermon 2020).
        sigma_max: f64,
    },
}

impl Default for Sde {
    fn default() -> Self {
        Self::Vp(Schedule::default())
    }
}

impl Sde {
    /// # Errors
    /// A setting that makes no diffusion.
    pub fn validate(&self) -> Result<()> {
        match *self {
            Self::Vp(schedule) | Self::SubVp(schedule) => schedule.validate(),
            Self::Ve { sigma_min, sigma_max }
                if !(sigma_min > 0.0 && sigma_max > sigma_min && sigma_max.is_finite()) =>
            {
                Err(Error::config(format!(
                    "VE diffusion: the noise goes from {sigma_min} to {sigma_max}; it must start above 0 and grow"
                )))
            }
            Self::Ve { .. } => Ok(()),
        }
    }

    /// `f(t)` of the drift `f(t) x`.
    pub fn drift(&self, t: f64) -> f64 {
        match self {
            Self::Vp(schedule) | Self::SubVp(schedule) => -0.5 * schedule.beta(t),
            Self::Ve { .. } => 0.0,
        }
    }

    /// `g(t)^2`.
    pub fn diffusion_squared(&self, t: f64) -> f64 {
        match self {
            Self::Vp(schedule) => schedule.beta(t),
            Self::SubVp(schedule) => -schedule.beta(t) * (-2.0 * schedule.integral(t)).exp_m1(),
            Self::Ve { sigma_min, sigma_max } => 2.0 * self.std(t).powi(2) * (sigma_max / sigma_min).ln(),
        }
    }

    /// The factor of the data in `x_t`.
    pub fn mean(&self, t: f64) -> f64 {
        match self {
            Self::Vp(schedule) | Self::SubVp(schedule) => (-0.5 * schedule.integral(t)).exp(),
            Self::Ve { .. } => 1.0,
        }
    }

    /// The standard deviation of the noise in `x_t`.
    pub fn std(&self, t: f64) -> f64 {
        match self {
            Self::Vp(schedule) => (-(-schedule.integral(t)).exp_m1()).sqrt(),
            Self::SubVp(schedule) => -(-schedule.integral(t)).exp_m1(),
            Self::Ve { sigma_min, sigma_max } => sigma_min * (sigma_max / sigma_min).powf(t),
        }
    }

    /// `mean(t)^2`: for VP and sub-VP the schedule's `alpha_bar`, for VE 1.
    pub fn alpha_bar(&self, t: f64) -> f64 {
        self.mean(t).powi(2)
    }

    /// Signal-to-noise ratio `mean^2 / std^2`; falls with time, and is infinite at time 0 for VP and sub-VP.
    pub fn snr(&self, t: f64) -> f64 {
        self.log_snr(t).exp()
    }

    /// Natural logarithm of the signal-to-noise ratio.
    pub fn log_snr(&self, t: f64) -> f64 {
        let log_mean = match self {
            Self::Vp(schedule) | Self::SubVp(schedule) => -0.5 * schedule.integral(t),
            Self::Ve { .. } => 0.0,
        };
        2.0 * (log_mean - self.std(t).ln())
    }

    /// The time at which the logarithm of the signal-to-noise ratio is `log_snr`, by bisection between `earliest` and 1.
    pub fn time_of_log_snr(&self, log_snr: f64, earliest: f64) -> f64 {
        let (mut low, mut high) = (earliest, 1.0);
        // 60 halvings of an interval of length 1: down to rounding.
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if self.log_snr(middle) > log_snr {
                low = middle;
            } else {
                high = middle;
            }
        }
        0.5 * (low + high)
    }

    /// Standard deviation of the centred normal distribution that samplers start from: 1, and `sigma_max` for VE.
    pub fn prior_std(&self) -> f64 {
        match *self {
            Self::Vp(_) | Self::SubVp(_) => 1.0,
            Self::Ve { sigma_max, .. } => sigma_max,
        }
    }
}
