//! Batch normalisation on the CPU, by the moments of the batch.
//!
//! `y = w * h + b` with `h = (x - mean) s`, `s = 1 / sqrt(variance + epsilon)`, moments over the rows. Backward:
//! `db = sum dy`, `dw = sum dy h`, `dx = w s (dy - db / n - h dw / n)`. A batch of hidden features is a few hundred
//! KiB, so the passes over it run in the second-level cache of one core.

use super::{Matrix, Vector, check_widths};
use crate::{
    Result,
    nn::{raw, simd::dispatch},
};
use dfdx::prelude::{Cpu, HasShape, PutTape, Tape};

/// Mean and population variance of each feature over a batch, `(width,)`.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchMoments {
    /// Mean over the rows.
    pub mean: Vec<f32>,
    /// Mean squared distance from the mean.
    pub variance: Vec<f32>,
}

/// See [`Backend::batch_norm`](crate::nn::Backend::batch_norm).
pub(crate) fn batch_norm<T: Tape<f32, Cpu>>(
    x: Matrix<Cpu, T>,
    weight: &Vector<Cpu>,
    bias: &Vector<Cpu>,
    epsilon: f32,
) -> Result<(Matrix<Cpu, T>, BatchMoments)> {
    check_widths("batch_norm", *x.shape(), &[weight, bias])?;
    let (x, mut tape) = super::input("batch_norm", x)?;
    let weight = super::weight("batch_norm", weight, &mut tape)?;
    let bias = super::weight("batch_norm", bias, &mut tape)?;
    let moments = dispatch!(column_moments(&raw::slice(&x), x.shape().1));
    let scale: Vec<f32> = moments.variance.iter().map(|v| 1.0 / (v + epsilon).sqrt()).collect();
    let mut h = raw::slice(&x).into_owned();
    let mut y = Vec::with_capacity(h.len());
    {
        let (mean, weight, bias) = (&moments.mean, raw::slice(&weight), raw::slice(&bias));
        dispatch!(for row in h.chunks_exact_mut(mean.len().max(1)) {
            for (h, (mean, scale)) in row.iter_mut().zip(mean.iter().zip(&scale)) {
                *h = (*h - mean) * scale;
            }
            y.extend(row.iter().zip(weight.iter().zip(bias.iter())).map(|(h, (w, b))| h * w + b));
        });
    }
    let y = super::tensor("batch_norm", y, *x.shape(), x.device())?;
    if T::OWNS_TAPE {
        let (y, x, bias) = (y.ghost(), x.ghost(), bias.ghost());
        tape.add_backward_op(move |grads| {
            let dy = std::mem::take(&mut **grads.get_or_alloc_mut(&y)?);
            let dx = grads.get_or_alloc_mut(&x)?;
            let (dw, db) = dispatch!(add_input_gradient(dx, &dy, &h, &raw::slice(&weight), &scale));
            grads.get_or_alloc_mut(&weight)?.iter_mut().zip(&dw).for_each(|(sum, d)| *sum += d);
            grads.get_or_alloc_mut(&bias)?.iter_mut().zip(&db).for_each(|(sum, d)| *sum += d);
            **grads.get_or_alloc_mut(&y)? = dy;
            Ok(())
        });
    }
    Ok((y.put_tape(tape), moments))
}

/// Mean and population variance of each column, in two passes.
#[inline(always)]
fn column_moments(x: &[f32], width: usize) -> BatchMoments {
    let (mut mean, mut variance) = (vec![0.0; width], vec![0.0; width]);
    let per_row = width as f32 / x.len().max(1) as f32;
    for row in x.chunks_exact(width.max(1)) {
        mean.iter_mut().zip(row).for_each(|(m, x)| *m += x);
    }
    mean.iter_mut().for_each(|m| *m *= per_row);
    for row in x.chunks_exact(width.max(1)) {
        for (v, (x, m)) in variance.iter_mut().zip(row.iter().zip(&mean)) {
            *v += (x - m) * (x - m);
        }
    }
    variance.iter_mut().for_each(|v| *v *= per_row);
    BatchMoments { mean, variance }
}

