//! Perturbed cells, or the effects of perturbations, ready to train on.

use super::{Counts, Perturbation, Table};
use ndarray::Array2;

/// A cells dataset: one row a cell, counts, and which perturbation each cell had.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// UMI counts, `(cells, genes)`.
    pub counts: Counts,
    /// Gene names and annotations.
    pub genes: Table,
    /// Cell names and annotations, with the file's own columns.
    pub cells: Table,
    /// The distinct perturbations: control first, then sorted by name.
    pub perturbations: Vec<Perturbation>,
    /// Index into `perturbations`, one a cell.
    pub labels: Vec<u32>,
    /// The distinct lanes (batches, replicates), sorted; one entry `"all"` where the file names none.
    pub lanes: Vec<String>,
    /// Index into `lanes`, one a cell.
    pub lane_of: Vec<u32>,
    /// Total UMI count of each cell over ALL genes that were measured, not only those kept here.
    pub library_size: Vec<f32>,
}

/// An effects dataset: one row a perturbation, each value a difference to control.
#[derive(Debug, Clone)]
pub struct Effects {
    /// Difference to control in mean log1p(CPM-like) expression, `(perturbations, genes)`.
    pub values: Array2<f32>,
    /// Gene names and annotations.
    pub genes: Table,
    /// One a row; a perturbation stands once.
    pub perturbations: Vec<Perturbation>,
    /// The file's own columns, one row a perturbation.
    pub table: Table,
}
