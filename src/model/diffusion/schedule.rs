//! Forward diffusions from data (time 0) to noise (time 1): their rates, and what they make of a sample.
//!
//! # Schedules of the variance-preserving diffusions
//!
//! A schedule is a rate `beta(t)` with an analytic integral `B(t) = int_0^t beta`; the share of the data's variance that is left is
//!
//! ```text
//! alpha_bar(t) = exp(-B(t)),   mean(t) = sqrt(alpha_bar(t)) = exp(-B(t) / 2)
//! ```
//!
//! which is what the drift `-beta x / 2` does (Song et al. 2021, eqs. 11 and 29).
//!
//! | schedule | beta(t) |
//! |---|---|
//! | linear | `b0 + (b1 - b0) t` (Ho et al. 2020; Song et al. 2021) |
//! | quadratic | `b0 + (b1 - b0) t^2` |
//! | cosine | `-d ln alpha_bar / dt` of `alpha_bar = f(t) / f(0)`, `f(t) = cos^2(pi/2 (t + s) / (1 + s))`, at most `beta_max` (Nichol and Dhariwal 2021, eq. 17) |
//! | sigmoid | `k sigma(k (t - 1/2))`, that is `alpha_bar = sigma(-k (t - 1/2)) / sigma(k / 2)` |
//!
//! # Diffusions
//!
//! `dx = f(t) x dt + g(t) dw` and what they make of a sample, `x_t = mean(t) x_0 + std(t) epsilon`.
//!
//! | | f(t) | g(t)^2 | mean(t) | std(t)^2 |
//! |---|---|---|---|---|
//! | VP | `-beta / 2` | `beta` | `e^(-B/2)` | `1 - e^-B` |
//! | sub-VP | `-beta / 2` | `beta (1 - e^(-2B))` | `e^(-B/2)` | `(1 - e^-B)^2` |
//! | VE | 0 | `2 sigma^2 ln(sigma_max / sigma_min)` | 1 | `sigma(t)^2`, `sigma(t) = sigma_min (sigma_max / sigma_min)^t` |
//!
//! with `beta`, `B` of a [`Schedule`] (Song et al. 2021, eqs. 29-31 and appendix B). VE has the noise `sigma_min` at time 0 already,
//! so its "data" are the data seen through that noise.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::f64::consts::FRAC_PI_2;

/// How the noise grows: a rate, and its integral in closed form. Each default leaves 1e-4 of the data's variance or less at time 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// A rate that grows linearly; 0.1 to 20.
    Linear {
        /// The rate at time 0.
        #[serde(default = "beta_min")]
        beta_min: f64,
        /// The rate at time 1.
        #[serde(default = "linear_max")]
        beta_max: f64,
    },
    /// A rate that grows with the square of time; 0.1 to 30.
    Quadratic {
        /// The rate at time 0.
        #[serde(default = "beta_min")]
        beta_min: f64,
        /// The rate at time 1.
        #[serde(default = "quadratic_max")]
        beta_max: f64,
    },
    /// A squared cosine for `alpha_bar`.
    Cosine {
        /// Offset that keeps the rate from vanishing at time 0; 0.008.
        #[serde(default = "offset")]
        s: f64,
        /// Where the rate is clipped: without, it is infinite at time 1, where all signal is gone. Nichol and Dhariwal clip a step's
        /// share at 0.999, which in 1000 steps would be a rate of 999; 100, the default, leaves enough signal (1.3e-4) for
        /// a network's prediction of the data at time 1 to be of use.
        #[serde(default = "cosine_max")]
        beta_max: f64,
    },
    /// A sigmoid for `alpha_bar`.
    Sigmoid {
        /// k; 20. (With 10, 0.7 % of the variance is left at time 1, too much for samples that start from pure noise.)
        #[serde(default = "steepness")]
        steepness: f64,
    },
}

fn beta_min() -> f64 {
    0.1
}
fn linear_max() -> f64 {
    20.0
}
fn quadratic_max() -> f64 {
    30.0
}
fn cosine_max() -> f64 {
    100.0
}
fn offset() -> f64 {
    0.008
}
fn steepness() -> f64 {
    20.0
}

impl Default for Schedule {
    fn default() -> Self {
        Self::linear()
    }
}

impl Schedule {
    /// The linear schedule with its defaults.
    pub fn linear() -> Self {
        Self::Linear { beta_min: beta_min(), beta_max: linear_max() }
    }

    /// The quadratic schedule with its defaults.
    pub fn quadratic() -> Self {
        Self::Quadratic { beta_min: beta_min(), beta_max: quadratic_max() }
    }

