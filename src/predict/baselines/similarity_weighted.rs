//! The effects of other contexts, weighted by the similarity of their control profiles.
//!
//! For the perturbation p in a context c in which it was not trained,
//!
//! ```text
//! d_pc  = sum_k w_k d_pk / sum_k w_k        over the contexts k in which p was trained
//! w_k   = exp( -D_k^2 / (2 D_min^2) )       D_min = min_k D_k
//! D_k   = | m_k - m_c |                     Euclidean distance of the mean log-normalised control profiles m
//! ```
//!
//! The kernel's width is the distance of the nearest context, so that there is nothing to choose: the nearest context has
//! the weight exp(-1/2), one twice as far exp(-2). Where a context has the very profile of c (`D_min = 0`) the limit holds:
//! the mean over the contexts with that profile.
//!
//! Control cells of c are training cells, so m_c is known although no perturbed cell of c is. It is a Nadaraya-Watson
//! estimate (Nadaraya 1964; Watson 1964) over contexts. A model of an unseen context has to beat this, not the plain mean of
//! the others.

use super::answer;
use crate::{
    Error, Result,
    data::{
        Condition, Controls, EffectTable, Perturbation, TrainingData, not_trained_alone, similarities, squared_distance,
    },
    predict::{Fitted, Predictor},
};
use ndarray::{Array1, ArrayView1};

/// The mean of the other contexts' effects, weighted by the similarity of control profiles: see the module's equations.
///
/// A perturbation that was trained in the context has its measured effect. A combination that was trained in no context is
/// the sum of its genes' effects by the same rule.
#[derive(Debug, Clone, Copy)]
pub struct SimilarityWeighted;

impl Predictor for SimilarityWeighted {
    fn name(&self) -> &str {
        "similarity_weighted"
    }

    fn description(&self) -> &str {
        "The mean effect in the other contexts, weighted by the similarity of their control profiles"
    }

    fn fit(&self, data: &TrainingData) -> Result<Box<dyn Fitted>> {
        let training = data.effects()?.clone();
        let controls = match data.controls()? {
            Some(controls) if controls.contexts.len() > 1 => controls.clone(),
            _ => return Err(Error::inapplicable("there is one context only, where it is `additive`")),
        };
        let known = Known { training, controls };
        answer(move |condition| known.effect(condition))
    }
}

/// Effects that were trained, and the rule of the module for conditions that were not.
pub(super) struct Known {
    /// Effects, or other vectors of conditions that add up: log-rate shifts.
    pub(super) training: EffectTable,
    /// Mean log-normalised control profiles, from which the similarity of contexts is taken.
    pub(super) controls: Controls,
}

impl Known {
    pub(super) fn effect(&self, condition: &Condition) -> Result<Array1<f64>> {
        if let Some(effect) = self.of_perturbation(&condition.perturbation, condition)? {
            return Ok(effect);
        }
        let mut sum = Array1::zeros(self.training.genes.len());
        for gene in condition.perturbation.genes() {
            let single = self.of_perturbation(&Perturbation::of([gene.as_str()]), condition)?;
            sum += &single.ok_or_else(|| not_trained_alone(gene))?;
        }
        Ok(sum)
    }

    /// The effect of a perturbation in the context of `condition`; `None` where it was trained in no context.
    fn of_perturbation(&self, perturbation: &Perturbation, condition: &Condition) -> Result<Option<Array1<f64>>> {
        let context = condition.context.as_deref();
        if let Some(row) = self.training.row_of(perturbation, context) {
            return Ok(Some(self.training.effect(row)));
        }
        let rows: Vec<usize> = (0..self.training.len())
            .filter(|&row| self.training.conditions[row].perturbation == *perturbation)
            .collect();
        if rows.is_empty() {
            return Ok(None);
        }
        let own = self.profile(context, condition)?;
        let distances = rows
            .iter()
            .map(|&row| {
                let other = self.profile(self.training.conditions[row].context.as_deref(), condition)?;
                Ok(squared_distance(own, other))
            })
            .collect::<Result<Vec<f64>>>()?;
        let mut sum = Array1::<f64>::zeros(self.training.genes.len());
        let weights = similarities(&distances);
        for (&row, weight) in rows.iter().zip(&weights) {
            sum.scaled_add(*weight, &self.training.effect(row));
        }
        Ok(Some(sum / weights.iter().sum::<f64>()))
    }

    fn profile(&self, context: Option<&str>, condition: &Condition) -> Result<ArrayView1<'_, f32>> {
        let missing = || Error::inapplicable(format!("{condition}: its context has no control"));
        self.controls.of(context).ok_or_else(missing)
    }
}
