//! Kernel ridge regression on the pair, over the scaled sum of the single effects.
//!
//! The scaled sum leaves residuals `r_i = y_i - s a_i` on the training combinations. Pairs of similar genes should leave
//! similar residuals, so that of a new pair is predicted from theirs:
//!
//! ```text
//! k(d, e)        = exp(-|d - e|^2 / (2 w^2))                         w: median norm of a single effect
//! K({A,B},{C,D}) = [k(d_A, d_C) k(d_B, d_D) + k(d_A, d_D) k(d_B, d_C)] / 2
//! d_AB           = s (d_A + d_B) + K_AB,train (K + I)^-1 r           ridge 1
//! ```
//!
//! The mean over both assignments makes the order of genes meaningless; sets of another size share nothing (K = 0).

use super::{
    answer,
    sets::{MOST_GENES, Sets},
    sums::{Combinations, sum},
};
use crate::{
    Error, Result,
    data::Condition,
    data::{EffectTable, TrainingData},
    math::{cholesky, median},
    predict::{Fitted, Predictor},
};
use ndarray::{Array1, Array2};
use serde_json::json;

/// `(K + RIDGE I)^-1`: residuals as noisy as the kernel is high, as in the project's reference table.
const RIDGE: f64 = 1.0;

/// Kernel ridge on the pair: see the module's equations.
#[derive(Debug, Clone, Copy)]
pub struct KernelRidge {
    per_gene: bool,
}

impl KernelRidge {
    /// Over the sum times one fitted factor.
    pub fn common() -> Self {
        Self { per_gene: false }
    }

    /// Over the sum times a factor for each measured gene, shrunk to the common one half the way for a gene of average
    /// signal: `s_g = (sum_i y_ig a_ig + c s) / (sum_i a_ig^2 + c)`, c the mean over genes of `sum_i a_ig^2`.
    pub fn per_gene() -> Self {
        Self { per_gene: true }
    }
}

impl Predictor for KernelRidge {
    fn name(&self) -> &str {
        if self.per_gene { "kernel_ridge_per_gene" } else { "kernel_ridge" }
    }

    fn description(&self) -> &str {
        match self.per_gene {
            true => "As kernel_ridge, over the sum times a factor for each measured gene, shrunk to the common one",
            false => "The scaled sum of the single effects, and what similar training pairs left over (kernel ridge)",
        }
    }

    fn settings(&self) -> serde_json::Value {
        json!({ "ridge": RIDGE, "width": "median norm of a single effect" })
    }

    fn fit(&self, data: &TrainingData) -> Result<Box<dyn Fitted>> {
        let training = data.effects()?;
        let mut combinations = Combinations::of(training)?;
        let factors = match self.per_gene {
            true => combinations.factors()?,
            false => Array1::from_elem(training.genes.len(), combinations.factor()?),
        };
        let residuals = &combinations.effects - &(&combinations.sums * &factors);
        combinations.conditions.retain(|c| c.perturbation.genes().len() <= MOST_GENES);
        if combinations.conditions.len() < residuals.nrows() {
            return Err(Error::inapplicable(format!("a training perturbation has more than {MOST_GENES} genes")));
        }
        let width = median_norm(training);
        if width <= 0.0 {
            return Err(Error::inapplicable("most single effects are zero, so the kernel has no width"));
        }
        let sets = Sets::of(training, &combinations.conditions)?;
        let n = residuals.nrows();
        let mut kernel = Array2::eye(n) * RIDGE;
        for (mut row, condition) in kernel.rows_mut().into_iter().zip(&combinations.conditions) {
            row += &similarity(&sets, training, condition, width)?;
        }
        let weights = cholesky::solve(&kernel, &residuals)?; // (combinations, genes)
        let training = training.clone();
        answer(move |condition| {
            let sum = sum(&training, condition)?;
            match condition.perturbation.genes().len() {
                0 | 1 => Ok(sum),
                _ => Ok(sum * &factors + similarity(&sets, &training, condition, width)?.dot(&weights)),
            }
        })
    }
}

/// The kernel between a condition and each set, `(sets,)`.
fn similarity(sets: &Sets, training: &EffectTable, condition: &Condition, width: f64) -> Result<Array1<f64>> {
    // The product of exponentials is the exponential of the sum.
    let scale = -0.5 / (width * width);
    let mean = |assignments: &[Vec<f64>]| {
        let kernels = assignments.iter().map(|distances| (scale * distances.iter().sum::<f64>()).exp());
        kernels.sum::<f64>() / assignments.len() as f64
    };
    let compared = sets.compare(&sets.distances(training, condition)?, mean);
    Ok(compared.into_iter().map(|kernel| kernel.unwrap_or(0.0)).collect())
}

/// Median Euclidean norm of the trained single effects; 0 if there is none.
fn median_norm(training: &EffectTable) -> f64 {
    let singles = training.conditions.iter().zip(training.effects.rows());
    let norms = singles
        .filter(|(condition, _)| condition.perturbation.genes().len() == 1)
        .map(|(_, effect)| effect.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt());
    median(norms.collect()).unwrap_or(0.0)
}
