//! Kernel ridge regression over the training combinations, and the shares of the two estimates of an interaction residual.
//!
//! The interaction residual of a combination is what its scaled sum leaves. It is taken from the training combinations
//! near it,
//!
//! ```text
//! r = k (K + W^-1)^-1 R        K_ij = exp(-|u_i - u_j|^2 / (2 width^2))
//! ```
//!
//! with R the residuals of the training combinations, u the sum of the single effects of a combination and W the weight of
//! each. Far from all training combinations it is zero. The networks (`network`) give a second estimate.

use crate::{Result, math::cholesky};
use ndarray::{Array1, Array2, ArrayView1};
use serde::{Deserialize, Serialize};

/// A fitted kernel ridge regression.
#[derive(Debug, Clone)]
pub(super) struct KernelRidge {
    /// u of the training combinations, `(combinations, genes)`.
    pub points: Array2<f64>,
    /// `(K + W^-1)^-1 R`, `(combinations, genes)`.
    pub weights: Array2<f64>,
    /// Width of the kernel.
    pub width: f64,
}

impl KernelRidge {
    /// Fits to residuals `(combinations, genes)` at `points` `(combinations, genes)`; `trust` has mean 1.
    ///
    /// # Errors
    /// Those of the linear algebra.
    pub fn fit(points: Array2<f64>, residuals: &Array2<f64>, trust: &[f64], width: f64) -> Result<Self> {
        let n = points.nrows();
        let mut fitted = Self { points, weights: Array2::zeros((n, residuals.ncols())), width };
        if n == 0 || width <= 0.0 {
            return Ok(fitted);
        }
        let mut kernel = Array2::zeros((n, n));
        for i in 0..n {
            kernel.row_mut(i).assign(&fitted.similarity(fitted.points.row(i)));
            kernel[[i, i]] += 1.0 / trust[i];
        }
        fitted.weights = cholesky::solve(&kernel, residuals)?;
        Ok(fitted)
    }

    fn similarity(&self, point: ArrayView1<'_, f64>) -> Array1<f64> {
        let scale = -0.5 / (self.width * self.width);
        let distance =
            |other: ArrayView1<'_, f64>| -> f64 { other.iter().zip(&point).map(|(a, b)| (a - b).powi(2)).sum() };
        self.points.rows().into_iter().map(|other| (scale * distance(other)).exp()).collect()
    }

    /// The residual at a point, `(genes,)`.
    pub fn predict(&self, point: ArrayView1<'_, f64>) -> Array1<f64> {
        match self.width > 0.0 {
            true => self.similarity(point).dot(&self.weights),
            false => Array1::zeros(self.weights.ncols()),
        }
    }
}

/// Number of steps in which a share goes from 0 to 1.
const STEPS: usize = 4;

/// Shares of the two estimates of the interaction residual, each from 0 to 1 and at most 1 together, because both estimate
/// the same residual.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mixture {
    /// Share of the kernel ridge.
    pub kernel_ridge: f64,
    /// Share of the networks.
    pub network: f64,
    /// Mean L2 on left-out training combinations with these shares, in units of the effects; `None` where there were too
    /// few combinations to choose by.
    pub left_out_l2: Option<f64>,
    /// The same for the scaled sum alone.
    pub scaled_sum_l2: Option<f64>,
}

impl Mixture {
    /// The scaled sum alone.
    pub(super) const NONE: Self = Self { kernel_ridge: 0.0, network: 0.0, left_out_l2: None, scaled_sum_l2: None };

    /// The shares with the smallest weighted mean L2 of `residuals - sum of share x estimate`; all arrays
    /// `(combinations, genes)`, the estimates in the order of the fields, the weights of mean 1. An estimate that is not
    /// `allowed` has no share.
    #[doc(hidden)]
    pub fn choose(residuals: &Array2<f64>, estimates: &[Array2<f64>; 2], weights: &[f64], allowed: [bool; 2]) -> Self {
        let columns = [residuals, &estimates[0], &estimates[1]];
        // |r - sum_k c_k p_k|^2 from the products of the three, for all mixtures at once.
        let products: Vec<[[f64; 3]; 3]> = (0..residuals.nrows())
            .map(|row| std::array::from_fn(|a| std::array::from_fn(|b| columns[a].row(row).dot(&columns[b].row(row)))))
            .collect();
        let error = |kernel_ridge: f64, network: f64| -> f64 {
            let c = [-1.0, kernel_ridge, network];
            let square = |m: &[[f64; 3]; 3]| -> f64 {
                c.iter().zip(m).map(|(a, row)| a * row.iter().zip(&c).map(|(v, b)| v * b).sum::<f64>()).sum()
            };
            let sum: f64 = products.iter().zip(weights).map(|(m, weight)| weight * square(m).max(0.0).sqrt()).sum();
            sum / products.len().max(1) as f64
        };
        let share = |step: usize| step as f64 / STEPS as f64;
        let candidates = (0..=STEPS).flat_map(|i| (0..=STEPS - i).map(move |j| (share(i), share(j))));
        let candidates = candidates.filter(|(i, j)| (allowed[0] || *i == 0.0) && (allowed[1] || *j == 0.0));
        let scaled_sum = error(0.0, 0.0);
        candidates.fold(
            Self { left_out_l2: Some(scaled_sum), scaled_sum_l2: Some(scaled_sum), ..Self::NONE },
            |best, (i, j)| {
                let l2 = error(i, j);
                match best.left_out_l2.is_some_and(|least| l2 < least) {
                    true => Self { kernel_ridge: i, network: j, left_out_l2: Some(l2), ..best },
                    false => best,
                }
            },
        )
    }
}
