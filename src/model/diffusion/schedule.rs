//! Noise schedules of the variance-preserving diffusions, on times 0 (data) to 1 (noise).
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
