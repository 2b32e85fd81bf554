//! A split as lists of rows of one dataset, which models and benchmarks take, and what may be learnt from its training
//! rows before a model is trained.

use crate::{
    Error, Result,
    data::{
        Dataset, HvgFlavour, HvgTable, TargetSum, highly_variable,
        normalize::{group_means, log1p, normalize_total},
    },
    files::write_atomically,
};
use ndarray::Array1;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::HashSet, path::Path};

/// Three disjoint, sorted lists of row indices (cells; perturbations of an effects dataset) that together are all rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Cells that the weights are fitted to.
    pub train: Vec<usize>,
    /// Cells that decide when to stop and which weights to keep.
    pub validation: Vec<usize>,
    /// Cells that no decision may depend on.
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

/// The training cells of a dataset: preparation (which genes vary, the library size that cells are scaled to, the control
/// profile) may use these alone, since a choice that has seen the test cells has seen part of the answer. Each method
/// takes its cells from them, or from a list that it refuses if it holds a test cell.
#[derive(Debug, Clone, Copy)]
pub struct TrainingStatistics<'a> {
    data: &'a Dataset,
    split: &'a Split,
}

impl Dataset {
    /// The training cells of a split: what preparation may look at.
    ///
    /// # Errors
    /// A split of another dataset: see [`Split::check`].
    pub fn training_statistics<'a>(&'a self, split: &'a Split) -> Result<TrainingStatistics<'a>> {
        split.check(self.n_cells())?;
        Ok(TrainingStatistics { data: self, split })
    }
}

impl<'a> TrainingStatistics<'a> {
    /// The `n_top` most variable genes: [`highly_variable`] over `cells` (all training cells if `None`).
    ///
    /// # Errors
    /// A test cell among `cells`, and those of [`highly_variable`].
    pub fn highly_variable(&self, flavour: HvgFlavour, n_top: usize, cells: Option<&[usize]>) -> Result<HvgTable> {
        let cells = self.allowed("highly variable genes", cells, || self.split.train.clone())?;
        highly_variable(self.data, flavour, n_top, Some(&cells))
    }

    /// The library size that all cells are scaled to, in counts: [`TargetSum::resolve`] over `cells` (all training
    /// cells if `None`). The median of all cells would move with the test cells.
    ///
    /// # Errors
    /// A test cell among `cells`, and those of [`TargetSum::resolve`].
    pub fn target_sum(&self, target: TargetSum, cells: Option<&[usize]>) -> Result<f32> {
        let cells = self.allowed("the library size to scale to", cells, || self.split.train.clone())?;
        target.resolve(&self.library_sizes(&cells))
    }

    /// Mean log-normalised expression of control cells `(genes,)`: of `cells`, or of all training control cells.
    /// `target` is resolved over the training cells.
    ///
    /// # Errors
    /// A test cell or a perturbed cell among `cells`, no control cell, and those of
    /// [`normalize_total`].
    pub fn control_profile(&self, target: TargetSum, cells: Option<&[usize]>) -> Result<Array1<f32>> {
        let is_control = |&cell: &usize| self.data.perturbation_of(cell).is_control();
        let own = || self.split.train.iter().copied().filter(is_control).collect();
        let cells = self.allowed("the control profile", cells, own)?;
        if let Some(&cell) = cells.iter().find(|cell| !is_control(cell)) {
            let perturbation = self.data.perturbation_of(cell);
            return Err(Error::data(format!(
                "cell {cell} is given as control, but it has the perturbation {perturbation}"
            )));
        }
        if cells.is_empty() {
            return Err(Error::data("no control cell is trained on, so there is no control profile"));
        }
        let target = TargetSum::Fixed(self.target_sum(target, None)?);
        let values = self.data.counts.select_cells(&cells);
        let expression = match self.data.expression.is_counts() {
            true => log1p(normalize_total(&values, &self.library_sizes(&cells), target)?),
            false => values,
        };
        Ok(group_means(&expression, &vec![0; cells.len()], 1)?.row(0).to_owned())
    }

    /// The given `cells`, after a check that no test cell is among them; without `cells`, those that `own` gives.
    fn allowed<'c>(
        &self,
        purpose: &str,
        cells: Option<&'c [usize]>,
        own: impl FnOnce() -> Vec<usize>,
    ) -> Result<Cow<'c, [usize]>> {
        let Some(cells) = cells else { return Ok(Cow::Owned(own())) };
        if let Some(&bad) = cells.iter().find(|&&cell| cell >= self.data.n_cells()) {
            return Err(Error::config(format!(
                "there is no cell {bad}; the dataset has {} cells",
                self.data.n_cells()
            )));
        }
        self.split.refuse_test_cells(purpose, cells)?;
        Ok(Cow::Borrowed(cells))
    }

    fn library_sizes(&self, cells: &[usize]) -> Vec<f32> {
        cells.iter().map(|&cell| self.data.library_size[cell]).collect()
    }
}
