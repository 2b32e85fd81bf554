//! Negative log-likelihood of one count under the negative binomial and its zero-inflated form, with derivatives.
//!
//! Mean mu, inverse dispersion theta, variance `mu + mu^2 / theta`. Written around the value at mu = x, so that nothing
//! large cancels (Loader 2000, *Fast and Accurate Computation of Binomial Probabilities*); with `t = (mu - x) / (x +
//! theta)`:
//! ```text
//! nll         = (x + theta) log1p(t) + x (ln x - ln mu)
//!             - [binet(x + theta) - binet(theta) - binet(x) - ln(2 pi x (x + theta) / theta) / 2]
//! d/d ln mu    = theta t / (1 + t)
//! d/d ln theta = theta [log1p(t) - t / (1 + t)] - theta [digamma_rest(x + theta) - digamma_rest(theta)]
//! ```
//! At x = 0 the brackets vanish and `nll = theta log1p(mu / theta)`: no gamma function. The functions have no branches;
//! a derivative that the caller drops is not computed.
//!
//! What is left of `ln Gamma` and digamma beside Stirling's leading terms, without branches, for z > 0.
//!
//! `binet(z) = ln Gamma(z) - (z - 1/2) ln z + z - ln(2 pi) / 2` and `digamma_rest(z) = digamma(z) - ln z`, by their
//! asymptotic series from z = 4 on (DLMF 5.11.1, 5.11.2); below, the recurrence `Gamma(z + 4) = z (z + 1) (z + 2) (z +
//! 3) Gamma(z)` leads there. Errors in f32 for z in [1e-6, 1e9]: binet 3e-6 absolute, z times `digamma_rest` 1e-6
//! absolute.

use super::vmath::{ln, ln_near_one, softplus};

/// Negative log-likelihood in nats, and its derivatives by ln mu and ln theta.
#[derive(Clone, Copy)]
pub(super) struct Nll {
    pub(super) value: f32,
    pub(super) d_log_mu: f32,
    pub(super) d_log_theta: f32,
}

/// `log1p(t) - t / (1 + t)` from its parts, by its series where they cancel.
#[inline(always)]
fn curvature(t: f32, log1p_t: f32, t_over_1pt: f32) -> f32 {
    let series = t * t * (0.5 + t * (-2.0 / 3.0 + t * (0.75 + t * (-0.8 + t * (5.0 / 6.0)))));
    if t.abs() < 0.05 { series } else { log1p_t - t_over_1pt }
}

/// The count 0.
#[inline(always)]
pub(super) fn zero(mu: f32, theta: f32, inverse_theta: f32) -> Nll {
    let t = mu * inverse_theta;
    let log = ln_near_one(1.0 + t, t);
    let fraction = t / (1.0 + t);
    Nll { value: theta * log, d_log_mu: theta * fraction, d_log_theta: theta * curvature(t, log, fraction) }
}

/// A count x > 0, whole or not.
#[inline(always)]
pub(super) fn positive(x: f32, mu: f32, log_mu: f32, theta: f32, log_theta: f32) -> Nll {
    let (total, both) = (x + theta, mu + theta);
    let t = (mu - x) / total;
    let log = ln_near_one(both / total, t); // 1 + t without the rounding of t near -1
    let fraction = (mu - x) / both;
    let ln_x = ln(x);
    let half_ln_tau = 0.918_938_5;
    let at_mode = binet(total) - binet(theta) - binet(x) - half_ln_tau - 0.5 * (ln_x + ln(total) - log_theta);
    Nll {
        value: total * log + x * (ln_x - log_mu) - at_mode,
        d_log_mu: theta * fraction,
        d_log_theta: theta * (curvature(t, log, fraction) - (digamma_rest(total) - digamma_rest(theta))),
    }
}

/// The count 0, which may also be an extra zero of probability `sigmoid(z)`: the negative log-likelihood from that of
/// the NB alone, and its derivatives by that and by z.
#[inline(always)]
pub(super) fn inflated_zero(nll: f32, z: f32) -> (f32, f32, f32) {
    let (either, d_either) = softplus(-z);
    let (nb, d_nb) = softplus(-z - nll);
    (either - nb, d_nb, d_nb - d_either)
}

/// A count > 0, which is no extra zero: the same three.
#[inline(always)]
pub(super) fn inflated_positive(nll: f32, z: f32) -> (f32, f32, f32) {
    let (no_extra_zero, d_z) = softplus(z);
    (no_extra_zero + nll, 1.0, d_z)
}

/// From here on the series alone is used: the first term left out is below 1e-8.
const SERIES_FROM: f32 = 4.0;

/// See the module's documentation.
#[inline(always)]
pub fn binet(z: f32) -> f32 {
    let up = z + 4.0;
    let is_small = z < SERIES_FROM;
    let v = 1.0 / if is_small { up } else { z };
    let v2 = v * v;
    let series = v * (1.0 / 12.0 + v2 * (-1.0 / 360.0 + v2 * (1.0 / 1260.0 - v2 * (1.0 / 1680.0))));
    // ln Gamma(z + 4) - ln Gamma(z), less the change of the leading terms
    let small = z.min(SERIES_FROM);
    let up = small + 4.0;
    let product = (small + 1.0) * (small + 2.0) * (small + 3.0);
    let shift = (small + 3.5) * ln(up) - (small + 0.5) * ln(small) - 4.0 - ln(product);
    series + if is_small { shift } else { 0.0 }
}

/// See the module's documentation.
#[inline(always)]
pub fn digamma_rest(z: f32) -> f32 {
    let is_small = z < SERIES_FROM;
    let v = 1.0 / if is_small { z + 4.0 } else { z };
    let v2 = v * v;
    let series = v * -0.5 + v2 * (-1.0 / 12.0 + v2 * (1.0 / 120.0 + v2 * (-1.0 / 252.0 + v2 * (1.0 / 240.0))));
    // digamma(z) = digamma(z + 4) - 1/z - 1/(z + 1) - 1/(z + 2) - 1/(z + 3), the fractions joined in pairs
    let small = z.min(SERIES_FROM);
    let q = small * (small + 3.0);
    let shift = ln((small + 4.0) / small) - (2.0 * small + 3.0) * (2.0 * q + 2.0) / (q * (q + 2.0));
    series + if is_small { shift } else { 0.0 }
}
