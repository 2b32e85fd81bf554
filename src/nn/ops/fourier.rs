//! Fourier features on the CPU: sine and cosine of an angle in turns, in one vectorised pass.
//!
//! Backward, from the output itself: with `t = 2 pi (cos dsin - sin dcos)` of each row and frequency, `dx = sum over f of
//! f t` and `df = sum over rows of x t`.

use super::{Matrix, Vector, vmath::sum};
use crate::{
    Error, Result,
    nn::{raw, simd::dispatch},
};
use dfdx::prelude::{Cpu, HasShape, PutTape, Tape};
use rayon::prelude::*;

/// Rows that one task takes; sums over rows run block by block, so that they do not depend on the number of threads.
const ROW_BLOCK: usize = 256;
/// 1.5 * 2^23: adding it rounds to an integer and leaves that integer in the low bits of the mantissa.
const ROUNDING: f32 = 12_582_912.0;

/// `sin(2 pi t)` and `cos(2 pi t)`; minimax polynomials in the distance to the nearest half turn, absolute error 2e-7
/// where `abs(t) < 2^22`.
#[inline(always)]
pub fn sin_cos_turns(t: f32) -> (f32, f32) {
    let shifted = 2.0 * t + ROUNDING;
    let half_turns = shifted - ROUNDING;
    let r = t - 0.5 * half_turns; // at most 1/4
    let s = r * r;
    let sin =
        r * (6.283_185_5 + s * (-41.341_7 + s * (81.605_225 + s * (-76.704_28 + s * (42.009_78 - s * 14.393_966)))));
    let high = -85.456_79 + s * (60.243_313 + s * (-26.394_949 + s * 7.536_600_6));
    let cos = 1.0 + s * (-19.739_208 + s * (64.939_39 + s * high));
    let sign = f32::from_bits((shifted.to_bits() << 31) ^ 1.0f32.to_bits()); // -1 for an odd number of half turns
    (sin * sign, cos * sign)
}

/// See [`TokenOps::fourier`](crate::nn::Backend::fourier).
pub(crate) fn fourier<T: Tape<f32, Cpu>>(x: Matrix<Cpu, T>, frequencies: &Vector<Cpu>) -> Result<Matrix<Cpu, T>> {
    check_column(*x.shape())?;
    let (x, mut tape) = super::input("fourier", x)?;
    let frequencies = super::weight("fourier", frequencies, &mut tape)?;
    let (rows, count) = (x.shape().0, frequencies.shape().0);
    let mut y = vec![0.0; rows * 2 * count];
    if count > 0 {
        let (x, frequencies) = (raw::slice(&x), raw::slice(&frequencies));
        y.par_chunks_mut(ROW_BLOCK * 2 * count).zip(x.par_chunks(ROW_BLOCK)).for_each(|(y, x)| {
            for (y, &x) in y.chunks_exact_mut(2 * count).zip(x) {
                let (sines, cosines) = y.split_at_mut(count);
                dispatch!(for ((sin, cos), f) in sines.iter_mut().zip(&mut *cosines).zip(&*frequencies) {
                    (*sin, *cos) = sin_cos_turns(x * f);
                });
            }
        });
    }
    let y = super::tensor("fourier", y, (rows, 2 * count), x.device())?;
    if T::OWNS_TAPE {
        let kept = y.clone();
        tape.add_backward_op(move |grads| {
            let y = kept.ghost();
            let dy = std::mem::take(&mut **grads.get_or_alloc_mut(&y)?);
            let dx = grads.get_or_alloc_mut(&x)?;
            let mut parts = vec![0.0; rows.div_ceil(ROW_BLOCK) * count];
            if count > 0 {
                let (x, f, y) = (raw::slice(&x), raw::slice(&frequencies), raw::slice(&kept));
                let block = ROW_BLOCK * 2 * count;
                dx.par_chunks_mut(ROW_BLOCK)
                    .zip(parts.par_chunks_exact_mut(count))
                    .zip(x.par_chunks(ROW_BLOCK).zip(y.par_chunks(block).zip(dy.par_chunks(block))))
                    .for_each(|((dx, df), (x, (y, dy)))| {
                        let mut scratch = vec![0.0; count];
                        let rows = y.chunks_exact(2 * count).zip(dy.chunks_exact(2 * count));
                        for ((dx, &x), (y, dy)) in dx.iter_mut().zip(x).zip(rows) {
                            *dx += dispatch!(backward_row(&mut scratch, df, x, &f, y, dy));
                        }
                    });
            }
            let df = grads.get_or_alloc_mut(&frequencies)?;
            for part in parts.chunks_exact(count.max(1)) {
                df.iter_mut().zip(part).for_each(|(df, part)| *df += part);
            }
            **grads.get_or_alloc_mut(&y)? = dy;
            Ok(())
        });
    }
    Ok(y.put_tape(tape))
}

/// Adds to df; gives dx.
#[inline(always)]
fn backward_row(scratch: &mut [f32], df: &mut [f32], x: f32, f: &[f32], y: &[f32], dy: &[f32]) -> f32 {
    let (sin, cos) = y.split_at(f.len());
    let (dsin, dcos) = dy.split_at(f.len());
    let outputs = sin.iter().zip(cos).zip(dsin.iter().zip(dcos));
    for (((scratch, df), f), ((sin, cos), (dsin, dcos))) in scratch.iter_mut().zip(df).zip(f).zip(outputs) {
        let t = std::f32::consts::TAU * (cos * dsin - sin * dcos);
        *df += x * t;
        *scratch = f * t;
    }
    sum(scratch) as f32
}

fn check_column(x: (usize, usize)) -> Result<()> {
    if x.1 == 1 { Ok(()) } else { Err(Error::shape("fourier", x, (x.0, 1))) }
}

/// Composed of dfdx's own operations: for any device, and the oracle of the CPU's kernel.
pub mod composed {
    use super::*;
    use crate::nn::ops::failed;
    use dfdx::{prelude::*, tensor_ops::Device};

    /// Sines and cosines of `2 pi x f`.
    pub fn fourier<D: Device<f32>, T: Tape<f32, D>>(x: Matrix<D, T>, frequencies: &Vector<D>) -> Result<Matrix<D, T>> {
        check_column(*x.shape())?;
        let shape = (x.shape().0, frequencies.shape().0);
        let run = || -> Result<Matrix<D, T>, D::Err> {
            let x: Vector<D, T> = x.try_reshape_like(&(shape.0,))?;
            let x: Matrix<D, T> = x.try_broadcast_like::<_, Axis<1>>(&shape)?;
            let frequencies = frequencies.retaped::<T>().try_broadcast_like::<_, Axis<0>>(&shape)?;
            let angle = x.try_mul(frequencies)?.try_mul(std::f32::consts::TAU)?;
            let sines = angle.with_empty_tape().try_sin()?;
            (sines, angle.try_cos()?).try_concat_along(Axis::<1>)
        };
        run().map_err(failed("fourier"))
    }
}
