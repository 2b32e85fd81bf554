//! The scaled sum: the first part of the prediction of a combination, and the training combinations that it is fitted to.
//!
//! For single effects d_A, d_B, … with sum a, over all training combinations i and measured genes g,
//!
//! ```text
//! b_ig = c_1 a_ig + c_2 sum_A tanh d_Ag + c_3 tanh a_ig + c_4 m_g + c_5 (P a_i)_g
//! y_ig ~ s_g b_ig,     s_g = (sum_i w_i y_ig b_ig + c) / (sum_i w_i b_ig^2 + c)
//! ```
//!
//! The first column alone is the scaled sum of the baselines. The two with tanh let strong effects saturate, alone and
//! together; m is the mean single effect (the response to nearly every perturbation, which a sum counts twice); P projects
//! on the leading components of the single effects, which removes noise of single genes. The five coefficients are found
//! by ridge regression; the factor of a gene is shrunk to 1, with c a multiple of the mean of `sum_i w_i b_ig^2`.

use super::{CombinationConfig, singles::Singles};
use crate::{
    Result,
    data::{Condition, EffectTable},
    math::{cholesky, directions},
};
use ndarray::{Array1, Array2, ArrayView1, Axis, s};

/// Number of columns.
pub(super) const COLUMNS: usize = 5;
/// Ridge of the five coefficients, as a share of the mean diagonal of their normal equations.
const RIDGE: f64 = 0.01;

/// A fitted scaled sum.
#[derive(Debug, Clone)]
pub(super) struct ScaledSum {
    /// c_1 to c_5.
    pub coefficients: Array1<f64>,
    /// s, `(genes,)`.
    pub factors: Array1<f64>,
    /// Orthonormal rows of P, `(components, genes)`.
    pub components: Array2<f64>,
    /// m, `(genes,)`.
    pub mean: Array1<f64>,
}

impl ScaledSum {
    /// Fits to combinations. P is of the single effects alone: components that had seen a combination would hold more of
    /// it than of an unseen one. Without combinations it is the plain sum.
    ///
    /// # Errors
    /// Those of the linear algebra.
    pub fn fit(singles: &Singles, train: &Combinations, config: &CombinationConfig) -> Result<Self> {
        let genes = singles.mean.len();
        let mut coefficients = Array1::zeros(COLUMNS);
        coefficients[0] = 1.0;
        let mut fitted = Self {
            coefficients,
            factors: Array1::ones(genes),
            // There are no directions where all single effects are zero.
            components: directions(&singles.effects, config.smooth).unwrap_or_else(|_| Array2::zeros((0, genes))),
            mean: singles.mean.clone(),
        };
        if train.len() == 0 {
            return Ok(fitted);
        }
        let columns: Vec<Array2<f64>> = train.singles.iter().map(|singles| fitted.columns(singles)).collect();
        // Each column in units of its size, so that one ridge suits all.
        let mut normal = Array2::<f64>::zeros((COLUMNS, COLUMNS));
        let mut right = Array1::<f64>::zeros(COLUMNS);
        for ((columns, effect), &weight) in columns.iter().zip(train.effects.rows()).zip(&train.trust) {
            normal.scaled_add(weight, &columns.dot(&columns.t()));
            right.scaled_add(weight, &columns.dot(&effect));
        }
        let size = normal.diag().mapv(|v: f64| if v > 0.0 { v.sqrt() } else { 1.0 });
        let mut scaled = &normal / &size.view().insert_axis(Axis(0)) / size.view().insert_axis(Axis(1));
        scaled.diag_mut().mapv_inplace(|v| v + RIDGE);
        let solved = cholesky::solve(&scaled, &(&right / &size).insert_axis(Axis(1)))?;
        fitted.coefficients = &solved.column(0) / &size;
        let (mut square, mut product) = (Array1::<f64>::zeros(genes), Array1::<f64>::zeros(genes));
        for ((columns, effect), &weight) in columns.iter().zip(train.effects.rows()).zip(&train.trust) {
            let sum = fitted.coefficients.dot(columns);
            square.scaled_add(weight, &(&sum * &sum));
            product.scaled_add(weight, &(&sum * &effect));
        }
        let prior = config.shrinkage * square.mean().unwrap_or(0.0);
        if prior > 0.0 {
            fitted.factors = (product + prior) / (square + prior);
        }
        Ok(fitted)
    }

