//! Kernel ridge regression about a mean, whose kernel, penalty and weight are those with the smallest leave-one-out error.
//!
//! With K the kernel between the rows, D their targets and `A = K + l I`, the regression's estimate for row i from the other
//! rows, about their own mean `m_i`, is in closed form (Rasmussen and Williams 2006, equation 5.12)
//!
//! ```text
//! D_i - (A^-1 D)_i / (A^-1)_ii - m_i (1 - (A^-1 1)_i / (A^-1)_ii)
//! ```
//!
//! A regression is chosen only if its error is below that of the centre alone by more than the standard error of the
//! difference, so a kernel that tells nothing changes nothing.

use super::cholesky;
use crate::Result;
use ndarray::{Array1, Array2, Axis};

/// Candidates of the penalty l.
const RIDGES: [f64; 6] = [0.03, 0.1, 0.3, 1.0, 3.0, 10.0];
/// Candidates of the weight w of the regression; 0 is to use no regression.
const WEIGHTS: [f64; 4] = [0.25, 0.5, 0.75, 1.0];

/// What is predicted of each row from the others.
pub(crate) struct LeftOut<'a> {
    /// D, `(rows, targets)`.
    pub targets: &'a Array2<f64>,
    /// `m_i`, the mean without each row that the regression is about, `(rows, targets)`.
    pub means: &'a Array2<f64>,
    /// What the centre without each row leaves of its target, `(rows, targets)`.
    pub residuals: &'a Array2<f64>,
    /// Length of each row of `residuals`: the error of the centre alone, `(rows,)`.
    pub alone: &'a Array1<f64>,
    /// Error of the centre alone, in units of `scale`.
    pub centre_error: f64,
    /// What summed errors are divided by.
    pub scale: f64,
}

/// The regression with the smallest leave-one-out error.
pub(crate) struct Chosen {
    /// The place of its kernel among the candidates.
    pub kernel: usize,
    /// l.
    pub ridge: f64,
    /// w.
    pub weight: f64,
    /// Its error, in units of the scale.
    pub error: f64,
    /// `(K + l I)^-1`, `(rows, rows)`.
    pub inverse: Array2<f64>,
}

impl LeftOut<'_> {
    /// The best regression with one of these kernels, each `(rows, rows)`; `None` where the centre alone is no worse. `go_on` is
    /// asked before each solution.
    ///
    /// # Errors
    /// Those of the linear algebra and of `go_on`.
    pub fn best(&self, kernels: &[Array2<f64>], go_on: impl Fn() -> Result<()>) -> Result<Option<Chosen>> {
        let mut best: Option<Chosen> = None;
        // Where no two rows are alike, each is estimated by the centre.
        let tells =
            |kernel: &Array2<f64>| kernel.indexed_iter().any(|((row, column), &value)| row != column && value != 0.0);
        for (number, kernel) in kernels.iter().enumerate().filter(|(_, kernel)| tells(kernel)) {
            let identity = Array2::<f64>::eye(kernel.nrows());
            for ridge in RIDGES {
                go_on()?;
                let inverse = cholesky::solve(&(kernel + &(&identity * ridge)), &identity)?;
                let pivots = inverse.diag().mapv(|pivot| 1.0 / pivot).insert_axis(Axis(1));
                let ones = 1.0 - &inverse.sum_axis(Axis(1)).insert_axis(Axis(1)) * &pivots;
                let estimates = self.targets - &(inverse.dot(self.targets) * &pivots) - &(self.means * &ones);
                for weight in WEIGHTS {
                    let gain = self.alone - &lengths(&(self.residuals - &(&estimates * weight)));
                    let error = self.centre_error - gain.sum() / self.scale;
                    let certain = gain.mean().unwrap_or(0.0) > gain.std(1.0) / (gain.len() as f64).sqrt();
                    let least = best.as_ref().map_or(self.centre_error, |best| best.error);
                    if certain && error < least {
                        best = Some(Chosen { kernel: number, ridge, weight, error, inverse: inverse.clone() });
                    }
                }
            }
        }
        Ok(best)
    }
}

/// Euclidean length of each row.
pub(crate) fn lengths(rows: &Array2<f64>) -> Array1<f64> {
    rows.map_axis(Axis(1), |row| row.dot(&row).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::s;

    /// The closed form is the regression that was fitted without the row.
    #[test]
    fn the_closed_form_leaves_a_row_out() {
        let n = 6;
        let x = Array2::from_shape_fn((n, 3), |(i, j)| ((i * 7 + j * 3) as f64).sin());
        let kernel = x.dot(&x.t());
        let targets = Array2::from_shape_fn((n, 2), |(i, j)| x[[i, j]] * 2.0 + 0.1 * ((i + j) as f64).cos());
        let total = targets.sum_axis(Axis(0));
        let means = Array2::from_shape_fn((n, 2), |(i, j)| (total[j] - targets[[i, j]]) / (n - 1) as f64);
        let residuals = &targets - &means;
        let alone = lengths(&residuals);
        let scale = alone.sum();
        let left_out = LeftOut {
            targets: &targets,
            means: &means,
            residuals: &residuals,
            alone: &alone,
            centre_error: 1.0,
            scale,
        };
        let kernels = [Array2::zeros((n, n)), kernel.clone()];
        let best = left_out.best(&kernels, || Ok(())).expect("positive definite").expect("the kernel tells all");
        assert_eq!(best.kernel, 1);
        let mut errors = 0.0;
        for row in 0..n {
            let others: Vec<usize> = (0..n).filter(|&other| other != row).collect();
            let within =
                kernel.select(Axis(0), &others).select(Axis(1), &others) + Array2::<f64>::eye(n - 1) * best.ridge;
            let about = &targets.select(Axis(0), &others) - &means.slice(s![row..=row, ..]);
            let weights = cholesky::solve(&within, &about).expect("positive definite");
            let estimate = kernel.select(Axis(1), &others).row(row).dot(&weights) * best.weight;
            let off = &residuals.row(row) - &estimate;
            errors += off.dot(&off).sqrt();
        }
        assert!((errors / scale - best.error).abs() < 1e-9, "{} {}", errors / scale, best.error);
        assert!(left_out.best(&kernels[..1], || Ok(())).expect("positive definite").is_none(), "a kernel of 0");
    }
}
