//! Element-wise nonlinearities.
//!
//! | name | f(x) |
//! |---|---|
//! | SiLU | `x / (1 + e^-x)` (Elfwing et al. 2018) |
//! | GELU | `x Phi(x)` with the exact normal distribution function, not its tanh approximation (Hendrycks and Gimpel 2016) |
//! | ReLU | `max(x, 0)` |
//!
//! The CPU kernel is one vectorised pass forward and one backward.

use super::{
    Matrix,
    vmath::{exp, sigmoid},
};
use crate::{
    Result,
    nn::{raw, simd::dispatch},
};
use dfdx::prelude::{Cpu, HasShape, PutTape, Tape};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// `erfc(z) = t (a1 + t (a2 + t (a3 + t (a4 + t a5)))) e^(-z^2)` with `t = 1 / (1 + ERFC_SCALE z)`, z >= 0: absolute
/// error 1.5e-7 (Abramowitz and Stegun 7.1.26).
const ERFC_SCALE: f32 = 0.327_591_1;
/// a5 to a1 of [`ERFC_SCALE`]'s formula.
const ERFC_COEFFICIENTS: [f32; 5] = [1.061_405_4, -1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6];
/// Which nonlinearity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// `x / (1 + e^-x)`.
    #[default]
    Silu,
    /// `x Phi(x)`, exact.
    Gelu,
    /// `max(x, 0)`.
    Relu,
}

/// Values that one task takes: 64 KiB.
const BLOCK: usize = 1 << 14;

/// See [`Backend::activation`](crate::nn::Backend::activation).
pub(crate) fn activation<T: Tape<f32, Cpu>>(x: Matrix<Cpu, T>, activation: Activation) -> Result<Matrix<Cpu, T>> {
    match activation {
        Activation::Silu => elementwise(x, silu),
        Activation::Gelu => elementwise(x, gelu),
        Activation::Relu => elementwise(x, relu),
    }
}

/// f(x) and f'(x).
#[inline(always)]
fn silu(x: f32) -> (f32, f32) {
    let gate = sigmoid(x);
    (x * gate, gate * (1.0 + x * (1.0 - gate)))
}

/// f(x) and f'(x); erfc by Abramowitz and Stegun 7.1.26.
#[inline(always)]
fn gelu(x: f32) -> (f32, f32) {
    let half_square = 0.5 * x * x;
    let bell = exp(-half_square);
    let t = 1.0 / (1.0 + ERFC_SCALE * std::f32::consts::FRAC_1_SQRT_2 * x.abs());
    let tail = 0.5 * bell * ERFC_COEFFICIENTS.iter().fold(0.0, |sum, c| (sum + c) * t);
    let cumulative = if x < 0.0 { tail } else { 1.0 - tail };
    let density = bell * 0.398_942_3; // 1 / sqrt(2 pi)
    (x * cumulative, cumulative + x * density)
}

/// f(x) and f'(x); NaN is passed on.
#[inline(always)]
fn relu(x: f32) -> (f32, f32) {
    if x <= 0.0 { (0.0, 0.0) } else { (x, 1.0) }
}

/// Applies `f`, which gives the value and the derivative; the caller's type makes it part of the vectorised loop.
fn elementwise<T: Tape<f32, Cpu>>(
    x: Matrix<Cpu, T>,
    f: impl Fn(f32) -> (f32, f32) + Copy + Send + Sync + 'static,
) -> Result<Matrix<Cpu, T>> {
    let (x, mut tape) = super::input("activation", x)?;
    let values = raw::slice(&x);
    let mut y = vec![0.0; values.len()];
    y.par_chunks_mut(BLOCK).zip(values.par_chunks(BLOCK)).for_each(|(y, x)| {
        dispatch!(for (y, &x) in y.iter_mut().zip(x) {
            *y = f(x).0;
        });
    });
    drop(values);
    let y = super::tensor("activation", y, *x.shape(), x.device())?;
    if T::OWNS_TAPE {
        let y = y.ghost();
        tape.add_backward_op(move |grads| {
            let dy = std::mem::take(&mut **grads.get_or_alloc_mut(&y)?);
            let dx = grads.get_or_alloc_mut(&x)?;
            let values = raw::slice(&x);
            dx.par_chunks_mut(BLOCK).zip(dy.par_chunks(BLOCK).zip(values.par_chunks(BLOCK))).for_each(
                |(dx, (dy, x))| {
                    dispatch!(for (dx, (&dy, &x)) in dx.iter_mut().zip(dy.iter().zip(x)) {
                        *dx += dy * f(x).1;
                    });
                },
            );
            **grads.get_or_alloc_mut(&y)? = dy;
            Ok(())
        });
    }
    Ok(y.put_tape(tape))
}

/// Composed of dfdx's own operations: for any device, and the oracle of the CPU's kernel.
pub mod composed {
    use super::*;
    use crate::nn::ops::failed;
    use dfdx::{prelude::*, tensor_ops::Device};

    /// The activation of each element.
    pub fn activation<D: Device<f32>, T: Tape<f32, D>>(
        x: Matrix<D, T>,
        activation: Activation,
    ) -> Result<Matrix<D, T>> {
        match activation {
            Activation::Silu => {
                let gate = x.with_empty_tape().try_sigmoid().map_err(failed("SiLU"))?;
                x.try_mul(gate).map_err(failed("SiLU"))
            }
            Activation::Gelu => gelu(x).map_err(failed("GELU")),
            Activation::Relu => x.try_relu().map_err(failed("ReLU")),
        }
    }

    /// `x Phi(x)` with erf by Abramowitz and Stegun 7.1.26 (absolute error 1.5e-7). dfdx 0.13 has an exact GELU, but its
    /// derivative lacks a factor 1/sqrt(2).
    fn gelu<D: Device<f32>, T: Tape<f32, D>>(x: Matrix<D, T>) -> Result<Matrix<D, T>, D::Err> {
        let negative = x.retaped::<NoneTape>().try_lt(0.0)?;
        let z = x.with_empty_tape().try_abs()?.try_mul(std::f32::consts::FRAC_1_SQRT_2)?;
        let t = z.with_empty_tape().try_mul(ERFC_SCALE)?.try_add(1.0)?.try_recip()?;
        let (t, tape) = t.split_tape();
        let [last, rest @ ..] = ERFC_COEFFICIENTS;
        let mut poly = t.clone().put_tape(tape).try_mul(last)?;
        for coefficient in rest {
            poly = poly.try_add(coefficient)?.try_mul(t.retaped::<T>())?;
        }
        let tail = poly.try_mul(z.try_square()?.try_negate()?.try_exp()?)?.try_mul(0.5)?; // Phi(-|x|)
        let body = tail.with_empty_tape().try_negate()?.try_add(1.0)?;
        negative.try_choose(tail, body)?.try_mul(x)
    }
}
