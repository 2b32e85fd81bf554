//! Each view of a cell is to be found by the other view of the same cell (InfoNCE, van den Oord et al. 2018; NT-Xent without
//! the negatives of the same view, as in CLIP, Radford et al. 2021).
//!
//! For two views a, b `(rows, width)` of n cells and a temperature t:
//!
//! ```text
//! L_ij = a_i . b_j / (|a_i| |b_j| t)
//! loss = - 1/(2n) sum_i (ln softmax_j(L_ij)[i] + ln softmax_j(L_ji)[i])      ln n where nothing is told apart
//! ```
//!
//! ```
//! use genailab::{dfdx::prelude::*, nn::{info_nce, ops::to_f32}};
//!
//! let dev = Cpu::default();
//! let a = dev.tensor_from_vec(vec![1.0, 0.0, 0.0, 1.0], (2, 2));
//! let loss = info_nce(a.clone(), a, 1.0)?; // ln(1 + exp(0 - 1))
//! assert!((to_f32(&loss) - (1.0 + (-1.0f32).exp()).ln()).abs() < 1e-5);
//! # Ok::<(), genailab::Error>(())
//! ```

use super::{Backend, Matrix, Scalar, init};
use crate::{Error, Result};
use dfdx::prelude::{Axis, HasShape, MeanTo, PermuteTo, PutTape, ReshapeTo, SumTo, Tape, TryAdd, TryMatMul, TryMul};

/// Added to the squared norm of a row, so that one of zeros has a gradient.
const EPSILON: f32 = 1e-12;

/// The loss of two batches of embeddings, `(rows, width)` each, with gradients for both.
///
/// # Errors
/// Shapes that differ, no row at all, a temperature that is not positive; a device that fails.
pub fn info_nce<D: Backend, T: Tape<f32, D>>(
    a: Matrix<D, T>,
    b: Matrix<D, T>,
    temperature: f32,
) -> Result<Scalar<D, T>> {
    let (rows, width) = *a.shape();
    if a.shape() != b.shape() {
        return Err(Error::shape("info_nce", a.shape(), b.shape()));
    }
    if rows == 0 || width == 0 {
        return Err(Error::config("info_nce: there is nothing to compare in an empty batch"));
    }
    if !(temperature > 0.0 && temperature.is_finite()) {
        return Err(Error::config(format!("info_nce: the temperature is {temperature}, and it must be positive")));
    }
    let device = a.device().clone();
    let ones = init::constant(&device, (1, width), 1.0)?;
    let normed = |x: Matrix<D, T>| {
        let norms = x.retaped::<T>().try_square()?.try_sum::<(usize,), Axis<1>>()?.try_add(EPSILON)?.try_sqrt()?;
        let inverse = norms.try_recip()?.try_reshape_like(&(rows, 1))?.try_matmul(ones.clone())?; // (rows, width)
        x.try_mul(inverse)
    };
    let loss = || {
        let (a, b) = (normed(a)?, normed(b)?);
        let logits = a.try_matmul(b.try_permute::<(usize, usize), _>()?)?.try_mul(1.0 / temperature)?; // (rows, rows)
        let turned = logits.retaped::<T>().try_permute::<(usize, usize), _>()?;
        let told = logits.try_log_softmax::<Axis<1>>()?.try_add(turned.try_log_softmax::<Axis<1>>()?)?;
        let mut own = vec![0.0; rows * rows];
        own.iter_mut().step_by(rows + 1).for_each(|own| *own = 1.0);
        let own: Matrix<D> = device.try_tensor_from_vec(own, (rows, rows))?;
        told.try_mul(own.put_tape(T::default()))?.try_mean()?.try_mul(-0.5 * rows as f32)
    };
    loss().map_err(|e: D::Err| Error::device("info_nce", e))
}