    /// The cosine schedule with its defaults.
    pub fn cosine() -> Self {
        Self::Cosine { s: offset(), beta_max: cosine_max() }
    }

    /// The sigmoid schedule with its defaults.
    pub fn sigmoid() -> Self {
        Self::Sigmoid { steepness: steepness() }
    }

    /// # Errors
    /// A setting that makes no schedule.
    pub fn validate(&self) -> Result<()> {
        let fail = |message: String| Err(Error::config(format!("noise schedule: {message}")));
        match *self {
            Self::Linear { beta_min, beta_max } | Self::Quadratic { beta_min, beta_max }
                if !(beta_min > 0.0 && beta_max >= beta_min && beta_max.is_finite()) =>
            {
                fail(format!(
                    "the rates are {beta_min} to {beta_max}; they must be above 0, and the second not below the first"
                ))
            }
            Self::Cosine { s, .. } if !(s > 0.0 && s < 1.0) => {
                fail(format!("the cosine's offset s is {s}; it must lie between 0 and 1"))
            }
            Self::Cosine { s, beta_max } if !(beta_max > cosine_rate(0.0, s) && beta_max.is_finite()) => fail(format!(
                "the cosine's beta_max is {beta_max}; it must be above the rate at time 0, {}",
                cosine_rate(0.0, s)
            )),
            Self::Sigmoid { steepness } if !(steepness > 0.0 && steepness.is_finite()) => {
                fail(format!("the sigmoid's steepness is {steepness}; it must be a positive number"))
            }
            _ => Ok(()),
        }
    }

    /// The rate `beta(t)`.
    pub fn beta(&self, t: f64) -> f64 {
        match *self {
            Self::Linear { beta_min, beta_max } => beta_min + (beta_max - beta_min) * t,
            Self::Quadratic { beta_min, beta_max } => beta_min + (beta_max - beta_min) * t * t,
            Self::Cosine { s, beta_max } => {
                if t < clip_time(s, beta_max) {
                    cosine_rate(t, s)
                } else {
                    beta_max
                }
            }
            Self::Sigmoid { steepness: k } => k / (1.0 + (-k * (t - 0.5)).exp()),
        }
    }

    /// `B(t)`, the integral of the rate from 0 to `t`.
    pub fn integral(&self, t: f64) -> f64 {
        match *self {
            Self::Linear { beta_min, beta_max } => beta_min * t + 0.5 * (beta_max - beta_min) * t * t,
            Self::Quadratic { beta_min, beta_max } => beta_min * t + (beta_max - beta_min) * t * t * t / 3.0,
            Self::Cosine { s, beta_max } => {
                let clipped = (t - clip_time(s, beta_max)).max(0.0);
                // ln f(0) - ln f(t) from the difference of the angles, which does not cancel near time 0:
                // cos(a + d) / cos(a) = cos d - tan a sin d.
                let (start, angle) = (FRAC_PI_2 * s / (1.0 + s), FRAC_PI_2 * (t - clipped) / (1.0 + s));
                let fall = -2.0 * (0.5 * angle).sin().powi(2) - start.tan() * angle.sin(); // cos(a + d) / cos(a) - 1
                -2.0 * fall.ln_1p() + beta_max * clipped
            }
            Self::Sigmoid { steepness: k } => softplus(k * (t - 0.5)) - softplus(-0.5 * k),
        }
    }

    /// The share of the data's variance left at time `t`, `exp(-B(t))`.
    pub fn alpha_bar(&self, t: f64) -> f64 {
        (-self.integral(t)).exp()
    }

    /// The rates of `steps` discrete steps, `1 - alpha_bar(i / steps) / alpha_bar((i - 1) / steps)` for i from 1, as DDPM counts
    /// them.
    pub fn discrete_betas(&self, steps: usize) -> Vec<f64> {
        let at = |i: usize| self.integral(i as f64 / steps as f64);
        (1..=steps).map(|i| -(at(i - 1) - at(i)).exp_m1()).collect()
    }
}

/// `-d ln f / dt`.
fn cosine_rate(t: f64, s: f64) -> f64 {
    2.0 * FRAC_PI_2 / (1.0 + s) * (FRAC_PI_2 * (t + s) / (1.0 + s)).tan()
}

/// When the cosine's rate reaches `beta_max`.
fn clip_time(s: f64, beta_max: f64) -> f64 {
    (beta_max * (1.0 + s) / (2.0 * FRAC_PI_2)).atan() / FRAC_PI_2 * (1.0 + s) - s
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

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
