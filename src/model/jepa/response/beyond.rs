//! What a combination that was trained on does beyond what is predicted from its genes.
//!
//! Of each training combination p in a context c, with n_p cells, and r the difference of its mean embedding to the predicted
//! one:
//!
//! ```text
//! noise_p = sum over features of the variance of control cells (1 / n_p + 1 / n_c)          n_c control cells
//! tau^2   = max(0, mean over combinations of (|r_p|^2 - noise_p))
//! B(p, c) = tau^2 / (tau^2 + noise_p) r_p
//! ```
//!
//! the best linear estimate of r where the true ones have variance tau^2 (empirical Bayes: Efron and Morris 1973). In a context
//! where p was not measured it is the mean of those of other contexts, near ones first ([`Measured::weights`]). A combination
//! that was trained on nowhere has none. Where contexts were left out to learn what carries over (`transfer`), the whole shift is
//! carried in its place, as for a single perturbation: `f_c` times the mean of `predicted shift + B` in the other contexts.

use super::{
    embedded::Embedded,
    fit::Response,
    judge::JUDGED,
    measured::{Hidden, Measured},
};
use crate::{Result, data::Condition};
use ndarray::{Array1, Array2, Axis};

/// B of the training combinations.
#[derive(Debug, Clone)]
pub struct Beyond {
    /// The combinations, in order.
    pub conditions: Vec<Condition>,
    /// `(combinations, width)`.
    pub shifts: Array2<f32>,
    /// The mean shifts that were predicted from their genes, `(combinations, width)`.
    pub predicted: Array2<f32>,
}

impl Beyond {
    /// Of no combination.
    pub fn none(width: usize) -> Self {
        Self { conditions: Vec::new(), shifts: Array2::zeros((0, width)), predicted: Array2::zeros((0, width)) }
    }

    /// B of a condition, `(width,)`; `None` for one whose combination was trained on nowhere.
    pub fn of(&self, condition: &Condition, measured: &Measured) -> Option<Array1<f32>> {
        match self.conditions.iter().position(|known| known == condition) {
            Some(own) => Some(self.shifts.row(own).to_owned()),
            None => self.mean_elsewhere(condition, measured, |row| self.shifts.row(row).to_owned()),
        }
    }

    /// The whole shift of a combination that was trained on in other contexts, but not in this one, `(width,)`.
    pub fn whole(&self, condition: &Condition, measured: &Measured) -> Option<Array1<f32>> {
        match self.conditions.contains(condition) {
            true => None,
            false => self.mean_elsewhere(condition, measured, |row| &self.predicted.row(row) + &self.shifts.row(row)),
        }
    }

    fn mean_elsewhere(
        &self,
        condition: &Condition,
        measured: &Measured,
        of_row: impl Fn(usize) -> Array1<f32>,
    ) -> Option<Array1<f32>> {
        let rows: Vec<usize> = (0..self.conditions.len())
            .filter(|&row| self.conditions[row].perturbation == condition.perturbation)
            .collect();
        if rows.is_empty() {
            return None;
        }
        let contexts = rows.iter().map(|&row| self.conditions[row].context.as_ref());
        let weights = measured.weights(condition.context.as_ref(), contexts);
        let mut mean = Array1::zeros(self.shifts.ncols());
        rows.iter().zip(weights).for_each(|(&row, weight)| mean.scaled_add(weight, &of_row(row)));
        Some(mean)
    }
}

impl Response {
    /// Sets B to none.
    pub(in crate::model::jepa) fn forget_combinations(&mut self) {
        self.beyond = Beyond::none(self.beyond.shifts.ncols());
    }

    /// Measures B in the embeddings `z` of the training cells.
    pub(super) fn measure_combinations(&mut self, z: &Embedded) -> Result<()> {
        self.beyond = Beyond::none(z.z.ncols());
        let mut found = Beyond::none(z.z.ncols());
        let mut noises = Vec::new();
        for condition in self.measured.conditions().filter(|c| c.perturbation.genes().len() > 1) {
            let Ok(controls) = self.measured.controls(condition.context.as_deref()) else { continue };
            if self.measured.tokens(condition, Hidden::Nothing).is_err() {
                continue;
            }
            let (before, after) = (z.pick(controls), z.pick(self.measured.rows(condition)));
            let from = z.start(&controls[..controls.len().min(JUDGED)]);
            let shift = mean(&(self.moved(&from, condition)? - &from.z));
            let beyond = mean(&after) - mean(&before) - &shift;
            found.shifts.push_row(beyond.view()).expect("all have one width");
            found.predicted.push_row(shift.view()).expect("all have one width");
            found.conditions.push(condition.clone());
            // The variance of control for both: a few perturbed cells would not tell theirs.
            let variance = before.var_axis(Axis(0), 0.0).sum();
            noises.push(variance / after.nrows() as f32 + variance / before.nrows() as f32);
        }
        let squares = found.shifts.rows().into_iter().map(|row| row.dot(&row));
        let excess: f32 = squares.zip(&noises).map(|(square, noise)| square - noise).sum();
        let variance = (excess / noises.len().max(1) as f32).max(0.0);
        for (mut row, noise) in found.shifts.rows_mut().into_iter().zip(noises) {
            // Control cells that are all equal have no noise: 0 / 0.
            row *= if variance > 0.0 { variance / (variance + noise) } else { 0.0 };
        }
        self.beyond = found;
        Ok(())
    }
}

fn mean(cells: &Array2<f32>) -> Array1<f32> {
    cells.mean_axis(Axis(0)).expect("a condition has cells")
}
