//! Plans that divide the cells of a condition among the parts of a split.

use super::random::{Draw, rounded_down, shuffle, stream};
use crate::{Error, Result, data::Conditions};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::{Deserialize, Serialize};

/// A perturbation with fewer cells than this is not divided: all its cells are trained on. Three is the least that
/// can be represented in each of the three parts.
pub const MIN_CELLS_TO_DIVIDE: usize = 3;

/// Cells by name (see [`Conditions::names`]), each part sorted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NamedCells {
    /// Cells that are trained on.
    pub train: Vec<String>,
    /// Cells that settings may be chosen by.
    pub validation: Vec<String>,
    /// Cells that are judged.
    pub test: Vec<String>,
}

/// Divides the cells of every condition at random.
pub(super) fn stratified(conditions: &Conditions, validation: f64, test: f64, seed: u64) -> Result<NamedCells> {
    let valid = |fraction: f64| (0.0..1.0).contains(&fraction);
    if !valid(validation) || !valid(test) || validation + test >= 1.0 {
        return Err(Error::config(format!(
            "the split fractions are validation {validation} and test {test}; each must be at least 0, and together \
             they must leave something to train on (a sum below 1)"
        )));
    }
    // One stream for all conditions, in their order.
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Ok(divide(
        conditions,
        |_| true,
        &mut rng,
        |n| {
            if n < MIN_CELLS_TO_DIVIDE { (0, 0) } else { part_sizes(n, validation, test) }
        },
    ))
}

/// Divides the control cells of each context: `train` of them (rounded down, at least one) is trained on, half of the
/// others (rounded up) judged, half for validation.
pub(super) fn controls(conditions: &Conditions, train: f64, seed: u64) -> Result<NamedCells> {
    if !(train > 0.0 && train <= 1.0) {
        return Err(Error::config(format!(
            "the fraction of control cells that are trained on is {train}; it must be a number above 0 and up to 1"
        )));
    }
    let is_control = |condition: usize| conditions.conditions[condition].perturbation.is_control();
    Ok(divide(conditions, is_control, &mut stream(seed, Draw::Cells), |n| {
        let rest = n - rounded_down(train, n).max(1);
        (rest / 2, rest.div_ceil(2))
    }))
}

/// Divides the cells of the chosen conditions; `sizes` gives the numbers of cells for validation and test from the
/// number of cells of a condition.
fn divide(
    conditions: &Conditions,
    chosen: impl Fn(usize) -> bool,
    rng: &mut ChaCha8Rng,
    sizes: impl Fn(usize) -> (usize, usize),
) -> NamedCells {
    let mut of = vec![Vec::new(); conditions.conditions.len()];
    for (cell, &condition) in conditions.of_cell.iter().enumerate() {
        of[condition as usize].push(conditions.names[cell].as_str());
    }
    let mut parts = NamedCells::default();
    for (_, mut cells) in of.into_iter().enumerate().filter(|(condition, _)| chosen(*condition)) {
        cells.sort_unstable();
        shuffle(&mut cells, rng);
        let (n_validation, n_test) = if cells.is_empty() { (0, 0) } else { sizes(cells.len()) };
        parts.test.extend(cells.drain(..n_test).map(str::to_owned));
        parts.validation.extend(cells.drain(..n_validation).map(str::to_owned));
        parts.train.extend(cells.drain(..).map(str::to_owned));
    }
    for part in [&mut parts.train, &mut parts.validation, &mut parts.test] {
        part.sort_unstable();
    }
    parts
}

/// Cells of one condition that go to validation and test: rounded, at least one where the fraction is positive,
/// and at least one left for training.
pub fn part_sizes(n: usize, validation: f64, test: f64) -> (usize, usize) {
    let size = |fraction: f64| if fraction > 0.0 { ((fraction * n as f64).round() as usize).max(1) } else { 0 };
    let (mut n_validation, mut n_test) = (size(validation), size(test));
    while n_validation + n_test >= n {
        // n >= 3 and two parts: the larger one has at least two cells, so neither part is emptied.
        if n_validation > n_test {
            n_validation -= 1;
        } else {
            n_test -= 1;
        }
    }
    (n_validation, n_test)
}
