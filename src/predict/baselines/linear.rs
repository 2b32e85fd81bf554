//! The linear model of Ahlmann-Eltze et al. (Nature Methods 2025), `run_linear_pretrained_model.R`.
//!
//! With Y the training effects `(genes, conditions)`, b their mean over conditions, G an embedding of the measured genes
//! `(genes, n)` and P an embedding of the perturbations `(n, conditions)`,
//!
//! ```text
//! K = (G'G + l I)^-1 G' (Y - b) P' (P P' + l I)^-1,     d = G K p + b,     l = 0.1, n = 10
//! ```
//!
//! G are the principal component scores of the training pseudobulks, genes as rows, each column centred (R's `prcomp`).
//! The embedding of a perturbation is that of its gene among the measured genes, so that it reaches genes that were never
//! perturbed, but none that was not measured. Control is a column of its own: the embedding zero and the effect zero.
//!
//! Three things are ours, where the paper has no need of them: a combination is the sum of its genes' embeddings; each
//! context has its control column; and an effects dataset, which has no pseudobulks, is embedded by its effects, where
//! control is a column of zeros.

use super::answer;
use crate::{
    Error, Result,
    data::Condition,
    data::{Controls, TrainingData},
    math::{EXACT_ROWS, Pca, cholesky, symmetric_eigen},
    predict::{Fitted, Predictor},
};
use ndarray::{Array1, Array2, Axis, concatenate, s};
use serde_json::json;
use std::collections::HashMap;

/// The linear model with embeddings from the training data.
#[derive(Debug, Clone, Copy)]
pub struct LinearBaseline {
    /// Dimension of both embeddings, n; at most the number of training columns less one.
    pub components: usize,
    /// Ridge on both sides, l.
    pub ridge: f64,
}

impl Default for LinearBaseline {
    /// The paper's: 10 components, ridge 0.1.
    fn default() -> Self {
        Self { components: 10, ridge: 0.1 }
    }
}

impl Predictor for LinearBaseline {
    fn name(&self) -> &str {
        "linear"
    }

    fn description(&self) -> &str {
        "A linear map between PCA embeddings of perturbed and measured genes, ridge 0.1 (Ahlmann-Eltze et al. 2025)"
    }

    fn settings(&self) -> serde_json::Value {
        json!({ "components": self.components, "ridge": self.ridge })
    }

    fn fit(&self, data: &TrainingData) -> Result<Box<dyn Fitted>> {
        let training = data.effects()?;
        let place: HashMap<String, usize> = training.genes.iter().cloned().zip(0..).collect();
        let scores = self.gene_embedding(data)?; // (genes, n)
        let known: Vec<usize> = (0..training.conditions.len())
            .filter(|&row| embed(&training.conditions[row], &place, &scores).is_ok())
            .collect();
        if known.is_empty() {
            return Err(Error::inapplicable("none of the genes perturbed in training is among the measured genes"));
        }
        let controls = n_controls(data.controls()?);
        let mut effects = Array2::<f64>::zeros((known.len() + controls, training.genes.len()));
        let mut embedded = Array2::<f64>::zeros((known.len() + controls, scores.ncols()));
        for (i, &row) in known.iter().enumerate() {
            effects.row_mut(i).assign(&training.effects.row(row).mapv(f64::from));
            embedded.row_mut(i).assign(&embed(&training.conditions[row], &place, &scores)?);
        }
        let center = effects.mean_axis(Axis(0)).expect("there is a column"); // b, (genes,)
        let ridge = |matrix: Array2<f64>| {
            let n = matrix.nrows();
            matrix + self.ridge * Array2::<f64>::eye(n)
        };
        // The transposes of the equations: rows are conditions here. (n, n) each, and K' of the same shape.
        let across = embedded.t().dot(&(effects - &center)).dot(&scores); // P (Y - b)' G
        let right = cholesky::solve(&ridge(embedded.t().dot(&embedded)), &across)?;
        let both = cholesky::solve(&ridge(scores.t().dot(&scores)), &right.t().to_owned())?; // K
        let map = scores.dot(&both); // G K, (genes, n)
        answer(move |condition| Ok(map.dot(&embed(condition, &place, &scores)?) + &center))
    }
}

impl LinearBaseline {
    /// Principal component scores of the measured genes over the training columns, `(genes, n)`.
    fn gene_embedding(&self, data: &TrainingData) -> Result<Array2<f64>> {
        let training = data.effects()?;
        let mut profiles = training.effects.clone();
        let bulk = match data.controls()? {
            None => Array2::zeros((1, training.genes.len())),
            Some(controls) => {
                for (mut row, condition) in profiles.rows_mut().into_iter().zip(&training.conditions) {
                    let control = controls.of(condition.context.as_deref());
                    row += &control.ok_or_else(|| Error::data(format!("{condition}: its context has no control")))?;
                }
                controls.profiles.clone()
            }
        };
        let columns = concatenate![Axis(0), profiles, bulk];
        let genes = columns.t(); // (genes, columns)
        let most = genes.ncols().min(genes.nrows().saturating_sub(1));
        if most < self.components {
            return Err(Error::inapplicable(format!(
                "the embedding has {} components, but there are {} training columns of {} genes",
                self.components,
                genes.ncols(),
                genes.nrows()
            )));
        }
        let mut columns = columns.mapv(f64::from); // (columns, genes)
        for mut column in columns.rows_mut() {
            let mean = column.mean().expect("there are more genes than components");
            column -= mean;
        }
        let directions = match columns.nrows() <= EXACT_ROWS {
            true => symmetric_eigen(columns.dot(&columns.t())).1.slice_move(s![..self.components, ..]),
            false => Pca::fit(genes, self.components, 0)?.components,
        };
        Ok(columns.t().dot(&directions.t()))
    }
}

/// Columns of control: one a context, one in an effects dataset.
fn n_controls(controls: Option<&Controls>) -> usize {
    controls.map_or(1, |controls| controls.contexts.len())
}

/// The embedding of a condition, `(n,)`: the sum over its genes.
fn embed(condition: &Condition, place: &HashMap<String, usize>, scores: &Array2<f64>) -> Result<Array1<f64>> {
    let mut sum = Array1::zeros(scores.ncols());
    for gene in condition.perturbation.genes() {
        let row = place.get(gene).ok_or_else(|| {
            Error::inapplicable(format!("{gene} is not among the measured genes, so it has no embedding"))
        })?;
        sum += &scores.slice(s![*row, ..]);
    }
    Ok(sum)
}
