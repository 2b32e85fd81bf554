//! Systems of a symmetric positive definite matrix.
//!
//! `A = L L'` with L lower triangular (Golub and Van Loan, section 4.2); `A X = B` is then `L Z = B`, `L' X = Z`.

use crate::{Error, ErrorKind, Result};
use ndarray::{Array2, s};

/// Solves `A X = B` for X, `(n, m)`; A `(n, n)` is symmetric positive definite (its lower triangle is read), B `(n, m)`.
///
/// # Errors
/// Shapes that do not fit; a matrix that is not positive definite.
pub fn solve(a: &Array2<f64>, b: &Array2<f64>) -> Result<Array2<f64>> {
    let n = a.nrows();
    if a.ncols() != n || b.nrows() != n {
        return Err(Error::shape("Cholesky solve", a.dim(), b.dim()));
    }
    let mut l = a.clone();
    for j in 0..n {
        for i in j..n {
            let dot = l.slice(s![i, ..j]).dot(&l.slice(s![j, ..j]));
            l[[i, j]] -= dot;
        }
        let pivot = l[[j, j]];
        if pivot.is_nan() || pivot <= 0.0 {
            return Err(Error::new(
                ErrorKind::Numeric,
                format!("Cholesky: the {n} x {n} matrix is not positive definite (pivot {j} is {pivot})"),
            ));
        }
        let pivot = pivot.sqrt();
        l.slice_mut(s![j.., j]).mapv_inplace(|value| value / pivot);
    }
    let mut x = b.clone();
    for i in 0..n {
        let (before, mut row) = x.multi_slice_mut((s![..i, ..], s![i, ..]));
        for (k, before) in before.rows().into_iter().enumerate() {
            row.scaled_add(-l[[i, k]], &before);
        }
        row /= l[[i, i]];
    }
    for i in (0..n).rev() {
        let (mut row, after) = x.multi_slice_mut((s![i, ..], s![i + 1.., ..]));
        for (k, after) in after.rows().into_iter().enumerate() {
            row.scaled_add(-l[[i + 1 + k, i]], &after);
        }
        row /= l[[i, i]];
    }
    Ok(x)
}
