//! The nearest training perturbation.

use super::{answer, sets::Sets};
use crate::{
    Error, Result,
    data::Condition,
    data::TrainingData,
    predict::{Fitted, Predictor},
};

/// The effect of the nearest training perturbation of as many genes. Near is what is known before measuring: the
/// squared Euclidean distance between the single effects, summed over genes, for the best assignment of one
/// perturbation's genes to the other's. Of equally near ones the first in the training fold is taken.
///
/// A perturbation that was trained in another context is its own nearest. An unseen gene has nothing that it could be
/// near to, so there is no answer for it.
#[derive(Debug, Clone, Copy)]
pub struct Nearest;

impl Predictor for Nearest {
    fn name(&self) -> &str {
        "nearest"
    }

    fn description(&self) -> &str {
        "The effect of the training perturbation whose single effects are nearest"
    }

    fn fit(&self, data: &TrainingData) -> Result<Box<dyn Fitted>> {
        let training = data.effects()?;
        let known = |condition: &Condition| {
            let (genes, context) = (condition.perturbation.genes(), condition.context.as_deref());
            genes.iter().all(|gene| training.single(gene, context).is_ok())
        };
        let rows: Vec<usize> = (0..training.conditions.len()).filter(|&row| known(&training.conditions[row])).collect();
        let candidates: Vec<Condition> = rows.iter().map(|&row| training.conditions[row].clone()).collect();
        let sets = Sets::of(training, &candidates)?;
        let training = training.clone();
        answer(move |condition| {
            if let Some(own) = training.effect_of(&condition.perturbation, condition.context.as_deref()) {
                return Ok(own.mapv(f64::from));
            }
            let distances = sets.distances(&training, condition)?;
            let least = |assignments: &[Vec<f64>]| {
                assignments.iter().map(|distances| distances.iter().sum()).fold(f64::INFINITY, f64::min)
            };
            let compared = sets.compare(&distances, least);
            let nearest = compared.iter().zip(&rows).filter_map(|(distance, row)| Some(((*distance)?, *row)));
            let nearest = nearest.min_by(|(a, _), (b, _)| a.total_cmp(b));
            let (_, row) = nearest.ok_or_else(|| {
                let n = condition.perturbation.genes().len();
                Error::inapplicable(format!(
                    "no perturbation of {n} genes was trained on with its single perturbations"
                ))
            })?;
            Ok(training.effects.row(row).mapv(f64::from))
        })
    }
}
