//! `y = x W + b`, dense. With the gradient dy: `dx = dy W^T`, `dW = x^T dy`, `db = sum over rows of dy`; dW and db stay on
//! the GPU.

use super::{
    commands::spread,
    kernels::{COLUMN_SUMS, GEMM},
    session::{self, Session, backward, id, with},
};
use crate::{
    Result,
    nn::{
        Matrix, Vector,
        ops::{self, cpu},
        raw,
    },
};
use dfdx::prelude::{Cpu, HasShape, PutTape, Tape};
use wgpu::Buffer;

/// Rows and columns of a tile of the product that one workgroup computes.
const TILE: usize = 64;

/// A row-major matrix on the GPU, or its transpose.
#[derive(Clone, Copy)]
pub(super) struct MatRef<'a> {
    values: &'a Buffer,
    rows: usize,
    columns: usize,
    strides: [usize; 2],
}

impl<'a> MatRef<'a> {
    pub(super) fn new(values: &'a Buffer, rows: usize, columns: usize) -> Self {
        Self { values, rows, columns, strides: [columns, 1] }
    }

    fn t(self) -> Self {
        let Self { values, rows, columns, strides: [row, column] } = self;
        Self { values, rows: columns, columns: rows, strides: [column, row] }
    }
}

/// What a product is added to.
#[derive(Clone, Copy)]
enum Start<'a> {
    Zero,
    /// What is there.
    Sum,
    /// This row, in each row.
    Bias(&'a Buffer),
}

impl Session {
    /// `out = start + a b`; out is row-major `(a.rows, b.columns)`.
    fn product(&mut self, out: &Buffer, start: Start<'_>, a: MatRef<'_>, b: MatRef<'_>) -> Result<()> {
        let (mode, bias) = match start {
            // The shader binds a bias in every mode; any array that it only reads will do.
            Start::Zero => (0, a.values),
            Start::Sum => (1, a.values),
            Start::Bias(bias) => (2, bias),
        };
        let [a_row, a_column] = a.strides;
        let [b_row, b_column] = b.strides;
        let numbers =
            [a.rows, b.columns, a.columns, a_row, a_column, b_row, b_column, mode].map(|number| number as u32);
        let groups = [b.columns.div_ceil(TILE) as u32, a.rows.div_ceil(TILE) as u32, 1];
        self.run(&GEMM, &numbers, &[a.values, b.values, bias, out], groups)
    }

    /// `sums[j] += sum over rows of x[row, j]`.
    pub(super) fn add_column_sums(&mut self, sums: &Buffer, x: &Buffer, rows: usize, width: usize) -> Result<()> {
        self.run(&COLUMN_SUMS, &[rows as u32, width as u32], &[x, sums], spread(width, 64))
    }
}

/// See [`Backend::linear`](crate::nn::Backend::linear).
pub(crate) fn linear<T: Tape<f32, Cpu>>(x: Matrix<Cpu, T>, w: &Matrix<Cpu>, b: &Vector<Cpu>) -> Result<Matrix<Cpu, T>> {
    ops::check_linear("linear", *x.shape(), w, b)?;
    let ((rows, inputs), (_, outputs)) = (*x.shape(), *w.shape());
    // Nothing to compute; or a weight that is a view of another tensor, which has no gradient of its own.
    if rows * inputs * outputs == 0 || !raw::is_row_major(w) || !raw::is_row_major(b) {
        return cpu::linear(x, w, b);
    }
    let (x, mut tape) = ops::input("linear", x)?;
    let (y, x_there, w_there) = with(|s| {
        let (x_there, w_there, b_there) = (s.activation(&x)?, s.weight(w)?, s.weight(b)?);
        let y = s.array(rows * outputs)?;
        let (left, right) = (MatRef::new(&x_there, rows, inputs), MatRef::new(&w_there, inputs, outputs));
        s.product(&y, Start::Bias(&b_there), left, right)?;
        Ok((s.output("linear", y, (rows, outputs), x.device(), T::OWNS_TAPE)?, x_there, w_there))
    })?;
    if T::OWNS_TAPE {
        let (y, x, w, b) = (y.ghost(), x.ghost(), id(w), id(b));
        tape.add_backward_op(move |grads| {
            let dy = std::mem::take(&mut **grads.get_or_alloc_mut(&y)?);
            let dx = backward(|s| {
                let there = s.upload(&dy)?;
                let gradient = MatRef::new(&there, rows, outputs);
                let (dw, db) = (s.gradient(w)?, s.gradient(b)?);
                s.product(&dw, Start::Sum, MatRef::new(&x_there, rows, inputs).t(), gradient)?;
                s.add_column_sums(&db, &there, rows, outputs)?;
                let dx = s.array(rows * inputs)?;
                s.product(&dx, Start::Zero, gradient, MatRef::new(&w_there, inputs, outputs).t())?;
                s.read(&dx, rows * inputs)
            })?;
            session::add_to(grads.get_or_alloc_mut(&x)?, &dx);
            **grads.get_or_alloc_mut(&y)? = dy;
            Ok(())
        });
    }
    Ok(y.put_tape(tape))
}
