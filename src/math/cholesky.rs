//! Systems of a symmetric positive definite matrix.
//!
//! `A = L L'` with L lower triangular (Golub and Van Loan, section 4.2); `A X = B` is then `L Z = B`, `L' X = Z`.

use crate::{Error, ErrorKind, Result};
use ndarray::{Array2, s};

/// Solves `A X = B` for X, `(n, m)`; A `(n, n)` is symmetric positive definite (its lower triangle is read), B `(n, m)`.
///
/// # Errors
/// Shapes that do not fit; a matrix that is not positive definite.
pub(crate) fn solve(a: &Array2<f64>, b: &Array2<f64>) -> Result<Array2<f64>> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn the_solution_solves() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for n in [1, 2, 7, 40] {
            let root = Array2::from_shape_simple_fn((n, n + 3), || rng.random_range(-1.0..1.0));
            let a = root.dot(&root.t()) + 0.1 * Array2::<f64>::eye(n);
            let b = Array2::from_shape_simple_fn((n, 3), || rng.random_range(-1.0..1.0));
            let left = a.dot(&solve(&a, &b).expect("positive definite")) - &b;
            assert!(left.iter().all(|v| v.abs() < 1e-10), "n = {n}: {left}");
        }
    }

    #[test]
    fn by_hand() {
        let x = solve(&array![[4.0, 2.0], [2.0, 3.0]], &array![[8.0], [8.0]]).expect("positive definite");
        assert!((&x - &array![[1.0], [2.0]]).iter().all(|v| v.abs() < 1e-12), "{x}");
    }

    #[test]
    fn what_has_no_solution_is_refused() {
        let b = array![[1.0], [1.0]];
        for a in [array![[1.0, 2.0], [2.0, 1.0]], array![[0.0, 0.0], [0.0, 1.0]], array![[f64::NAN, 0.0], [0.0, 1.0]]] {
            assert_eq!(solve(&a, &b).expect_err("not positive definite").kind(), ErrorKind::Numeric);
        }
        assert_eq!(solve(&array![[1.0]], &b).expect_err("shapes").kind(), ErrorKind::Shape);
    }
}