/// Adds to dx; returns the gradients of weight and bias.
#[inline(always)]
fn add_input_gradient(dx: &mut [f32], dy: &[f32], h: &[f32], weight: &[f32], scale: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let width = scale.len();
    let (mut dw, mut db) = (vec![0.0; width], vec![0.0; width]);
    let per_row = width as f32 / dy.len().max(1) as f32;
    for (dy, h) in dy.chunks_exact(width.max(1)).zip(h.chunks_exact(width.max(1))) {
        for ((dw, db), (dy, h)) in dw.iter_mut().zip(&mut db).zip(dy.iter().zip(h)) {
            *dw += dy * h;
            *db += dy;
        }
    }
    let rows = dx.chunks_exact_mut(width.max(1)).zip(dy.chunks_exact(width.max(1)).zip(h.chunks_exact(width.max(1))));
    for (dx, (dy, h)) in rows {
        let columns = weight.iter().zip(scale).zip(dw.iter().zip(&db));
        for ((dx, (dy, h)), ((w, s), (dw, db))) in dx.iter_mut().zip(dy.iter().zip(h)).zip(columns) {
            *dx += w * s * (dy - (db + h * dw) * per_row);
        }
    }
    (dw, db)
}

/// Composed of dfdx's own operations: for any device, and the oracle of the CPU's kernel.
pub mod composed {
    use super::*;
    use crate::nn::ops::failed;
    use dfdx::{prelude::*, tensor_ops::Device};

    /// `(x - mean) / sqrt(variance + epsilon) * weight + bias`, moments over each column.
    pub fn batch_norm<D: Device<f32>, T: Tape<f32, D>>(
        x: Matrix<D, T>,
        weight: &Vector<D>,
        bias: &Vector<D>,
        epsilon: f32,
    ) -> Result<(Matrix<D, T>, BatchMoments)> {
        check_widths("batch_norm", *x.shape(), &[weight, bias])?;
        let run = || -> Result<_, D::Err> {
            let shape = *x.shape();
            let mean = x.with_empty_tape().try_mean::<(usize,), Axis<0>>()?;
            let means = mean.as_vec();
            let centred = x.try_sub(mean.try_broadcast_like::<_, Axis<0>>(&shape)?)?;
            let variance = centred.with_empty_tape().try_square()?.try_mean::<(usize,), Axis<0>>()?;
            let moments = BatchMoments { mean: means, variance: variance.as_vec() };
            let deviation = variance.try_add(epsilon)?.try_sqrt()?;
            let h = centred.try_div(deviation.try_broadcast_like::<_, Axis<0>>(&shape)?)?;
            let weight = weight.retaped::<T>().try_broadcast_like::<_, Axis<0>>(&shape)?;
            let bias = bias.retaped::<T>().try_broadcast_like::<_, Axis<0>>(&shape)?;
            Ok((h.try_mul(weight)?.try_add(bias)?, moments))
        };
        run().map_err(failed("batch_norm"))
    }

    /// The same by given moments, of which no gradient is taken.
    pub fn standardize<D: Device<f32>, T: Tape<f32, D>>(
        x: Matrix<D, T>,
        mean: &Vector<D>,
        variance: &Vector<D>,
        weight: &Vector<D>,
        bias: &Vector<D>,
        epsilon: f32,
    ) -> Result<Matrix<D, T>> {
        check_widths("batch_norm", *x.shape(), &[mean, variance, weight, bias])?;
        let run = || -> Result<_, D::Err> {
            let shape = *x.shape();
            let deviation = variance.clone().try_add(epsilon)?.try_sqrt()?;
            let weight = weight.retaped::<T>().try_div(deviation)?; // (width,)
            let shift = bias.retaped::<T>().try_sub(weight.with_empty_tape().try_mul(mean.clone())?)?;
            let weight = weight.try_broadcast_like::<_, Axis<0>>(&shape)?;
            x.try_mul(weight)?.try_add(shift.try_broadcast_like::<_, Axis<0>>(&shape)?)
        };
        run().map_err(failed("batch_norm"))
    }
}
