//! The fused operations of the CPU: forward in plain Rust, backward as a closure on dfdx's tape.
//!
//! A backward closure takes the output's gradient out of the store, so that it can be read while the inputs' gradients are
//! written, and puts it back. Sums run in an order that does not depend on the number of threads.

pub(crate) mod count_nll;
mod gemm;
pub(crate) mod linear;
mod nb;
mod nb_cell;
pub(crate) mod sparse;
mod special;
mod vmath;

use crate::{Error, Result};
use dfdx::prelude::{Cpu, Shape, Tensor, TensorFromVec};

/// A tensor that takes over `values`.
fn tensor<S: Shape>(operation: &str, values: Vec<f32>, shape: S, device: &Cpu) -> Result<Tensor<S, f32, Cpu>> {
    device.try_tensor_from_vec(values, shape).map_err(|e| Error::device(operation, e))
}
