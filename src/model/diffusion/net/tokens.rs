//! Vectors cut into tokens and put together again, and rows repeated for them.

use crate::{
    Error, Result,
    nn::{Backend, Matrix},
};
use dfdx::prelude::{Axis, HasShape, PutTape, ReshapeTo, Tape, TryConcatAlong};
use std::sync::Arc;

/// How vectors of `dims` numbers divide into tokens of `group` neighbours; the last one is filled up with zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Groups {
    /// Numbers of a vector.
    pub dims: usize,
    /// Numbers of a token.
    pub group: usize,
}

impl Groups {
    /// Tokens of a vector.
    pub fn tokens(&self) -> usize {
        self.dims.div_ceil(self.group)
    }

    /// `(rows, dims)` to `(rows * tokens, group)`, the tokens of a row one after the other.
    ///
    /// # Errors
    /// An x of another width.
    pub fn split<D: Backend, T: Tape<f32, D>>(&self, mut x: Matrix<D, T>) -> Result<Matrix<D, T>> {
        let (rows, dims) = *x.shape();
        if dims != self.dims {
            return Err(Error::shape("score network of x", (rows, dims), (rows, self.dims)));
        }
        let missing = self.tokens() * self.group - dims;
        let run = || {
            if missing > 0 {
                let zeros = x.device().try_zeros_like(&(rows, missing))?.put_tape(T::default());
                x = (x, zeros).try_concat_along(Axis::<1>)?;
            }
            x.try_reshape_like(&(rows * self.tokens(), self.group))
        };
        run().map_err(|e: D::Err| Error::device("cutting into tokens", e))
    }

    /// `(rows * tokens, group)` to `(rows, dims)`.
    ///
    /// # Errors
    /// A device that fails.
    pub fn join<D: Backend, T: Tape<f32, D>>(&self, x: Matrix<D, T>) -> Result<Matrix<D, T>> {
        let rows = x.shape().0 / self.tokens();
        let filled = self.tokens() * self.group;
        let run = || {
            let x = x.try_reshape_like(&(rows, filled))?;
            if filled == self.dims { Ok(x) } else { x.try_slice((0..rows, 0..self.dims)) }
        };
        run().map_err(|e: D::Err| Error::device("joining tokens", e))
    }
}

/// `(a, b)` as `(a b / width, width)`.
pub(super) fn reshape<D: Backend, T: Tape<f32, D>>(x: Matrix<D, T>, width: usize) -> Result<Matrix<D, T>> {
    let shape = ((x.shape().0 * x.shape().1) / width, width);
    x.try_reshape_like(&shape).map_err(|e| Error::device("reshape", e))
}

/// The rows of `table`, `times` times over: `(times * rows, width)`.
pub(super) fn repeat<D: Backend, T: Tape<f32, D>>(table: &Matrix<D>, times: usize) -> Result<Matrix<D, T>> {
    let rows = table.shape().0 as u32;
    let index: Arc<[u32]> = (0..times).flat_map(|_| 0..rows).collect();
    D::take_rows(table.retaped::<T>(), &index)
}

/// The rows of `a`, then those of `b`.
pub(super) fn concat_rows<D: Backend, T: Tape<f32, D>>(a: Matrix<D, T>, b: Matrix<D, T>) -> Result<Matrix<D, T>> {
    (a, b).try_concat_along(Axis::<0>).map_err(|e| Error::device("concat_rows", e))
}
