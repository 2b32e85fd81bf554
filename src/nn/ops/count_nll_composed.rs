//! Negative binomial and zero-inflated negative binomial log-likelihood, composed of differentiable operations.
//!
//! With `mu = softmax(logits) * library_size`, theta = exp(log_theta) and x > 0 the NB log-likelihood is written around
//! its value at mu = x, so that nothing large cancels (Loader 2000, *Fast and Accurate Computation of Binomial
//! Probabilities*):
//! ```text
//! -ln NB(x) = (x + theta) log1p((mu - x) / (x + theta)) + x (ln x - ln mu)
//!           - [binet(x + theta) - binet(theta) - binet(x) - ln(2 pi x (x + theta) / theta) / 2]
//! -ln NB(0) = theta log1p(mu / theta)
//! ```
//! ZINB mixes in zeros of probability pi = sigmoid(z):
//! `-ln P(0) = softplus(-z) - softplus(-z - nll)` and `-ln P(x > 0) = softplus(z) + nll`.
//!
//! What is left of `ln Gamma` beside Stirling's leading terms, composed of differentiable operations.
//!
//! `binet(z) = ln Gamma(z) - (z - 1/2) ln z + z - ln(2 pi) / 2` (Binet's function), and
//! `ln_near_one`, a logarithm. In both, dfdx's automatic differentiation of the pieces gives the derivative (of `ln
//! Gamma`: digamma).
//!
//! Stirling's series `1/(12 z) - 1/(360 z^3) + 1/(1260 z^5) - 1/(1680 z^7)` is used from z = [`SWITCH`] on; below, the
//! recurrence `Gamma(z + 4) = z (z + 1) (z + 2) (z + 3) Gamma(z)` leads there. The branches are joined by clamping:
//! `binet(z) = below(min(z, s)) + above(max(z, s)) - above(s)`. Absolute error in f32 below 5e-6 for z in [1e-6, 1e9]
//! (rounding; the series itself is good to 1e-8), the same for z times the derivative.

use super::{
    CountTarget, Dispersion, LOG_THETA_MAX, LOG_THETA_MIN, Matrix, Vector, count_nll::check_count_nll, failed,
};
use crate::Result;
use dfdx::{prelude::*, tensor_ops::Device};
use ndarray::Array2;

/// What depends on the counts alone, `(cells, genes)` each.
struct CountTerms<D: Device<f32>> {
    x: Matrix<D>,
    /// 1 where x > 0, else 0.
    seen: Matrix<D>,
    /// x where it is > 0, else 1.
    positive: Matrix<D>,
    /// `ln x`, 0 where x = 0.
    ln_x: Matrix<D>,
    /// `binet(x) + ln(2 pi x) / 2` where x > 0, else 0.
    at_mode: Matrix<D>,
    /// `ln(library size)` of the row.
    ln_library: Matrix<D>,
}

/// See [`Backend::count_nll`](crate::nn::Backend::count_nll).
pub fn count_nll<D: Device<f32>, T: Tape<f32, D>>(
    logits: Matrix<D, T>,
    log_theta: Dispersion<'_, D, T>,
    zero_logits: Option<Matrix<D, T>>,
    target: &CountTarget,
) -> Result<Vector<D, T>> {
    check_count_nll(*logits.shape(), &log_theta, zero_logits.as_ref(), target)?;
    let terms = count_terms(logits.device(), target).map_err(failed("count_nll"))?;
    let run = || -> Result<Vector<D, T>, D::Err> {
        let log_mu = log_mean(logits, &terms, target.with_remainder)?;
        let nll = match log_theta {
            Dispersion::Gene(log_theta) => {
                let shape = *log_mu.shape();
                let log_theta = log_theta.retaped::<T>().try_broadcast_like::<_, Axis<0>>(&shape)?;
                negative_binomial(log_mu, log_theta, &terms)?
            }
            Dispersion::CellGene(log_theta) => negative_binomial(log_mu, log_theta, &terms)?,
        };
        let nll = match zero_logits {
            Some(zero_logits) => zero_inflated(nll, zero_logits, &terms)?,
            None => nll,
        };
        nll.try_sum::<_, Axis<1>>()
    };
    run().map_err(failed("count_nll"))
}

