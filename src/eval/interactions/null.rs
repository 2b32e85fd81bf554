//! The empirical null: the normal distribution that the centre of many values follows.
//!
//! Values inside a window [a, b] around the centre are taken to be null. There, with delta and sigma of the null, they follow
//! a truncated normal, whose likelihood in the natural parameters `(delta / sigma^2, -1 / (2 sigma^2))` is concave: Newton's
//! method finds its one maximum. The share of nulls follows from the share of values inside:
//!
//! ```text
//! p0 = (N_inside / N) / (Phi((b - delta) / sigma) - Phi((a - delta) / sigma))
//! ```
//!
//! Source: Efron, JASA 2007 ("Correlation and large-scale simultaneous significance testing"), section 4, maximum
//! likelihood; `locmle` of R's locfdr maximises the same likelihood with a damped iteration.

use super::super::normal_cdf;

const MAX_ITERATIONS: usize = 200;
/// A step of the parameters, in units of the window, below which they have settled.
const TOLERANCE: f64 = 1e-12;

/// Mean, standard deviation and share of the null.
#[derive(Debug, Clone, Copy)]
pub(super) struct Null {
    pub delta: f64,
    pub sigma: f64,
    pub p0: f64,
}

/// Fits the null to the values within `half_width` of `center`. `None` if they do not look like the top of a normal: the
/// likelihood then has no maximum.
pub(super) fn fit_null(values: &[f64], center: f64, half_width: f64) -> Option<Null> {
    let (mut n, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for &value in values {
        let u = (value - center) / half_width;
        if u.abs() <= 1.0 {
            n += 1.0;
            sum += u;
            squares += u * u;
        }
    }
    if n < 3.0 {
        return None;
    }
    let (mean, square) = (sum / n, squares / n);
    // In units of the window the density is exp(b1 u + b2 u^2) / Z on [-1, 1].
    let (mut b1, mut b2) = (0.0, -1.0);
    let mut now = log_likelihood(b1, b2, mean, square)?;
    for _ in 0..MAX_ITERATIONS {
        let m = moments(b1, b2)?;
        let (v11, v12, v22) = (m[1] - m[0] * m[0], m[2] - m[0] * m[1], m[3] - m[1] * m[1]);
        let det = v11 * v22 - v12 * v12;
        if det.is_nan() || det <= 0.0 {
            return None;
        }
        let (g1, g2) = (mean - m[0], square - m[1]);
        let (d1, d2) = ((v22 * g1 - v12 * g2) / det, (v11 * g2 - v12 * g1) / det);
        // Half the step until the likelihood rises and the parabola opens downwards.
        let mut step = 1.0;
        let next = loop {
            let candidate = (b1 + step * d1, b2 + step * d2);
            if candidate.1 < 0.0
                && let Some(value) = log_likelihood(candidate.0, candidate.1, mean, square)
                && value >= now - 1e-14 * now.abs()
            {
                break Some((candidate, value));
            }
            step /= 2.0;
            if step < 1e-10 {
                break None;
            }
        };
        let Some(((next1, next2), value)) = next else { break };
        let moved = (next1 - b1).abs().max((next2 - b2).abs());
        (b1, b2, now) = (next1, next2, value);
        if moved <= TOLERANCE * (1.0 + b1.abs().max(b2.abs())) {
            break;
        }
    }
    // A parabola that is all but flat is no top of a normal: sigma would be many windows wide.
    if b2 > -1e-6 {
        return None;
    }
    let (d, s) = natural(b1, b2);
    let inside = normal_cdf((1.0 - d) / s) - normal_cdf((-1.0 - d) / s);
    Some(Null { delta: center + half_width * d, sigma: half_width * s, p0: n / values.len() as f64 / inside })
}

fn natural(b1: f64, b2: f64) -> (f64, f64) {
    (-b1 / (2.0 * b2), (-2.0 * b2).sqrt().recip())
}

/// Mean log-likelihood of a value, given the means of u and u^2.
fn log_likelihood(b1: f64, b2: f64, mean: f64, square: f64) -> Option<f64> {
    let (d, s) = natural(b1, b2);
    let inside = normal_cdf((1.0 - d) / s) - normal_cdf((-1.0 - d) / s);
    let log_z = d * d / (2.0 * s * s) + s.ln() + inside.ln();
    let value = b1 * mean + b2 * square - log_z;
    value.is_finite().then_some(value)
}

/// E u, E u^2, E u^3, E u^4 of the truncated normal on [-1, 1].
fn moments(b1: f64, b2: f64) -> Option<[f64; 4]> {
    let (d, s) = natural(b1, b2);
    let (a, b) = ((-1.0 - d) / s, (1.0 - d) / s);
    let phi = |z: f64| (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let (fa, fb) = (phi(a), phi(b));
    let h0 = normal_cdf(b) - normal_cdf(a);
    if h0.is_nan() || h0 <= 1e-300 {
        return None;
    }
    // Standard moments by parts: H_k = (k - 1) H_(k-2) + a^(k-1) phi(a) - b^(k-1) phi(b).
    let h1 = (fa - fb) / h0;
    let h2 = 1.0 + (a * fa - b * fb) / h0;
    let h3 = 2.0 * h1 + (a * a * fa - b * b * fb) / h0;
    let h4 = 3.0 * h2 + (a.powi(3) * fa - b.powi(3) * fb) / h0;
    Some([
        d + s * h1,
        d * d + 2.0 * d * s * h1 + s * s * h2,
        d.powi(3) + 3.0 * d * d * s * h1 + 3.0 * d * s * s * h2 + s.powi(3) * h3,
        d.powi(4) + 4.0 * d.powi(3) * s * h1 + 6.0 * d * d * s * s * h2 + 4.0 * d * s.powi(3) * h3 + s.powi(4) * h4,
    ])
}
