//! Which cells a model trains on, which stop the training, and which it is judged by.
//!
//! A [`SplitPlan`] says how; applied to a dataset it gives a [`Split`]: three disjoint lists of cell indices that
//! together are all cells. A split is kept as JSON, so that a result can be traced to the cells behind it.

mod conditions;

pub use conditions::ConditionSplit;

use super::Dataset;
use crate::{Error, Result, files::write_atomically};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A perturbation with fewer cells than this is not divided: all its cells are trained on. Three is the least that
/// can be represented in each of the three parts.
pub const MIN_CELLS_TO_DIVIDE: usize = 3;

/// How cells are divided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "plan", rename_all = "snake_case")]
#[non_exhaustive]
pub enum SplitPlan {
    /// Cells at random within each perturbation, so that every perturbation (control too) with at least
    /// [`MIN_CELLS_TO_DIVIDE`] cells stands in each part of a positive fraction.
    Stratified {
        /// Fraction of each perturbation's cells that stop the training, 0 to 1.
        validation: f64,
        /// Fraction of each perturbation's cells that the model is judged by, 0 to 1.
        test: f64,
        /// The same seed gives the same split on every machine.
        seed: u64,
    },
    /// Perturbations of two genes held out: all singles are trained on, and a part of the doubles.
    Doubles {
        /// Fraction of the doubles whose two singles were measured that the model is judged by, 0 to 1.
        test: f64,
        /// The same seed gives the same split on every machine.
        seed: u64,
    },
}

impl Default for SplitPlan {
    /// 80 % training, 10 % validation, 10 % test, seed 0.
    fn default() -> Self {
        Self::Stratified { validation: 0.1, test: 0.1, seed: 0 }
    }
}

/// Three disjoint, sorted lists of cell indices that together are all cells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Cells that the weights are fitted to.
    pub train: Vec<usize>,
    /// Cells that decide when to stop and which weights to keep.
    pub validation: Vec<usize>,
    /// Cells that nothing is decided by.
    pub test: Vec<usize>,
}

impl SplitPlan {
    /// Divides the cells of `dataset`.
    ///
    /// # Errors
    /// Fractions that are not numbers from 0 to 1, or that leave no cell to train on.
    pub fn apply(&self, dataset: &Dataset) -> Result<Split> {
        match *self {
            Self::Stratified { validation, test, seed } => {
                stratified(&dataset.labels, dataset.perturbations.len(), validation, test, seed)
            }
            _ => {
                let conditions = super::Conditions::of(dataset, None)?;
                self.conditions(&conditions.conditions)?.cells(&conditions)
            }
        }
    }
}

impl Dataset {
    /// Divides the cells: [`SplitPlan::apply`].
    ///
    /// # Errors
    /// As [`SplitPlan::apply`].
    pub fn split(&self, plan: &SplitPlan) -> Result<Split> {
        plan.apply(self)
    }
}

fn stratified(labels: &[u32], n_labels: usize, validation: f64, test: f64, seed: u64) -> Result<Split> {
    let valid = |fraction: f64| (0.0..1.0).contains(&fraction);
    if !valid(validation) || !valid(test) || validation + test >= 1.0 {
        return Err(Error::config(format!(
            "the split fractions are validation {validation} and test {test}; each must be at least 0, and together \
             they must leave something to train on (a sum below 1)"
        )));
    }
    let mut groups = vec![Vec::new(); n_labels];
    for (cell, &label) in labels.iter().enumerate() {
        groups
            .get_mut(label as usize)
            .ok_or_else(|| Error::data(format!("cell {cell} has the label {label}, but there are {n_labels}")))?
            .push(cell);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut split = Split { train: Vec::new(), validation: Vec::new(), test: Vec::new() };
    for mut cells in groups {
        shuffle(&mut cells, &mut rng);
        let (n_validation, n_test) =
            if cells.len() < MIN_CELLS_TO_DIVIDE { (0, 0) } else { part_sizes(cells.len(), validation, test) };
        split.test.extend(cells.drain(..n_test));
        split.validation.extend(cells.drain(..n_validation));
        split.train.append(&mut cells);
    }
    for part in [&mut split.train, &mut split.validation, &mut split.test] {
        part.sort_unstable();
    }
    Ok(split)
}

/// Cells of one perturbation that go to validation and test: rounded, at least one where the fraction is positive,
/// and at least one left for training.
fn part_sizes(n: usize, validation: f64, test: f64) -> (usize, usize) {
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

/// Fisher-Yates with a multiply-shift draw: written out, because a library's shuffle may change between versions and
/// a split must not. The bias of multiply-shift is below `n / 2^64`.
pub(crate) fn shuffle<T>(items: &mut [T], rng: &mut ChaCha8Rng) {
    for last in (1..items.len()).rev() {
        let draw = (u128::from(rng.next_u64()) * (last as u128 + 1)) >> 64;
        items.swap(last, draw as usize);
    }
}

impl Split {
    /// Checks that the three parts are disjoint and together the cells `0..n_cells`: what a split read from a file
    /// must be before it is used on a dataset.
    ///
    /// # Errors
    /// A cell that is missing, stands twice, or is not there.
    pub fn check(&self, n_cells: usize) -> Result<()> {
        let mut seen = vec![false; n_cells];
        for &cell in self.train.iter().chain(&self.validation).chain(&self.test) {
            match seen.get_mut(cell) {
                Some(slot) if !*slot => *slot = true,
                Some(_) => return Err(Error::data(format!("cell {cell} stands twice in the split"))),
                None => {
                    return Err(Error::data(format!(
                        "the split names cell {cell}, but the dataset has {n_cells}: it was made for another dataset"
                    )));
                }
            }
        }
        match seen.iter().position(|&seen| !seen) {
            Some(cell) => Err(Error::data(format!(
                "the split does not name cell {cell} of the dataset's {n_cells}: it was made for another dataset"
            ))),
            None => Ok(()),
        }
    }

    /// Writes the split as JSON, beside its place and then renamed: a crash leaves the old file or none.
    ///
    /// # Errors
    /// A folder that is not there or not writable, or a full disk.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let text = serde_json::to_string(self).map_err(|error| Error::io("write", path, error.into()))?;
        write_atomically(path, text.as_bytes())
    }

    /// Reads what [`Split::save`] wrote.
    ///
    /// # Errors
    /// A file that is not there or holds something else.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|error| Error::io("read", path, error))?;
        serde_json::from_str(&text).map_err(|error| {
            Error::data(format!(
                "{} is not a split ({error}); expected JSON with the cell indices `train`, `validation`, `test`",
                path.display()
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_a_perturbation_is_empty() {
        for n in MIN_CELLS_TO_DIVIDE..200 {
            for (validation, test) in [(0.1, 0.1), (0.001, 0.9), (0.49, 0.5), (0.3, 0.3)] {
                let (n_validation, n_test) = part_sizes(n, validation, test);
                assert!(n_validation >= 1 && n_test >= 1 && n_validation + n_test < n, "{n} {validation} {test}");
            }
            assert_eq!(part_sizes(n, 0.0, 0.0), (0, 0));
        }
        assert_eq!(part_sizes(1_000, 0.1, 0.25), (100, 250));
    }

    #[test]
    fn shuffling_is_a_permutation_and_fair() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut first = [0_usize; 4];
        for _ in 0..4_000 {
            let mut items = [0, 1, 2, 3];
            shuffle(&mut items, &mut rng);
            first[items[0]] += 1;
            items.sort_unstable();
            assert_eq!(items, [0, 1, 2, 3]);
        }
        assert!(first.iter().all(|&n| (850..1_150).contains(&n)), "{first:?}");
    }
}
