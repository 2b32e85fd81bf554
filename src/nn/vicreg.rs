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

pub use super::ops::vicreg::{EPSILON, GAMMA};

use super::{Backend, Matrix, Scalar};
use crate::{Error, Result};
use dfdx::prelude::{HasShape, MeanTo, Shape, Tape, TrySub};

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