fn count_terms<D: Device<f32>>(device: &D, target: &CountTarget) -> Result<CountTerms<D>, D::Err> {
    let x = target.counts.to_dense();
    let shape = x.dim();
    let make = |values: Array2<f32>| device.try_tensor_from_vec(values.into_iter().collect(), shape);
    let at_mode = |x: f32| {
        let x = f64::from(x);
        let stirling_series =
            1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3)) + 1.0 / (1260.0 * x.powi(5)) - 1.0 / (1680.0 * x.powi(7));
        // Recurrence below 8, as in `lgamma`, in f64 on the host.
        let binet = if x >= 8.0 {
            stirling_series
        } else {
            let up = x + 8.0;
            let series = 1.0 / (12.0 * up) - 1.0 / (360.0 * up.powi(3)) + 1.0 / (1260.0 * up.powi(5));
            let product: f64 = (0..8).map(|k| x + f64::from(k)).product();
            series + (up - 0.5) * up.ln() - (x - 0.5) * x.ln() - 8.0 - product.ln()
        };
        (binet + 0.5 * (std::f64::consts::TAU * x).ln()) as f32
    };
    let mut ln_library = Array2::zeros(shape);
    ln_library.rows_mut().into_iter().zip(target.library_size.iter()).for_each(|(mut row, size)| row.fill(size.ln()));
    Ok(CountTerms {
        seen: make(x.mapv(|x| f32::from(x > 0.0)))?,
        positive: make(x.mapv(|x| if x > 0.0 { x } else { 1.0 }))?,
        ln_x: make(x.mapv(|x| if x > 0.0 { x.ln() } else { 0.0 }))?,
        at_mode: make(x.mapv(|x| if x > 0.0 { at_mode(x) } else { 0.0 }))?,
        x: make(x)?,
        ln_library: make(ln_library)?,
    })
}

/// `ln mu = logits - ln sum exp(logits) + ln library_size`.
fn log_mean<D: Device<f32>, T: Tape<f32, D>>(
    logits: Matrix<D, T>,
    terms: &CountTerms<D>,
    with_remainder: bool,
) -> Result<Matrix<D, T>, D::Err> {
    let shape = *logits.shape();
    let mut log_sum = logits.with_empty_tape().try_logsumexp::<(usize,), Axis<1>>()?;
    if with_remainder {
        log_sum = softplus(log_sum)?; // one more class, of logit 0
    }
    logits.try_sub(log_sum.try_broadcast_like::<_, Axis<1>>(&shape)?)?.try_add(terms.ln_library.clone())
}

/// `-ln NB` of each element.
fn negative_binomial<D: Device<f32>, T: Tape<f32, D>>(
    log_mu: Matrix<D, T>,
    log_theta: Matrix<D, T>,
    terms: &CountTerms<D>,
) -> Result<Matrix<D, T>, D::Err> {
    let log_theta = log_theta.try_clamp(LOG_THETA_MIN, LOG_THETA_MAX)?;
    let theta = log_theta.with_empty_tape().try_exp()?;
    let mu = log_mu.with_empty_tape().try_exp()?;
    // (x + theta) log1p((mu - x) / (x + theta)), which at x = 0 is the whole
    let total = theta.with_empty_tape().try_add(terms.x.clone())?;
    let u = mu.with_empty_tape().try_add(theta.with_empty_tape())?.try_div(total.with_empty_tape())?;
    let t = mu.try_sub(terms.x.clone())?.try_div(total.with_empty_tape())?;
    let deviance = ln_near_one(u, t)?.try_mul(total)?;
    // x (ln x - ln mu)
    let surprise = log_mu.try_negate()?.try_add(terms.ln_x.clone())?.try_mul(terms.x.clone())?;
    // the value at mu = x, for x > 0
    let total = theta.with_empty_tape().try_add(terms.positive.clone())?;
    let half_log_ratio = total.with_empty_tape().try_ln()?.try_sub(log_theta)?.try_mul(0.5)?;
    let at_mode = binet(total)?.try_sub(binet(theta)?)?.try_sub(half_log_ratio)?;
    let at_mode = at_mode.try_mul(terms.seen.clone())?.try_sub(terms.at_mode.clone())?;
    deviance.try_add(surprise)?.try_sub(at_mode)
}

/// `-ln ZINB` of each element, from `-ln NB`.
fn zero_inflated<D: Device<f32>, T: Tape<f32, D>>(
    nll: Matrix<D, T>,
    zero_logits: Matrix<D, T>,
    terms: &CountTerms<D>,
) -> Result<Matrix<D, T>, D::Err> {
    let z = zero_logits;
    let seen = softplus(z.with_empty_tape())?.try_add(nll.with_empty_tape())?.try_mul(terms.seen.clone())?;
    let unseen = terms.seen.clone().try_negate()?.try_add(1.0)?;
    let minus_z = z.try_negate()?;
    let zero = softplus(minus_z.with_empty_tape())?.try_sub(softplus(minus_z.try_sub(nll)?)?)?;
    seen.try_add(zero.try_mul(unseen)?)
}

