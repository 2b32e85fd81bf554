//! Fréchet distance of two sets, each taken for a Gaussian.
//!
//! ```text
//! d^2 = |m_x - m_y|^2 + tr( C_x + C_y - 2 (C_x^1/2 C_y C_x^1/2)^1/2 )
//! ```
//!
//! with means m and covariances C (n - 1 in the denominator): the squared Wasserstein distance of order 2 between Gaussians (Dowson
//! and Landau 1982), and the formula of the FID (Heusel et al. 2017). It is called FID only in the features of an image network;
//! here the space is whatever the caller gives. Few records make it larger: compare sets of one size.

use crate::{Error, Result, math::symmetric_eigen};
use ndarray::{Array1, Array2, ArrayView2, Axis};

/// The squared distance d^2 of x and y, `(records, dims)` each.
///
/// # Errors
/// Sets of other widths, or of fewer than two records.
pub fn frechet_distance(x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>) -> Result<f64> {
    if x.ncols() != y.ncols() || x.nrows() < 2 || y.nrows() < 2 {
        return Err(Error::shape("Fréchet distance: two records or more of one width", x.dim(), y.dim()));
    }
    let ((m_x, c_x), (m_y, c_y)) = (moments(x), moments(y));
    let root = root(&c_x);
    let (between, _) = symmetric_eigen(root.dot(&c_y).dot(&root));
    let of_means: f64 = (&m_x - &m_y).iter().map(|d| d * d).sum();
    let trace = c_x.diag().sum() + c_y.diag().sum();
    Ok(of_means + trace - 2.0 * between.iter().map(|value| value.max(0.0).sqrt()).sum::<f64>())
}

fn moments(x: ArrayView2<'_, f32>) -> (Array1<f64>, Array2<f64>) {
    let x = x.mapv(f64::from);
    let mean = x.mean_axis(Axis(0)).expect("two records or more");
    let centred = &x - &mean;
    let covariance = centred.t().dot(&centred) / (x.nrows() as f64 - 1.0);
    (mean, covariance)
}

/// The symmetric square root of a covariance.
fn root(covariance: &Array2<f64>) -> Array2<f64> {
    let (values, vectors) = symmetric_eigen(covariance.clone());
    let scaled = &vectors * &values.mapv(|value| value.max(0.0).sqrt()).insert_axis(Axis(1));
    vectors.t().dot(&scaled)
}
