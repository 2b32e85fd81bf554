//! The fused operations of the CPU: forward in plain Rust, backward as a closure on dfdx's tape.
//!
//! A backward closure takes the output's gradient out of the store, so that it can be read while the inputs' gradients
//! are written, and puts it back. Sums run in an order that does not depend on the number of threads.

pub(crate) mod activation;
pub(crate) mod attention;
pub(crate) mod batch_norm;
pub(crate) mod count_nll;
pub(crate) mod film;
pub(crate) mod fourier;
mod gemm;
pub(crate) mod layer_norm;
pub(crate) mod linear;
pub(crate) mod losses;
mod nb;
mod nb_cell;
pub(crate) mod rows;
pub(crate) mod set_distance;
pub(crate) mod sparse;
mod special;
pub(crate) mod vicreg;
mod vmath;

use super::raw;
use crate::{Error, Result};
use dfdx::prelude::{Cpu, HasShape, PutTape, Shape, SplitTape, Tape, Tensor, TensorFromVec, TryAdd, ZerosTensor};

/// A tensor that takes over `values`.
fn tensor<S: Shape>(operation: &str, values: Vec<f32>, shape: S, device: &Cpu) -> Result<Tensor<S, f32, Cpu>> {
    device.try_tensor_from_vec(values, shape).map_err(|e| Error::device(operation, e))
}

/// `values` cut into consecutive pieces of these sizes.
fn pieces(mut values: &mut [f32], sizes: impl Iterator<Item = usize>) -> Vec<&mut [f32]> {
    sizes
        .map(|size| {
            let (piece, rest) = std::mem::take(&mut values).split_at_mut(size);
            values = rest;
            piece
        })
        .collect()
}

/// `x` in row-major order, apart from its tape. A broadcast or permuted tensor is copied on the tape: dfdx keeps its
/// gradient in the layout of the storage, which a fused operation cannot add to.
fn input<S: Shape, T: Tape<f32, Cpu>>(operation: &str, x: Tensor<S, f32, Cpu, T>) -> Result<(Tensor<S, f32, Cpu>, T)> {
    if raw::is_row_major(&x) {
        return Ok(x.split_tape());
    }
    let zeros = x.device().try_zeros_like(x.shape()).map_err(|e| Error::device(operation, e))?;
    Ok(x.try_add(zeros).map_err(|e| Error::device(operation, e))?.split_tape())
}

/// The same for a weight, whose part of the tape, if any, joins `tape`.
fn weight<S: Shape, T: Tape<f32, Cpu>>(
    operation: &str,
    weight: &Tensor<S, f32, Cpu>,
    tape: &mut T,
) -> Result<Tensor<S, f32, Cpu>> {
    if raw::is_row_major(weight) {
        return Ok(weight.clone());
    }
    let (weight, copied) = input(operation, weight.clone().put_tape(T::default()))?;
    *tape = std::mem::take(tape).merge(copied);
    Ok(weight)
}
