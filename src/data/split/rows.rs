//! A split as lists of rows of one dataset: what models and benchmarks take.

use crate::{Error, Result, files::write_atomically};
use serde::{Deserialize, Serialize};
use std::{collections::HashSet, path::Path};

/// Three disjoint, sorted lists of row indices (cells; perturbations of an effects dataset) that together are all rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Cells that the weights are fitted to.
    pub train: Vec<usize>,
    /// Cells that decide when to stop and which weights to keep.
    pub validation: Vec<usize>,
    /// Cells that nothing is decided by.
    pub test: Vec<usize>,
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

    /// Refuses cells of the test part: what is learnt before training (which genes vary, the library size to scale to,
    /// the control profile) must not have seen them. `purpose` says what they were for.
    ///
    /// # Errors
    /// A test cell among `cells`.
    pub fn refuse_test_cells(&self, purpose: &str, cells: &[usize]) -> Result<()> {
        let test: HashSet<usize> = self.test.iter().copied().collect();
        let mut leaked = cells.iter().filter(|&cell| test.contains(cell));
        match leaked.next() {
            None => Ok(()),
            Some(first) => Err(Error::data(format!(
                "{} of {} cells used for {purpose} are test cells of the split (the first is cell {first}); use \
                 training cells",
                leaked.count() + 1,
                cells.len()
            ))),
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
