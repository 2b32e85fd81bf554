//! The training control cells that a model of cells starts its predictions from.

use crate::{
    Error, Result,
    data::TrainingCells,
    data::{Condition, shuffle},
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use std::collections::BTreeMap;

/// Control cells of a context that an effect is the mean over; more hardly change it.
pub(super) const CELLS_PER_EFFECT: usize = 500;

/// Where the predictions of a context start from.
pub(super) struct ControlStart<T> {
    /// The training control cells of the context.
    rows: Vec<usize>,
    /// Those that effects are the mean over.
    pub chosen: Vec<usize>,
    /// What a model keeps of `chosen`.
    pub of_chosen: T,
}

/// The starts of all contexts.
pub(super) struct ControlStarts<T>(BTreeMap<Option<String>, ControlStart<T>>);

impl<T> ControlStarts<T> {
    /// Of the cells `train`, those of control by context, of which a seeded sample is chosen; `keep` is asked what to keep
    /// of control in a context and its chosen cells.
    ///
    /// # Errors
    /// Those of `keep`.
    pub fn new(
        cells: &TrainingCells,
        train: &[usize],
        seed: u64,
        mut keep: impl FnMut(&Condition, &[usize]) -> Result<T>,
    ) -> Result<Self> {
        let mut rows_of: BTreeMap<&Condition, Vec<usize>> = BTreeMap::new();
        for &row in train {
            let condition = &cells.conditions[row];
            if condition.perturbation.is_control() {
                rows_of.entry(condition).or_default().push(row);
            }
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let start = |(control, rows): (&Condition, Vec<usize>)| {
            let mut chosen = rows.clone();
            shuffle(&mut chosen, &mut rng);
            chosen.truncate(CELLS_PER_EFFECT);
            let of_chosen = keep(control, &chosen)?;
            Ok((control.context.clone(), ControlStart { rows, chosen, of_chosen }))
        };
        Ok(Self(rows_of.into_iter().map(start).collect::<Result<_>>()?))
    }

    /// The start of a condition's context.
    ///
    /// # Errors
    /// No control cell of it was trained on: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn of(&self, condition: &Condition) -> Result<&ControlStart<T>> {
        let inapplicable =
            || Error::inapplicable(format!("{condition}: no control cell of its context was trained on"));
        self.0.get(&condition.context).ok_or_else(inapplicable)
    }
}

impl<T> ControlStart<T> {
    /// `n` control cells, each once before any is taken again, and a seed for what is drawn from them.
    pub fn draw(&self, n: usize, seed: u64) -> (Vec<usize>, u64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut rows = self.rows.clone();
        shuffle(&mut rows, &mut rng);
        (rows.into_iter().cycle().take(n).collect(), rng.next_u64())
    }
}