    /// The five columns of a combination, `(5, genes)`, from the single effects of its genes.
    fn columns(&self, singles: &Array2<f64>) -> Array2<f64> {
        let sum = singles.sum_axis(Axis(0));
        let mut columns = Array2::zeros((COLUMNS, sum.len()));
        let mut set = |row: usize, values: ArrayView1<'_, f64>| columns.slice_mut(s![row, ..]).assign(&values);
        set(1, singles.mapv(f64::tanh).sum_axis(Axis(0)).view());
        set(2, sum.mapv(f64::tanh).view());
        set(3, self.mean.view());
        set(4, self.components.dot(&sum).dot(&self.components).view());
        set(0, sum.view());
        columns
    }

    /// The scaled sum of a combination, `(genes,)`, from the single effects of its genes, `(genes of the combination, genes)`.
    pub fn predict(&self, singles: &Array2<f64>) -> Array1<f64> {
        self.coefficients.dot(&self.columns(singles)) * &self.factors
    }
}

/// The training combinations whose genes are all known.
pub(super) struct Combinations {
    pub conditions: Vec<Condition>,
    /// Single effects of the genes of each, `(genes of the combination, genes)`.
    pub singles: Vec<Array2<f64>>,
    /// Their sums, `(combinations, genes)`.
    pub sums: Array2<f64>,
    /// `(combinations, genes)`.
    pub effects: Array2<f64>,
    /// Weight of each effect by its number of cells; mean 1.
    pub trust: Vec<f64>,
}

impl Combinations {
    /// The combinations of a table.
    pub fn new(data: &EffectTable, singles: &Singles, half_trust: f64) -> Self {
        let all = data.trust(half_trust);
        let mut found = Self {
            conditions: Vec::new(),
            singles: Vec::new(),
            sums: empty(data),
            effects: empty(data),
            trust: Vec::new(),
        };
        for (row, condition) in data.conditions.iter().enumerate() {
            let genes = condition.perturbation.genes();
            // Estimated single effects would teach the scaled sum the errors of the estimates.
            if genes.len() < 2 || !genes.iter().all(|gene| singles.seen(gene)) {
                continue;
            }
            let Ok(effects) = singles.of_condition(condition) else { continue };
            found.sums.push_row(effects.sum_axis(Axis(0)).view()).expect("an effect has one value per gene");
            found.effects.push_row(data.effect(row).view()).expect("an effect has one value per gene");
            found.singles.push(effects);
            found.conditions.push(condition.clone());
            found.trust.push(all[row]);
        }
        found.with_mean_trust()
    }

    fn with_mean_trust(mut self) -> Self {
        let mean = self.trust.iter().sum::<f64>() / self.trust.len().max(1) as f64;
        self.trust.iter_mut().for_each(|trust| *trust /= mean);
        self
    }

    pub fn len(&self) -> usize {
        self.conditions.len()
    }

    /// Some of them.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            conditions: rows.iter().map(|&row| self.conditions[row].clone()).collect(),
            singles: rows.iter().map(|&row| self.singles[row].clone()).collect(),
            sums: self.sums.select(Axis(0), rows),
            effects: self.effects.select(Axis(0), rows),
            trust: rows.iter().map(|&row| self.trust[row]).collect(),
        }
        .with_mean_trust()
    }

    /// The interaction residuals: what the scaled sum leaves of each effect, `(combinations, genes)`.
    pub fn residuals(&self, scaled_sum: &ScaledSum) -> Array2<f64> {
        let mut residuals = self.effects.clone();
        for (mut row, singles) in residuals.rows_mut().into_iter().zip(&self.singles) {
            row -= &scaled_sum.predict(singles);
        }
        residuals
    }
}

fn empty(data: &EffectTable) -> Array2<f64> {
    Array2::zeros((0, data.genes.len()))
}
