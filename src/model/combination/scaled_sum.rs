//! Where the prediction of a combination starts: the sum of the single effects, scaled.
//!
//! For single effects d_A, d_B, … with sum a, over all training combinations i and measured genes g,
//!
//! ```text
//! b_ig = c_1 a_ig + c_2 sum_A tanh d_Ag + c_3 tanh a_ig + c_4 m_g + c_5 (P a_i)_g
//! y_ig ~ s_g b_ig,     s_g = (sum_i w_i y_ig b_ig + c) / (sum_i w_i b_ig^2 + c)
//! ```
//!
//! The first column alone is the scaled sum of the baselines. The two with tanh let strong effects saturate, alone and
//! together; m is the mean single effect (what nearly every perturbation does, which a sum counts twice); P projects on
//! the leading components of the single effects, which takes the noise of single genes off. The five numbers are found
//! by ridge regression, the factor of a gene is shrunk to 1 with c a multiple of the mean of `sum_i w_i b_ig^2`.

use super::{CombinationConfig, combinations::Combinations, singles::Singles};
use crate::{
    Result,
    math::{cholesky, directions},
};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, s};

/// Number of columns.
pub(super) const COLUMNS: usize = 5;
/// Ridge of the five numbers, as a share of the mean diagonal of their normal equations.
const RIDGE: f64 = 0.01;

/// The fitted start.
#[derive(Debug, Clone)]
pub(super) struct ScaledSum {
    /// The five numbers.
    pub coefficients: Array1<f64>,
    /// s, `(genes,)`.
    pub factors: Array1<f64>,
    /// Orthonormal rows of P, `(components, genes)`.
    pub components: Array2<f64>,
    /// m, `(genes,)`.
    pub mean: Array1<f64>,
}

impl ScaledSum {
    /// The plain sum: what is left where no combination was trained on.
    fn plain(singles: &Singles, components: Array2<f64>) -> Self {
        let genes = singles.mean.len();
        let mut coefficients = Array1::zeros(COLUMNS);
        coefficients[0] = 1.0;
        Self { coefficients, factors: Array1::ones(genes), components, mean: singles.mean.clone() }
    }

    /// Fits to the combinations of a fold. P is of the single effects alone: components that had seen a combination would
    /// hold more of it than of one that was never seen.
    ///
    /// # Errors
    /// Those of the linear algebra.
    pub fn of(singles: &Singles, train: &Combinations, config: &CombinationConfig) -> Result<Self> {
        let smooth = match directions(&singles.effects, config.smooth) {
            Ok(smooth) => smooth,
            // No single effect but zeros.
            Err(_) => Array2::zeros((0, singles.mean.len())),
        };
        Self::fit(singles, smooth, &train.members, train.effects.view(), &train.trust, config.shrinkage)
    }

    /// Fits to combinations: the single effects of each, their effects y `(combinations, genes)`, and the weights w.
    ///
    /// # Errors
    /// Those of the linear algebra.
    fn fit(
        singles: &Singles,
        components: Array2<f64>,
        members: &[Array2<f64>],
        effects: ArrayView2<'_, f64>,
        weights: &[f64],
        shrinkage: f64,
    ) -> Result<Self> {
        let mut fitted = Self::plain(singles, components);
        if members.is_empty() {
            return Ok(fitted);
        }
        let columns: Vec<Array2<f64>> = members.iter().map(|members| fitted.columns(members)).collect();
        // Each column in units of its size, so that one ridge fits all.
        let mut normal = Array2::<f64>::zeros((COLUMNS, COLUMNS));
        let mut right = Array1::<f64>::zeros(COLUMNS);
        for ((columns, effect), &weight) in columns.iter().zip(effects.rows()).zip(weights) {
            normal.scaled_add(weight, &columns.dot(&columns.t()));
            right.scaled_add(weight, &columns.dot(&effect));
        }
        let size = normal.diag().mapv(|v: f64| if v > 0.0 { v.sqrt() } else { 1.0 });
        let mut scaled = &normal / &size.view().insert_axis(Axis(0)) / size.view().insert_axis(Axis(1));
        scaled.diag_mut().mapv_inplace(|v| v + RIDGE);
        let solved = cholesky::solve(&scaled, &(&right / &size).insert_axis(Axis(1)))?;
        fitted.coefficients = &solved.column(0) / &size;
        let (mut square, mut product) =
            (Array1::<f64>::zeros(singles.mean.len()), Array1::<f64>::zeros(singles.mean.len()));
        for ((columns, effect), &weight) in columns.iter().zip(effects.rows()).zip(weights) {
            let start = fitted.coefficients.dot(columns);
            square.scaled_add(weight, &(&start * &start));
            product.scaled_add(weight, &(&start * &effect));
        }
        let prior = shrinkage * square.mean().unwrap_or(0.0);
        if prior > 0.0 {
            fitted.factors = (product + prior) / (square + prior);
        }
        Ok(fitted)
    }

    /// The five columns of a combination, `(5, genes)`, from the single effects of its genes.
    fn columns(&self, members: &Array2<f64>) -> Array2<f64> {
        let sum = members.sum_axis(Axis(0));
        let mut columns = Array2::zeros((COLUMNS, sum.len()));
        let mut set = |row: usize, values: ArrayView1<'_, f64>| columns.slice_mut(s![row, ..]).assign(&values);
        set(1, members.mapv(f64::tanh).sum_axis(Axis(0)).view());
        set(2, sum.mapv(f64::tanh).view());
        set(3, self.mean.view());
        set(4, self.components.dot(&sum).dot(&self.components).view());
        set(0, sum.view());
        columns
    }

    /// The start of a combination, `(genes,)`.
    pub fn predict(&self, members: &Array2<f64>) -> Array1<f64> {
        self.coefficients.dot(&self.columns(members)) * &self.factors
    }
}
