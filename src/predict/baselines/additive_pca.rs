//! The sum of the single effects in the space of principal components.
//!
//! With the k leading principal components V_k of the training effects about zero `(k, genes)` (see `directions`), the
//! shifts of the genes are added there and put back:
//!
//! ```text
//! d_AB = V_k' V_k (d_A + d_B)
//! ```
//!
//! Where additive carries the noise of two single effects, this keeps what effects share. The number of directions k is
//! the one with the least squared error on the training combinations, with directions taken from the other training
//! effects alone, so that the combinations can judge it; the final directions are those of all training effects.

use super::{
    answer,
    sums::{Combinations, sum},
};
use crate::{
    Result,
    data::TrainingData,
    math::directions,
    predict::{Fitted, Predictor},
};
use ndarray::{Array1, Array2, Axis, s};
use serde_json::json;

/// Most directions: what lies beyond is noise in every data set of today's size.
const MOST: usize = 100;

/// Additive in PCA space: see the module's equation.
#[derive(Debug, Clone, Copy)]
pub struct AdditivePca;

impl Predictor for AdditivePca {
    fn name(&self) -> &str {
        "additive_pca"
    }

    fn description(&self) -> &str {
        "The sum of the single effects in the leading principal components of the training effects"
    }

    fn settings(&self) -> serde_json::Value {
        json!({ "most_components": MOST })
    }

    fn fit(&self, data: &TrainingData) -> Result<Box<dyn Fitted>> {
        let training = data.effects()?;
        let combinations = Combinations::of(training)?;
        let effects = training.effects.mapv(f64::from);
        let others: Vec<usize> =
            (0..effects.nrows()).filter(|&row| !combinations.conditions.contains(&training.conditions[row])).collect();
        let components = best_number(&directions(&effects.select(Axis(0), &others), MOST)?, &combinations);
        let all = directions(&effects, MOST)?;
        let kept = all.slice(s![..components.min(all.nrows()), ..]).to_owned();
        let training = training.clone();
        answer(move |condition| Ok(kept.dot(&sum(&training, condition)?).dot(&kept)))
    }
}

/// The k with the least `sum_i |y_i - V_k' V_k a_i|^2`. With scores u = V y and v = V a this is
/// `sum_i |y_i|^2 + sum_(j <= k) (v_ij^2 - 2 u_ij v_ij)`, so that all k are judged in one pass.
fn best_number(directions: &Array2<f64>, combinations: &Combinations) -> usize {
    let (u, v) = (combinations.effects.dot(&directions.t()), combinations.sums.dot(&directions.t()));
    let gains: Array1<f64> = (&v * &v - 2.0 * &u * &v).sum_axis(Axis(0));
    let (mut best, mut least, mut error) = (1, f64::INFINITY, 0.0);
    for (j, gain) in gains.iter().enumerate() {
        error += gain;
        if error < least {
            (best, least) = (j + 1, error);
        }
    }
    best
}
