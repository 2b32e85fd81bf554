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

use dfdx::{prelude::*, tensor_ops::Device};

/// Where the branches meet. Not a round number: at the very joint both would pass the gradient on, and a count plus
/// theta = 1 is a whole number.
const SWITCH: f32 = 4.071_828;
/// Largest finite bound that `clamp` can take.
const NO_BOUND: f32 = 1e30;

/// See the module's documentation; z > 0.
pub(super) fn binet<S: Shape, D: Device<f32>, T: Tape<f32, D>>(
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
pub(super) fn ln_near_one<S: Shape, D: Device<f32>, T: Tape<f32, D>>(
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

#[cfg(test)]
mod tests {
    use super::*;
    use statrs::function::gamma::{digamma, ln_gamma};

    #[test]
    fn binet_and_its_derivative() {
        let dev = Cpu::default();
        let zs: Vec<f32> =
            (0..400).map(|i| 10f32.powf(-6.0 + 15.0 * i as f32 / 399.0)).chain([1.0, 4.0, 5.0]).collect();
        let z = dev.tensor_from_vec(zs.clone(), (zs.len(),));
        let y = binet(z.leaky_trace()).expect("the CPU does not fail");
        let values = y.as_vec();
        let slopes = y.sum().backward().get(&z).as_vec();
        for ((&z, value), slope) in zs.iter().zip(values).zip(slopes) {
            let z = f64::from(z);
            // Beyond 1e4 the leading terms cancel to nothing in f64 too, and the first term of the series is exact.
            let (want, want_slope) = if z > 1e4 {
                (1.0 / (12.0 * z), -1.0 / (12.0 * z * z))
            } else {
                let stirling = (z - 0.5) * z.ln() - z + 0.5 * (2.0 * std::f64::consts::PI).ln();
                (ln_gamma(z) - stirling, digamma(z) - z.ln() + 0.5 / z)
            };
            assert!((f64::from(value) - want).abs() < 5e-6, "binet({z}) = {value}, not {want}");
            assert!((f64::from(slope) - want_slope).abs() * z < 5e-6, "binet'({z}) = {slope}, not {want_slope}");
        }
    }

    #[test]
    fn ln_near_one_and_its_derivative() {
        let dev = Cpu::default();
        let ts: Vec<f32> = vec![-0.99, -0.3, -0.25, -0.1, -1e-6, 0.0, 1e-12, 1e-3, 0.2499, 0.26, 3.0, 1e6];
        let t = dev.tensor_from_vec(ts.clone(), (ts.len(),));
        let u = t.leaky_trace() + 1.0;
        let y = ln_near_one(u, t.leaky_trace()).expect("the CPU does not fail");
        let values = y.as_vec();
        let slopes = y.sum().backward().get(&t).as_vec();
        for ((t, value), slope) in ts.into_iter().map(f64::from).zip(values).zip(slopes) {
            assert!((f64::from(value) - t.ln_1p()).abs() <= 5e-7 * t.ln_1p().abs(), "log1p({t}) = {value}");
            assert!((f64::from(slope) * (1.0 + t) - 1.0).abs() < 1e-5, "the derivative at {t} is {slope}");
        }
    }
}
