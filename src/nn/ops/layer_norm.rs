//! Layer normalisation ; on the CPU, one pass per row.
//!
//! `y = w * h + b` with `h = (x - mean) / s`, `s = sqrt(variance + epsilon)`, moments over the row. Backward, with `g =
//! w * dy`: `dx = (g - mean(g) - h mean(g h)) / s`, `dw = sum over rows of dy h`, `db = sum over rows of dy`. Only mean
//! and 1/s of each row are kept from the forward pass.

use super::{
    Matrix, Vector, check_widths,
    linear::add_column_sums,
    vmath::{LANES, sum},
};
use crate::{
    Result,
    nn::{raw, simd::dispatch},
};
use dfdx::prelude::{Cpu, HasShape, PutTape, Tape};
use rayon::prelude::*;

/// Rows that one task takes.
const ROW_BLOCK: usize = 8;

/// See [`Backend::layer_norm`](crate::nn::Backend::layer_norm).
pub(crate) fn layer_norm<T: Tape<f32, Cpu>>(
    x: Matrix<Cpu, T>,
    weight: &Vector<Cpu>,
    bias: &Vector<Cpu>,
    epsilon: f32,
) -> Result<Matrix<Cpu, T>> {
    check_widths("layer_norm", *x.shape(), &[weight, bias])?;
    let (x, mut tape) = super::input("layer_norm", x)?;
    let weight = super::weight("layer_norm", weight, &mut tape)?;
    let bias = super::weight("layer_norm", bias, &mut tape)?;
    let shape @ (rows, width) = *x.shape();
    let mut y = vec![0.0; rows * width];
    let mut moments = vec![(0.0, 0.0); rows];
    if width > 0 {
        let (x, weight, bias) = (raw::slice(&x), raw::slice(&weight), raw::slice(&bias));
        y.par_chunks_exact_mut(width)
            .zip(x.par_chunks_exact(width))
            .zip(&mut moments)
            .with_min_len(ROW_BLOCK)
            .for_each(|((y, x), moments)| {
                dispatch!({
                    let (mean, scale) = row_moments(x, epsilon);
                    *moments = (mean, scale);
                    for ((y, &x), (&w, &b)) in y.iter_mut().zip(x).zip(weight.iter().zip(bias.iter())) {
                        *y = (x - mean) * scale * w + b;
                    }
                });
            });
    }
    let y = super::tensor("layer_norm", y, shape, x.device())?;
    if T::OWNS_TAPE {
        let (y, weight, bias) = (y.ghost(), weight, bias.ghost());
        tape.add_backward_op(move |grads| {
            let dy = std::mem::take(&mut **grads.get_or_alloc_mut(&y)?);
            let dx = grads.get_or_alloc_mut(&x)?;
            // dy h, whose column sums are the gradient of the weight
            let mut scaled = vec![0.0; dy.len()];
            if width > 0 {
                let (x, weight) = (raw::slice(&x), raw::slice(&weight));
                dx.par_chunks_exact_mut(width)
                    .zip(scaled.par_chunks_exact_mut(width))
                    .zip(dy.par_chunks_exact(width).zip(x.par_chunks_exact(width)))
                    .zip(&moments)
                    .with_min_len(ROW_BLOCK)
                    .for_each(|(((dx, scaled), (dy, x)), &(mean, scale))| {
                        dispatch!(backward_row(dx, scaled, dy, x, &weight, mean, scale));
                    });
            }
            add_column_sums(grads.get_or_alloc_mut(&weight)?, &scaled);
            add_column_sums(grads.get_or_alloc_mut(&bias)?, &dy);
            **grads.get_or_alloc_mut(&y)? = dy;
            Ok(())
        });
    }
    Ok(y.put_tape(tape))
}

/// Mean and 1 / sqrt(variance + epsilon) of a row; the variance is that of the population, as in PyTorch.
#[inline(always)]
fn row_moments(x: &[f32], epsilon: f32) -> (f32, f32) {
    let width = x.len() as f64;
    let mean = sum(x) / width;
    let mut lanes = [0.0f64; LANES];
    for chunk in x.chunks(LANES) {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            let centred = f64::from(x) - mean;
            *lane += centred * centred;
        }
    }
    let variance = lanes.iter().sum::<f64>() / width;
    (mean as f32, (1.0 / (variance + f64::from(epsilon)).sqrt()) as f32)
}

/// Adds to dx; leaves dy h in `scaled`.
#[inline(always)]
fn backward_row(dx: &mut [f32], scaled: &mut [f32], dy: &[f32], x: &[f32], weight: &[f32], mean: f32, scale: f32) {
    let width = dx.len() as f32;
    for (scaled, (&dy, &w)) in scaled.iter_mut().zip(dy.iter().zip(weight)) {
        *scaled = dy * w;
    }
    let mean_g = sum(scaled) as f32 / width;
    for (scaled, &x) in scaled.iter_mut().zip(x) {
        *scaled *= (x - mean) * scale;
    }
    let mean_gh = sum(scaled) as f32 / width;
    for ((dx, scaled), ((&dy, &w), &x)) in dx.iter_mut().zip(scaled).zip(dy.iter().zip(weight).zip(x)) {
        let h = (x - mean) * scale;
        *dx += (dy * w - mean_g - h * mean_gh) * scale;
        *scaled = dy * h;
    }
}

/// Composed of dfdx's own operations: for any device, and the oracle of the CPU's kernel.
pub mod composed {
    use super::*;
    use crate::nn::ops::failed;
    use dfdx::{prelude::*, tensor_ops::Device};

    /// `(x - mean) / sqrt(variance + epsilon) * weight + bias`, moments over each row.
    pub fn layer_norm<D: Device<f32>, T: Tape<f32, D>>(
        x: Matrix<D, T>,
        weight: &Vector<D>,
        bias: &Vector<D>,
        epsilon: f32,
    ) -> Result<Matrix<D, T>> {
        check_widths("layer_norm", *x.shape(), &[weight, bias])?;
        let shape = *x.shape();
        let run = || -> Result<Matrix<D, T>, D::Err> {
            let normal = x.try_normalize::<Axis<1>>(epsilon)?;
            let weight = weight.retaped::<T>().try_broadcast_like::<_, Axis<0>>(&shape)?;
            let bias = bias.retaped::<T>().try_broadcast_like::<_, Axis<0>>(&shape)?;
            normal.try_mul(weight)?.try_add(bias)
        };
        run().map_err(failed("layer_norm"))
    }
}
