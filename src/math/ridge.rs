//! Ridge regression of many targets on the same features, for many penalties at once.
//!
//! With X `(rows, features)` and Y `(rows, targets)` centred, and `X'X = V' diag(s) V` (V: eigenvectors as rows),
//!
//! ```text
//! W(lambda) = (X'X + lambda I)^-1 X'Y = V' diag(1 / (s + lambda)) V X'Y        (features, targets)
//! ```
//!
//! so that one decomposition serves every penalty (Hastie, Tibshirani and Friedman, section 3.4.1). The intercept has no penalty.

use super::symmetric_eigen;
use crate::{Error, Result};
use ndarray::{Array1, Array2, Axis};

/// The decomposition of a regression, ready for any penalty.
#[derive(Debug, Clone)]
pub struct RidgePath {
    mean_x: Array1<f64>,
    mean_y: Array1<f64>,
    eigenvalues: Array1<f64>,
    /// `(features, features)`, eigenvectors as rows.
    vectors: Array2<f64>,
    /// V X'Y, `(features, targets)`.
    rotated: Array2<f64>,
}

/// A fitted regression.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearFit {
    /// `(features, targets)`.
    pub weights: Array2<f64>,
    /// `(targets,)`.
    pub intercept: Array1<f64>,
}

impl LinearFit {
    /// `x W + b`: `(rows, features)` to `(rows, targets)`.
    pub fn predict(&self, x: &Array2<f64>) -> Array2<f64> {
        x.dot(&self.weights) + &self.intercept
    }
}

impl RidgePath {
    /// Decomposes a regression of y `(rows, targets)` on x `(rows, features)`.
    ///
    /// # Errors
    /// No rows, or other numbers of rows.
    pub fn new(x: &Array2<f64>, y: &Array2<f64>) -> Result<Self> {
        if x.nrows() != y.nrows() {
            return Err(Error::shape("ridge regression: features, and targets", x.dim(), y.dim()));
        }
        let no_rows = || Error::data("ridge regression: there are no rows to fit");
        let mean_x = x.mean_axis(Axis(0)).ok_or_else(no_rows)?;
        let mean_y = y.mean_axis(Axis(0)).ok_or_else(no_rows)?;
        let (x, y) = (x - &mean_x, y - &mean_y);
        let (eigenvalues, vectors) = symmetric_eigen(x.t().dot(&x));
        let rotated = vectors.dot(&x.t().dot(&y));
        Ok(Self { mean_x, mean_y, eigenvalues, vectors, rotated })
    }

    /// The regression with a penalty above 0.
    pub fn fit(&self, penalty: f64) -> LinearFit {
        let scale = self.eigenvalues.mapv(|value| 1.0 / (value.max(0.0) + penalty));
        let weights = self.vectors.t().dot(&(&self.rotated * &scale.insert_axis(Axis(1))));
        let intercept = &self.mean_y - &self.mean_x.dot(&weights);
        LinearFit { weights, intercept }
    }
}

/// Penalties that are tried, half a decade apart. With 0/1 features a penalty is in units of rows: the effect of a level with so many
/// rows is shrunk by half.
pub const PENALTIES: [f64; 9] = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0];

/// A penalty that was chosen by predictions of unseen rows.
#[derive(Debug, Clone)]
pub struct CrossValidated {
    /// The best of the penalties.
    pub penalty: f64,
    /// Its squared error on unseen rows, summed over rows and targets.
    pub error: f64,
    /// Its prediction of each row by the fit without the row's fold, `(rows, targets)`.
    pub unseen: Array2<f64>,
    /// Its fit without each fold.
    pub fits: Vec<LinearFit>,
}

/// Chooses one of `penalties` for y `(rows, targets)` on x `(rows, features)`; `fold_of` is the fold of each row.
///
/// # Errors
/// Shapes that do not fit; a fold that holds all rows; no penalty.
pub fn cross_validated(
    x: &Array2<f64>,
    y: &Array2<f64>,
    fold_of: &[usize],
    penalties: &[f64],
) -> Result<CrossValidated> {
    let folds = fold_of.iter().max().map_or(0, |last| last + 1);
    let mut parts = Vec::with_capacity(folds);
    for fold in 0..folds {
        let (train, held_out): (Vec<usize>, Vec<usize>) = (0..fold_of.len()).partition(|&row| fold_of[row] != fold);
        let path = RidgePath::new(&x.select(Axis(0), &train), &y.select(Axis(0), &train))?;
        parts.push((path, x.select(Axis(0), &held_out), y.select(Axis(0), &held_out), held_out));
    }
    let error = |penalty: f64| {
        let of_part = |(path, x, y, _): &(RidgePath, Array2<f64>, Array2<f64>, Vec<usize>)| {
            (y - &path.fit(penalty).predict(x)).iter().map(|value| value * value).sum::<f64>()
        };
        parts.iter().map(of_part).sum::<f64>()
    };
    let errors: Vec<(f64, f64)> = penalties.iter().map(|&penalty| (penalty, error(penalty))).collect();
    let best = errors.into_iter().min_by(|a, b| a.1.total_cmp(&b.1));
    let (penalty, error) = best.ok_or_else(|| Error::config("ridge regression: no penalty to try was given"))?;
    let fits: Vec<LinearFit> = parts.iter().map(|(path, ..)| path.fit(penalty)).collect();
    let mut unseen = Array2::zeros(y.dim());
    for (fit, (_, x, _, held_out)) in fits.iter().zip(&parts) {
        held_out.iter().zip(fit.predict(x).rows()).for_each(|(&row, values)| unseen.row_mut(row).assign(&values));
    }
    Ok(CrossValidated { penalty, error, unseen, fits })
}
