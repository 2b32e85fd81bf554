//! `y = x W + b` on the CPU, dense.
//!
//! With the gradient dy of the output: `dx = dy W^T`, `dW = x^T dy`, `db = sum over rows of dy`.

use super::{
    Matrix, Vector,
    gemm::{MatRef, add_product, add_scaled_product},
};
use crate::{
    Error, Result,
    nn::{raw, simd::dispatch},
};
use dfdx::{
    prelude::{Cpu, HasShape, PutTape, Tape},
    tensor_ops::Device,
};
use rayon::prelude::*;

/// See [`Backend::linear`](crate::nn::Backend::linear).
pub(crate) fn linear<T: Tape<f32, Cpu>>(x: Matrix<Cpu, T>, w: &Matrix<Cpu>, b: &Vector<Cpu>) -> Result<Matrix<Cpu, T>> {
    check_linear("linear", *x.shape(), w, b)?;
    let (x, mut tape) = super::input("linear", x)?;
    let (w, b) = (super::weight("linear", w, &mut tape)?, super::weight("linear", b, &mut tape)?);
    let ((rows, inputs), (_, outputs)) = (*x.shape(), *w.shape());
    let mut y = repeat(&raw::slice(&b), rows);
    add_product(&mut y, MatRef::new(&raw::slice(&x), rows, inputs), MatRef::new(&raw::slice(&w), inputs, outputs));
    let y = super::tensor("linear", y, (rows, outputs), x.device())?;
    if T::OWNS_TAPE {
        let (y, w, b) = (y.ghost(), w, b.ghost());
        tape.add_backward_op(move |grads| {
            let dy = std::mem::take(&mut **grads.get_or_alloc_mut(&y)?);
            let dy_matrix = MatRef::new(&dy, rows, outputs);
            let dx = grads.get_or_alloc_mut(&x)?;
            add_input_gradient(dx, dy_matrix, MatRef::new(&raw::slice(&w), inputs, outputs), 1.0);
            let dw = grads.get_or_alloc_mut(&w)?;
            add_product(dw, MatRef::new(&raw::slice(&x), rows, inputs).t(), dy_matrix);
            add_column_sums(grads.get_or_alloc_mut(&b)?, &dy);
            **grads.get_or_alloc_mut(&y)? = dy;
            Ok(())
        });
    }
    Ok(y.put_tape(tape))
}

/// `dx += scale * dy W^T`. A matrix product reads one factor's transpose in small pieces, which is slow: of W as the
/// product stands, or of dy if dx^T is computed and turned. The latter is better where the batch is smaller than the
/// input.
pub(super) fn add_input_gradient(dx: &mut [f32], dy: MatRef<'_>, w: MatRef<'_>, scale: f32) {
    let (inputs, rows) = (w.rows(), dy.rows());
    if rows >= inputs {
        return add_scaled_product(dx, dy, w.t(), scale);
    }
    let mut turned = vec![0.0; dx.len()];
    add_scaled_product(&mut turned, w, dy.t(), scale); // (in, rows)
    for (row, dx) in dx.chunks_exact_mut(inputs).enumerate() {
        dx.iter_mut().zip(turned[row..].iter().step_by(rows)).for_each(|(dx, d)| *dx += d);
    }
}

/// `rows` copies of `row`, one after the other.
pub(crate) fn repeat(row: &[f32], rows: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(row.len() * rows);
    (0..rows).for_each(|_| out.extend_from_slice(row));
    out
}

/// `sums[j] += sum_i matrix[i][j]`, each column from its first row to its last whatever the number of threads.
pub(crate) fn add_column_sums(sums: &mut [f32], matrix: &[f32]) {
    /// Columns that one task takes: 1 KiB of every row.
    const BLOCK: usize = 256;
    let columns = sums.len();
    sums.par_chunks_mut(BLOCK).enumerate().for_each(|(block, sums)| {
        dispatch!({
            for row in matrix.chunks_exact(columns) {
                for (sum, &value) in sums.iter_mut().zip(&row[block * BLOCK..]) {
                    *sum += value;
                }
            }
        });
    });
}

/// x `(rows, in)`, W `(in, out)`, b `(out,)`.
pub(in crate::nn) fn check_linear<D: Device<f32>>(
    operation: &str,
    x: (usize, usize),
    w: &Matrix<D>,
    b: &Vector<D>,
) -> Result<()> {
    let (&w, &b) = (w.shape(), b.shape());
    if x.1 != w.0 {
        return Err(Error::shape(operation, x, w));
    }
    if b.0 != w.1 {
        return Err(Error::shape(operation, w, b));
    }
    Ok(())
}

/// Composed of dfdx's own operations: for any device, and the oracle of the CPU's kernel.
pub mod composed {
    use super::*;
    use crate::nn::ops::failed;
    use dfdx::{prelude::*, tensor_ops::Device};

    /// `x W + b`.
    pub fn linear<D: Device<f32>, T: Tape<f32, D>>(
        x: Matrix<D, T>,
        w: &Matrix<D>,
        b: &Vector<D>,
    ) -> Result<Matrix<D, T>> {
        check_linear("linear", *x.shape(), w, b)?;
        let shape = (x.shape().0, w.shape().1);
        let y = x.try_matmul(w.clone()).map_err(failed("linear"))?; // (rows, out)
        let b = b.retaped::<T>().try_broadcast_like::<_, Axis<0>>(&shape).map_err(failed("linear"))?;
        y.try_add(b).map_err(failed("linear"))
    }
}
