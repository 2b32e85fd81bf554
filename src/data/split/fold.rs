//! What may be learnt before a model is trained, from training cells alone: which genes vary, what library size cells
//! are scaled to, how control looks. A choice that has seen the test cells has seen part of the answer.

use super::Split;
use crate::{
    Error, Result,
    data::{
        Dataset, HvgFlavour, HvgTable, TargetSum, highly_variable,
        normalize::{group_means, log1p, normalize_total},
    },
};
use ndarray::Array1;
use std::borrow::Cow;

/// The training cells of a dataset. Each method takes its cells from them, or from a list that has no test cell.
#[derive(Debug, Clone, Copy)]
pub struct TrainingFold<'a> {
    data: &'a Dataset,
    split: &'a Split,
}

impl Dataset {
    /// The training cells of a split: what preparation may look at.
    ///
    /// # Errors
    /// A split of another dataset: see [`Split::check`].
    pub fn training_fold<'a>(&'a self, split: &'a Split) -> Result<TrainingFold<'a>> {
        split.check(self.n_cells())?;
        Ok(TrainingFold { data: self, split })
    }
}

impl<'a> TrainingFold<'a> {
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
    /// [`normalize_total`](crate::data::normalize::normalize_total).
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
        let counts = normalize_total(&self.data.counts.select_cells(&cells), &self.library_sizes(&cells), target)?;
        Ok(group_means(&log1p(counts), &vec![0; cells.len()], 1)?.row(0).to_owned())
    }

    /// The cells that were asked for, once they are known to hold no test cell; else those of training.
    fn allowed<'c>(
        &self,
        purpose: &str,
        cells: Option<&'c [usize]>,
        own: impl FnOnce() -> Vec<usize>,
    ) -> Result<Cow<'c, [usize]>> {
        let Some(cells) = cells else { return Ok(Cow::Owned(own())) };
        if let Some(&bad) = cells.iter().find(|&&cell| cell >= self.data.n_cells()) {
            return Err(Error::config(format!("cell {bad} is asked for, but there are {}", self.data.n_cells())));
        }
        self.split.refuse_test_cells(purpose, cells)?;
        Ok(Cow::Borrowed(cells))
    }

    fn library_sizes(&self, cells: &[usize]) -> Vec<f32> {
        cells.iter().map(|&cell| self.data.library_size[cell]).collect()
    }
}