/// `ln(1 + e^v) = m + ln(e^(v - m) + e^-m)` with m = max(v, 0), a constant to the gradient.
fn softplus<S: Shape, D: Device<f32>, T: Tape<f32, D>>(
    v: Tensor<S, f32, D, T>,
) -> Result<Tensor<S, f32, D, T>, D::Err> {
    let m = v.retaped::<NoneTape>().try_relu()?;
    let other = m.clone().try_negate()?.try_exp()?;
    v.try_sub(m.clone())?.try_exp()?.try_add(other)?.try_ln()?.try_add(m)
}

/// Where the branches meet. Not a round number: at the very joint both would pass the gradient on, and a count plus
/// theta = 1 is a whole number.
const SWITCH: f32 = 4.071_828;
/// Largest finite bound that `clamp` can take.
const NO_BOUND: f32 = 1e30;

/// See the module's documentation; z > 0.
pub fn binet<S: Shape, D: Device<f32>, T: Tape<f32, D>>(
    z: Tensor<S, f32, D, T>,
) -> Result<Tensor<S, f32, D, T>, D::Err> {
    let above = stirling(z.with_empty_tape().try_clamp(SWITCH, NO_BOUND)?)?;
    let z = z.try_clamp(0.0f32, SWITCH)?;
    // binet(z) = binet(z + 4) + (z + 3.5) ln(z + 4) - (z + 1/2) ln z - 4 - ln((z + 1) (z + 2) (z + 3))
    let up = z.with_empty_tape().try_add(4.0)?;
    let grow = z.with_empty_tape().try_add(3.5)?.try_mul(up.with_empty_tape().try_ln()?)?;
    let shrink = z.with_empty_tape().try_add(0.5)?.try_mul(z.with_empty_tape().try_ln()?)?;
    let product =
        z.with_empty_tape().try_add(1.0)?.try_mul(z.with_empty_tape().try_add(2.0)?)?.try_mul(z.try_add(3.0)?)?;
    let below = stirling(up)?.try_add(grow)?.try_sub(shrink)?.try_sub(product.try_ln()?)?;
    let s = f64::from(SWITCH);
    let at_switch =
        1.0 / (12.0 * s) - 1.0 / (360.0 * s.powi(3)) + 1.0 / (1260.0 * s.powi(5)) - 1.0 / (1680.0 * s.powi(7));
    below.try_add(above)?.try_sub((4.0 + at_switch) as f32)
}

/// Four terms of Stirling's series of [`binet`] for z >= 4.
fn stirling<S: Shape, D: Device<f32>, T: Tape<f32, D>>(
    z: Tensor<S, f32, D, T>,
) -> Result<Tensor<S, f32, D, T>, D::Err> {
    let v = z.try_recip()?;
    let v2 = v.with_empty_tape().try_square()?;
    let series = v2.with_empty_tape().try_mul(-1.0 / 1680.0)?.try_add(1.0 / 1260.0)?;
    let series = series.try_mul(v2.with_empty_tape())?.try_add(-1.0 / 360.0)?;
    let series = series.try_mul(v2)?.try_add(1.0 / 12.0)?;
    v.try_mul(series)
}

/// `ln u` for u > 0 and `t = u - 1`: by the series of `2 artanh(t / (2 + t))` near u = 1, where u rounds, else from u,
/// since near u = 0 it is t that rounds.
pub fn ln_near_one<S: Shape, D: Device<f32>, T: Tape<f32, D>>(
    u: Tensor<S, f32, D, T>,
    t: Tensor<S, f32, D, T>,
) -> Result<Tensor<S, f32, D, T>, D::Err> {
    /// |t / (2 + t)| stays below 1/7, and the first term left out is 3e-10.
    const NEAR: f32 = 0.25;
    let is_near = t.retaped::<NoneTape>().try_abs()?.try_lt(NEAR)?;
    let near = t.try_clamp(-NEAR, NEAR)?;
    let y = near.with_empty_tape().try_div(near.try_add(2.0)?)?;
    let (y2, tape) = y.with_empty_tape().try_square()?.split_tape();
    let mut series = y2.clone().put_tape(tape).try_mul(1.0 / 9.0)?;
    for term in [1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0] {
        series = series.try_add(term)?.try_mul(y2.retaped::<T>())?;
    }
    let near = y.try_mul(2.0)?.try_mul(series.try_add(1.0)?)?;
    is_near.try_choose(near, u.try_ln()?)
}
