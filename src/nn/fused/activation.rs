//! Activations, and products with constants (dropout), on the CPU: one vectorised pass forward, one backward.

use super::vmath::{exp, sigmoid};
use crate::{
    Result,
    nn::{
        Activation, Matrix,
        activation::{ERFC_COEFFICIENTS, ERFC_SCALE},
        raw,
        simd::dispatch,
    },
};
use dfdx::prelude::{Cpu, HasShape, PutTape, Tape};
use rayon::prelude::*;

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

/// See [`Backend::multiply`](crate::nn::Backend::multiply); the number of factors is checked there.
pub(crate) fn multiply<T: Tape<f32, Cpu>>(x: Matrix<Cpu, T>, factors: Vec<f32>) -> Result<Matrix<Cpu, T>> {
    let (x, mut tape) = super::input("multiply", x)?;
    let y = dispatch!(raw::slice(&x).iter().zip(&factors).map(|(x, f)| x * f).collect());
    let y = super::tensor("multiply", y, *x.shape(), x.device())?;
    if T::OWNS_TAPE {
        let (y, x) = (y.ghost(), x.ghost());
        tape.add_backward_op(move |grads| {
            let dy = std::mem::take(&mut **grads.get_or_alloc_mut(&y)?);
            let dx = grads.get_or_alloc_mut(&x)?;
            dispatch!(dx.iter_mut().zip(dy.iter().zip(&factors)).for_each(|(dx, (dy, f))| *dx += dy * f));
            **grads.get_or_alloc_mut(&y)? = dy;
            Ok(())
        });
    }
    Ok(y.put_tape(tape))
}
