//! Departures remembered: kernel ridge regression over the training combinations.
//!
//! A new combination departs from its start as the training combinations near it do,
//!
//! ```text
//! r = k (K + W^-1)^-1 R        K_ij = exp(-|u_i - u_j|^2 / (2 width^2))
//! ```
//!
//! with R the training departures from the start, u where a combination stands (its sum of single effects)
//! and W the trust in each. Far from all training combinations the departure is zero.

use crate::{Result, math::cholesky};
use ndarray::{Array1, Array2, ArrayView1};

/// A fitted memory.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    /// u of the training combinations, `(combinations, d)`.
    pub points: Array2<f64>,
    /// `(K + W^-1)^-1 R`, `(combinations, genes)`.
    pub weights: Array2<f64>,
    pub width: f64,
}

impl Memory {
    /// Remembers departures `(combinations, genes)` at `points` `(combinations, d)`; `trust` has mean 1.
    ///
    /// # Errors
    /// Those of the linear algebra.
    pub fn fit(points: Array2<f64>, departures: &Array2<f64>, trust: &[f64], width: f64) -> Result<Self> {
        let n = points.nrows();
        let mut fitted = Self { points, weights: Array2::zeros((n, departures.ncols())), width };
        if n == 0 || width <= 0.0 {
            return Ok(fitted);
        }
        let mut kernel = Array2::zeros((n, n));
        for i in 0..n {
            kernel.row_mut(i).assign(&fitted.similarity(fitted.points.row(i)));
            kernel[[i, i]] += 1.0 / trust[i];
        }
        fitted.weights = cholesky::solve(&kernel, departures)?;
        Ok(fitted)
    }

    fn similarity(&self, point: ArrayView1<'_, f64>) -> Array1<f64> {
        let scale = -0.5 / (self.width * self.width);
        let distance =
            |other: ArrayView1<'_, f64>| -> f64 { other.iter().zip(&point).map(|(a, b)| (a - b).powi(2)).sum() };
        self.points.rows().into_iter().map(|other| (scale * distance(other)).exp()).collect()
    }

    /// The departure at a point, `(genes,)`.
    pub fn recall(&self, point: ArrayView1<'_, f64>) -> Array1<f64> {
        match self.width > 0.0 {
            true => self.similarity(point).dot(&self.weights),
            false => Array1::zeros(self.weights.ncols()),
        }
    }
}
