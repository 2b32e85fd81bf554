//! VICReg's three terms, which keep embeddings from collapsing (Bardes et al. 2022, *VICReg*, equations 1 to 5).
//!
//! For embeddings z `(rows, width)`, n rows of d features:
//! - variance: `1/d sum_j max(0, gamma - sqrt(Var(z_j) + epsilon))`, gamma 1, epsilon 1e-4, Var unbiased;
//! - covariance: `1/d sum_(i != j) C_ij^2` with `C = (z - mean)^T (z - mean) / (n - 1)`;
//! - invariance: the mean squared difference of two batches, with gradients for both. The published code takes the mean
//!   over all elements; the paper's equation 5 sums over features.
//!
//! The paper weighs them 25 (invariance), 25 (variance) and 1 (covariance). They need at least two rows.
//!
//! ```
//! use genailab::{dfdx::prelude::*, nn::{ops::to_f32, vicreg}};
//!
//! let collapsed: Tensor<_, f32, _> = Cpu::default().ones_like(&(4, 3));
//! assert!((to_f32(&vicreg::variance(collapsed.clone())?) - 0.99).abs() < 1e-6); // 1 - sqrt(1e-4)
//! assert_eq!(to_f32(&vicreg::covariance(collapsed)?), 0.0);
//! # Ok::<(), genailab::Error>(())
//! ```

use super::{Backend, Matrix, Scalar};
use crate::{Error, Result};
use dfdx::prelude::{HasShape, MeanTo, Shape, Tape, TrySub};

/// The standard deviation that each feature should have; gamma of the paper, section 4.1.
pub const GAMMA: f32 = 1.0;
/// Added to the variance; the paper, section 4.1.
pub const EPSILON: f32 = 1e-4;

/// How far the features' standard deviations fall short of [`GAMMA`], on average; z `(rows, width)`.
///
/// # Errors
/// Fewer than two rows; a device that fails.
pub fn variance<D: Backend, T: Tape<f32, D>>(z: Matrix<D, T>) -> Result<Scalar<D, T>> {
    D::vicreg_variance(z)
}

/// The squared covariances between different features, summed, over the number of features; z `(rows, width)`.
///
/// # Errors
/// Fewer than two rows; a device that fails.
pub fn covariance<D: Backend, T: Tape<f32, D>>(z: Matrix<D, T>) -> Result<Scalar<D, T>> {
    D::vicreg_covariance(z)
}

/// The mean squared difference of two batches, `(rows, width)` each.
///
/// # Errors
/// Shapes that differ, no row at all; a device that fails.
pub fn invariance<D: Backend, T: Tape<f32, D>>(a: Matrix<D, T>, b: Matrix<D, T>) -> Result<Scalar<D, T>> {
    if a.shape() != b.shape() {
        return Err(Error::shape("invariance", a.shape(), b.shape()));
    }
    if a.shape().num_elements() == 0 {
        return Err(Error::config("invariance: there is nothing to compare in an empty batch"));
    }
    let mean = || a.try_sub(b)?.try_square()?.try_mean();
    mean().map_err(|e: D::Err| Error::device("invariance", e))
}

/// There is a variance to speak of.
pub(super) fn check(z: (usize, usize)) -> Result<()> {
    if z.0 < 2 || z.1 == 0 {
        return Err(Error::config(format!(
            "VICReg: a batch of shape {z:?} has no variance; take at least 2 rows a batch"
        )));
    }
    Ok(())
}
