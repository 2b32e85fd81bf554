//! The Hilbert-Schmidt independence criterion (HSIC): how much two descriptions of the same rows depend on each other.
//!
//! With Gram matrices K and L of n rows `(n, n)` and the centring matrix `H = I - 1/n`:
//!
//! ```text
//! HSIC = 1/n^2 tr(K H L H)                 (Gretton et al. 2005, the biased estimate, with 1/n^2)
//! K_ij = exp(-gamma |x_i - x_j|^2)         [`gaussian_gram`]
//! L_ij = |S_i and S_j| / sqrt(|S_i| |S_j|) [`set_gram`]: 1 for equal sets, 0 for sets without a common member
//! ```
//!
//! It is 0 or more, and 0 in the limit of many rows only where the two are independent (for a characteristic kernel, as the
//! Gaussian). Of n independent rows the estimate is of the order 1/n: its mean over all permutations of the rows of one of the two
//! is `tr(H K H) tr(H L H) / (n^2 (n - 1))`. [`hsic_beyond_chance`] takes that off. As a penalty the plain estimate would make the rows
//! more alike, to lower its own floor.

use super::{Matrix, Scalar, failed, set_distance::composed::squares, sparse::IndexSets};
use crate::{Error, Result};
use dfdx::{prelude::*, tensor_ops::Device};
use ndarray::Array2;

/// `exp(-gamma |x_i - x_j|^2)` of the rows of x `(n, width)`, `(n, n)`; see [`median_gamma`](super::median_gamma).
///
/// # Errors
/// A device that fails.
pub fn gaussian_gram<D: Device<f32>, T: Tape<f32, D>>(x: Matrix<D, T>, gamma: f32) -> Result<Matrix<D, T>> {
    let run = || squares(x.with_empty_tape(), x, true)?.try_mul(-gamma)?.try_exp();
    run().map_err(failed("gaussian_gram"))
}

/// The cosine of each two sets as vectors of zeros and ones, `(sets, sets)`; two empty sets are alike.
pub fn set_gram(sets: &IndexSets) -> Array2<f32> {
    Array2::from_shape_fn((sets.len(), sets.len()), |(i, j)| {
        let (a, b) = (sets.set(i), sets.set(j));
        let common = a.iter().filter(|&index| b.binary_search(index).is_ok()).count() as f32;
        match (a.len() * b.len(), a.len() + b.len()) {
            (_, 0) => 1.0,
            (0, _) => 0.0,
            (product, _) => common / (product as f32).sqrt(),
        }
    })
}

/// HSIC of two Gram matrices of the same rows, `(n, n)` each; gradients go to both.
///
/// # Errors
/// Shapes that differ or are not square; a device that fails.
pub fn hsic<D: Device<f32>, T: Tape<f32, D>>(k: Matrix<D, T>, l: Matrix<D, T>) -> Result<Scalar<D, T>> {
    let shape @ (n, columns) = *k.shape();
    if shape != *l.shape() || n != columns {
        return Err(Error::shape("hsic", shape, l.shape()));
    }
    let run = || -> Result<Scalar<D, T>, D::Err> {
        // The Gram matrices are symmetric: the means of the rows are those of the columns.
        let of_rows = l.retaped::<T>().try_mean::<(usize,), Axis<1>>()?;
        let of_all: Scalar<D, T> = l.retaped::<T>().try_mean()?;
        let centred = l
            .try_sub(of_rows.retaped::<T>().try_broadcast_like::<_, Axis<1>>(&shape)?)?
            .try_sub(of_rows.try_broadcast_like::<_, Axis<0>>(&shape)?)?
            .try_add(of_all.try_broadcast_like(&shape)?)?;
        k.try_mul(centred)?.try_mean()
    };
    run().map_err(failed("hsic"))
}

/// HSIC less its mean over permutations: 0 on average where the two are independent, and then often below 0. For Gram matrices
/// with ones on the diagonal, as those of this file.
///
/// # Errors
/// As [`hsic`]; fewer than two rows.
pub fn hsic_beyond_chance<D: Device<f32>, T: Tape<f32, D>>(k: Matrix<D, T>, l: Matrix<D, T>) -> Result<Scalar<D, T>> {
    let n = k.shape().0;
    if n < 2 {
        return Err(Error::config("hsic: dependence needs at least two rows"));
    }
    let (of_k, of_l) = (k.retaped::<T>(), l.retaped::<T>());
    let whole = hsic(k, l)?;
    let run = || -> Result<Scalar<D, T>, D::Err> {
        let by_chance = spread(of_k)?.try_mul(spread(of_l)?)?;
        whole.try_sub(by_chance.try_mul(1.0 / (n - 1) as f32)?)
    };
    run().map_err(failed("hsic"))
}

/// `tr(H K H) / n` of a Gram matrix with ones on the diagonal: one less the mean of K.
fn spread<D: Device<f32>, T: Tape<f32, D>>(gram: Matrix<D, T>) -> Result<Scalar<D, T>, D::Err> {
    let mean: Scalar<D, T> = gram.try_mean()?;
    mean.try_negate()?.try_add(1.0)
}
