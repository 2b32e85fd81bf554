//! The noise ceiling: half of a condition's held-out cells as the prediction of the other half.
//!
//! It is the technical duplicate of Mejia et al. 2025 (`diversity_by_design`): what a second experiment of half the size
//! would predict. Three things to keep in mind:
//!
//! - Both halves are compared with the same control cells, as every model's effect is, so the control's sampling error
//!   stands on both sides: it cancels in differences and adds to correlations against control.
//! - Each half holds half of the cells. With a variance of s2 a cell, the squared error between two halves of n cells
//!   is 4 s2 / n a gene, where a model that knew the true mean would have s2 / n against all n. So the ceiling is a
//!   strong prediction, not a bound: a model that averages over many cells may pass it on conditions of few cells.
//! - An effects dataset holds no cells, so there it is absent.

use super::{Observed, ObservedCells, Predicted, Task};
use crate::data::{mean_expression, shuffle};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

/// Its name in tables.
pub const CEILING: &str = "noise_ceiling";
/// What it is, in a sentence.
pub(super) const DESCRIPTION: &str =
    "Half of the held-out cells as the prediction of the other half (technical duplicate; Mejia et al. 2025)";
/// Fewest held-out cells that are halved: a half of one cell says nothing of a spread.
const FEWEST: usize = 4;

/// The two halves, as metrics want them.
pub(super) fn halves(task: &Task) -> (Observed, Predicted) {
    let mut observed = task.observed.clone();
    let n = observed.conditions.len();
    let absent = |reason: &str| Predicted {
        model: CEILING.to_owned(),
        effects: vec![Err(reason.to_owned()); n],
        cells: vec![Err(reason.to_owned()); n],
    };
    let (Some(cells), Some(controls)) = (&task.observed.cells, &task.observed.controls) else {
        return (observed, absent("an effects dataset holds no cells that could be halved"));
    };
    let mut predicted = absent(&format!("fewer than {FEWEST} cells were held out, so they cannot be halved"));
    let mut judged = ObservedCells { rows: cells.rows.clone(), ..cells.clone() };
    for (index, rows) in task.held_out.iter().enumerate().filter(|(_, rows)| rows.len() >= FEWEST) {
        let mut rows = rows.clone();
        shuffle(&mut rows, &mut ChaCha8Rng::seed_from_u64(task.seed_of(index, "halves")));
        let mut other = rows.split_off(rows.len() / 2);
        let control = controls.row(index);
        observed.effects.row_mut(index).assign(&(mean_expression(&cells.expression, &other) - control));
        predicted.effects[index] = Ok(mean_expression(&cells.expression, &rows) - control);
        rows.truncate(super::MOST_CELLS);
        other.truncate(super::MOST_CELLS);
        other.sort_unstable();
        predicted.cells[index] = Ok(cells.expression.select_cells(&rows).to_dense());
        judged.rows[index] = other;
    }
    observed.cells = Some(judged);
    (observed, predicted)
}
