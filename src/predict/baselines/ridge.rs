//! Ridge regression on which genes are perturbed.
//!
//! With M the multi-hot matrix `(conditions, perturbed genes)` and Y the effects `(conditions, genes)`,
//!
//! ```text
//! W = (M'M + lambda I)^-1 M' Y,     d = m W
//! ```
//!
//! There is no intercept: control is the empty set, and its effect is zero by definition. The effect of a gene is thus
//! fitted to its single perturbation and to all its combinations together. `lambda` is chosen by leave-one-out
//! cross-validation, which ridge has in closed form: the residual without row i is `e_i / (1 - H_ii)`, `H = M (M'M +
//! lambda I)^-1 M'` (Golub, Heath and Wahba 1979). This is scikit-learn's `RidgeCV(fit_intercept=False)`.

use super::answer;
use crate::{
    Error, Result,
    data::TrainingData,
    math::cholesky,
    predict::{Fitted, Predictor},
};
use ndarray::{Array1, Array2};
use serde_json::json;

/// Ridge on the multi-hot of genes.
#[derive(Debug, Clone)]
pub struct Ridge {
    /// The penalties that are tried.
    pub penalties: Vec<f64>,
}

impl Default for Ridge {
    /// Half a decade apart from 0.01 to 100: from the plain least squares to one that believes in no effect.
    fn default() -> Self {
        Self { penalties: (-4..=4).map(|half| 10_f64.powf(f64::from(half) / 2.0)).collect() }
    }
}

impl Predictor for Ridge {
    fn name(&self) -> &str {
        "ridge"
    }

    fn description(&self) -> &str {
        "Ridge regression of the effects on the multi-hot of perturbed genes, penalty by leave-one-out"
    }

    fn settings(&self) -> serde_json::Value {
        json!({ "penalties": self.penalties })
    }

    fn fit(&self, data: &TrainingData) -> Result<Box<dyn Fitted>> {
        let training = data.effects()?;
        let mut genes: Vec<String> = training.conditions.iter().flat_map(|c| c.perturbation.genes()).cloned().collect();
        genes.sort_unstable();
        genes.dedup();
        if genes.is_empty() {
            return Err(Error::inapplicable("no perturbation was trained on"));
        }
        let place = |gene: &String| genes.binary_search(gene);
        let mut design = Array2::<f64>::zeros((training.conditions.len(), genes.len()));
        for (mut row, condition) in design.rows_mut().into_iter().zip(&training.conditions) {
            for gene in condition.perturbation.genes() {
                row[place(gene).expect("collected from the same conditions")] = 1.0;
            }
        }
        let effects = training.effects.mapv(f64::from);
        let gram = effects.dot(&effects.t()); // (conditions, conditions): all that the errors need of Y
        let mut best: Option<(f64, Array2<f64>)> = None;
        for &penalty in &self.penalties {
            let normal = design.t().dot(&design) + penalty * Array2::<f64>::eye(genes.len());
            let solved = cholesky::solve(&normal, &design.t().to_owned())?; // (perturbed, conditions)
            let error = leave_one_out(&design.dot(&solved), &gram);
            if best.as_ref().is_none_or(|(least, _)| error < *least) {
                best = Some((error, solved));
            }
        }
        let (_, solved) = best.ok_or_else(|| Error::config("ridge: no penalty to try was given"))?;
        let weights = solved.dot(&effects); // (perturbed, genes)
        answer(move |condition| {
            let mut effect = Array1::zeros(weights.ncols());
            for gene in condition.perturbation.genes() {
                let row = genes.binary_search(gene);
                let row = row.map_err(|_| Error::inapplicable(format!("{gene} was not perturbed in training")))?;
                effect += &weights.row(row);
            }
            Ok(effect)
        })
    }
}

/// `sum_i |y_i - (H Y)_i|^2 / (1 - H_ii)^2` with `gram = Y Y'`: the squared error of leaving each row out.
fn leave_one_out(hat: &Array2<f64>, gram: &Array2<f64>) -> f64 {
    let residual = Array2::<f64>::eye(hat.nrows()) - hat; // rows: how each residual is made of the y
    let along = residual.dot(gram);
    let rows = residual.rows().into_iter().zip(along.rows()).enumerate();
    rows.map(|(i, (residual, along))| residual.dot(&along) / residual[i].powi(2)).sum()
}
