//! Matrices `(cells, genes)` whatever the format they come from, not yet read.

use super::{
    foreign::{LoomMatrix, Mtx},
    matrix::{MatrixKind, MatrixSummary, Stored},
};
use crate::{Result, data::Counts};
use ndarray::Array2;
use std::{
    ops::{ControlFlow, Range},
    sync::Arc,
};

/// A matrix of an open file.
#[derive(Debug, Clone)]
pub(super) enum Matrix {
    /// CSR, CSC or dense arrays of an HDF5 file.
    Hdf(Stored),
    /// A dense array `(genes, cells)` of a loom file.
    Loom(LoomMatrix),
    /// A MatrixMarket file.
    Mtx(Arc<Mtx>),
    /// A text table, which has to be read whole to know its shape.
    Table(Arc<Counts>),
}

impl Matrix {
    /// Where it stands, for messages.
    pub(super) fn place(&self) -> &str {
        match self {
            Self::Hdf(stored) => &stored.place,
            Self::Loom(matrix) => &matrix.place,
            Self::Mtx(_) | Self::Table(_) => "the matrix",
        }
    }

    /// Cells and genes.
    pub(super) fn shape(&self) -> (usize, usize) {
        match self {
            Self::Hdf(stored) => stored.shape,
            Self::Loom(matrix) => matrix.shape,
            Self::Mtx(matrix) => matrix.shape(),
            Self::Table(counts) => (counts.n_cells(), counts.n_genes()),
        }
    }

    /// How it is stored.
    pub(super) fn kind(&self) -> MatrixKind {
        match self {
            Self::Hdf(stored) => stored.kind(),
            Self::Loom(_) | Self::Table(_) => MatrixKind::Dense,
            // Sorted by cell, which is how Cell Ranger writes it: compressed rows in all but name.
            Self::Mtx(_) => MatrixKind::Csr,
        }
    }

    /// Number of values and their sum.
    pub(super) fn summary(&self) -> Result<MatrixSummary> {
        if let Self::Hdf(stored) = self {
            return stored.summary();
        }
        let counts = self.read_counts()?;
        let zeros = counts.values().iter().filter(|value| **value == 0.0).count();
        let sum = counts.values().iter().map(|&value| f64::from(value)).sum();
        Ok(MatrixSummary { nnz: counts.nnz(), zeros, sum })
    }

    /// Reads it as CSR.
    pub(super) fn read_counts(&self) -> Result<Counts> {
        match self {
            Self::Hdf(stored) => stored.read_counts(),
            Self::Loom(matrix) => matrix.read_counts(),
            Self::Mtx(matrix) => matrix.read_counts(),
            Self::Table(counts) => Ok(Counts::clone(counts)),
        }
    }

    /// The columns `genes`, increasing; of an HDF5 file nothing else is kept.
    pub(super) fn read_columns(&self, genes: &[usize]) -> Result<Counts> {
        match self {
            Self::Hdf(stored) => stored.read_columns(genes),
            _ => self.read_counts()?.select_genes(genes),
        }
    }

    /// Number of stored values, where it is known without reading them.
    pub(super) fn n_stored(&self) -> Option<usize> {
        match self {
            Self::Hdf(stored) => stored.n_stored(),
            _ => None,
        }
    }

    /// Hands every value of these cells that is not zero to `each`, as (cell, gene, value), until it breaks off.
    pub(super) fn for_each_entry(
        &self,
        cells: &[Range<usize>],
        mut each: impl FnMut(usize, u32, f32) -> ControlFlow<()>,
    ) -> Result<()> {
        if let Self::Hdf(stored) = self {
            return stored.for_each_entry(cells, each);
        }
        let counts = self.read_counts()?;
        for cell in cells.iter().cloned().flatten() {
            let (genes, values) = counts.row(cell);
            if genes.iter().zip(values).any(|(&gene, &value)| each(cell, gene, value).is_break()) {
                break;
            }
        }
        Ok(())
    }

    /// Reads it as a dense array.
    pub(super) fn read_dense(&self) -> Result<Array2<f32>> {
        match self {
            Self::Hdf(stored) => stored.read_dense(),
            _ => self.read_counts().map(|counts| counts.to_dense()),
        }
    }
}
