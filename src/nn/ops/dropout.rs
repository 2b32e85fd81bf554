//! Each element of a matrix times a constant of its own: `y = x * f`, `dx = f dy`. Dropout is this product.

use super::Matrix;
use crate::{
    Error, Result,
    nn::{raw, simd::dispatch},
};
use dfdx::prelude::{Cpu, HasShape, PutTape, Tape};

/// See [`Backend::multiply`](crate::nn::Backend::multiply).
pub(crate) fn multiply<T: Tape<f32, Cpu>>(x: Matrix<Cpu, T>, factors: Vec<f32>) -> Result<Matrix<Cpu, T>> {
    check_factors(*x.shape(), &factors)?;
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

/// One factor per element.
fn check_factors(x: (usize, usize), factors: &[f32]) -> Result<()> {
    if factors.len() == x.0 * x.1 { Ok(()) } else { Err(Error::shape("multiply", x, (factors.len(),))) }
}

/// Composed of dfdx's own operations: for any device, and the oracle of the CPU's kernel.
pub mod composed {
    use super::*;
    use crate::nn::ops::failed;
    use dfdx::{prelude::*, tensor_ops::Device};

    /// Each element times a constant.
    pub fn multiply<D: Device<f32>, T: Tape<f32, D>>(x: Matrix<D, T>, factors: Vec<f32>) -> Result<Matrix<D, T>> {
        check_factors(*x.shape(), &factors)?;
        let factors = x.device().try_tensor_from_vec(factors, *x.shape()).map_err(failed("multiply"))?;
        x.try_mul(factors).map_err(failed("multiply"))
    }
}
