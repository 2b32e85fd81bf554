//! What level 0 learns from: one mean effect a condition.

use crate::data::{Condition, Effects};
use ndarray::{Array1, Array2, Axis};
use std::sync::Arc;

/// Mean effects of the conditions of a training fold.
#[derive(Debug, Clone)]
pub struct CombinationData {
    /// Gene names, one a column.
    pub genes: Arc<[String]>,
    /// The conditions, without control.
    pub conditions: Vec<Condition>,
    /// Mean effect of each, `(conditions, genes)`: difference to the control of its context.
    pub effects: Array2<f32>,
    /// Number of cells behind each effect; 0 where the data does not say.
    pub n_cells: Vec<usize>,
}

impl CombinationData {
    /// The rows `rows` of an effects dataset.
    pub fn of_effects(data: &Effects, rows: &[usize]) -> Self {
        let n_cells = data.n_cells();
        Self {
            genes: data.genes.names.clone().into(),
            conditions: rows.iter().map(|&row| Condition::of(data.perturbations[row].clone())).collect(),
            effects: data.values.select(Axis(0), rows),
            n_cells: rows.iter().map(|&row| n_cells[row]).collect(),
        }
    }

    /// How much each effect is to be believed, `(conditions,)`: `n / (n + half)` for n cells, the median of the others
    /// where the number is not known, 1 where none is. The mean of n cells has a variance that falls as `1 / n`, and
    /// what a model cannot explain anyway does not fall: `half` is where the two are equal.
    pub(super) fn trust(&self, half: f64) -> Vec<f64> {
        let of = |n: usize| n as f64 / (n as f64 + half);
        let mut known: Vec<f64> = self.n_cells.iter().filter(|&&n| n > 0).map(|&n| of(n)).collect();
        known.sort_unstable_by(f64::total_cmp);
        let median = known.get(known.len() / 2).copied().unwrap_or(1.0);
        self.n_cells.iter().map(|&n| if n > 0 { of(n) } else { median }).collect()
    }

    /// Some of the conditions.
    pub(in crate::model) fn select(&self, rows: &[usize]) -> Self {
        Self {
            genes: Arc::clone(&self.genes),
            conditions: rows.iter().map(|&row| self.conditions[row].clone()).collect(),
            effects: self.effects.select(Axis(0), rows),
            n_cells: rows.iter().map(|&row| self.n_cells[row]).collect(),
        }
    }

    /// The effect of a row in double precision, `(genes,)`.
    pub(super) fn effect(&self, row: usize) -> Array1<f64> {
        self.effects.row(row).mapv(f64::from)
    }
}
