//! Counts of a set of cells as a compressed sparse row (CSR) matrix of shape `(cells, genes)`.

use crate::{Error, Result};
use ndarray::Array2;
use std::sync::Arc;

/// A CSR matrix `(cells, genes)`: UMI counts, or any other non-negative values a cell.
///
/// The default has no cells and no genes. Row `i` is `indices[indptr[i]..indptr[i + 1]]` with the values at the same places; within a row the gene
/// indices are strictly increasing. 8 bytes a stored value. Clones share the arrays until one of them is changed: the counts of a
/// large experiment are most of the memory in use.
#[derive(Debug, Clone, PartialEq)]
pub struct Counts {
    n_genes: usize,
    indptr: Arc<Vec<usize>>,
    indices: Arc<Vec<u32>>,
    values: Arc<Vec<f32>>,
}

impl Default for Counts {
    fn default() -> Self {
        Self::of(0, vec![0], Vec::new(), Vec::new())
    }
}

impl Counts {
    fn of(n_genes: usize, indptr: Vec<usize>, indices: Vec<u32>, values: Vec<f32>) -> Self {
        Self { n_genes, indptr: indptr.into(), indices: indices.into(), values: values.into() }
    }

    /// Checks and takes the three CSR arrays. Rows whose indices are not sorted are sorted.
    ///
    /// # Errors
    /// `indptr` that does not start at 0, is not monotone or does not end at the number of values; an index that is
    /// not below `n_genes`, or that stands twice in a row.
    pub fn new(n_genes: usize, indptr: Vec<usize>, mut indices: Vec<u32>, mut values: Vec<f32>) -> Result<Self> {
        if indptr.first() != Some(&0) || indptr.last() != Some(&indices.len()) || indices.len() != values.len() {
            return Err(Error::data(format!(
                "the CSR arrays do not fit together: indptr runs from {:?} to {:?} over {} indices and {} values; \
                 the file is damaged",
                indptr.first(),
                indptr.last(),
                indices.len(),
                values.len()
            )));
        }
        for (row, pair) in indptr.windows(2).enumerate() {
            let (start, end) = (pair[0], pair[1]);
            if start > end || end > indices.len() {
                return Err(Error::data(format!(
                    "CSR indptr is not monotone: row {row} runs from {start} to {end}; the file is damaged"
                )));
            }
            let columns = &indices[start..end];
            if let Some(bad) = columns.iter().find(|&&gene| gene as usize >= n_genes) {
                return Err(Error::data(format!(
                    "CSR row {row} has the column index {bad}, but there are only {n_genes} genes; the file is damaged"
                )));
            }
            if !columns.is_sorted_by(|a, b| a < b) {
                let mut entries: Vec<(u32, f32)> =
                    columns.iter().copied().zip(values[start..end].iter().copied()).collect();
                entries.sort_unstable_by_key(|&(gene, _)| gene);
                if let Some(twice) = entries.windows(2).find(|w| w[0].0 == w[1].0) {
                    return Err(Error::data(format!(
                        "CSR row {row} has the column index {} twice; the file is damaged",
                        twice[0].0
                    )));
                }
                for (offset, (gene, value)) in entries.into_iter().enumerate() {
                    indices[start + offset] = gene;
                    values[start + offset] = value;
                }
            }
        }
        Ok(Self::of(n_genes, indptr, indices, values))
    }

    /// Keeps the non-zero entries of a dense `(cells, genes)` array.
    pub fn from_dense(dense: &Array2<f32>) -> Self {
        let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
        for row in dense.rows() {
            for (gene, &value) in row.iter().enumerate().filter(|(_, value)| **value != 0.0) {
                indices.push(gene as u32);
                values.push(value);
            }
            indptr.push(indices.len());
        }
        Self::of(dense.ncols(), indptr, indices, values)
    }

    /// The dense `(cells, genes)` array: `4 * cells * genes` bytes.
    pub fn to_dense(&self) -> Array2<f32> {
        let mut dense = Array2::zeros((self.n_cells(), self.n_genes));
        for cell in 0..self.n_cells() {
            let (genes, values) = self.row(cell);
            for (&gene, &value) in genes.iter().zip(values) {
                dense[[cell, gene as usize]] = value;
            }
        }
        dense
    }

    /// Number of rows.
    pub fn n_cells(&self) -> usize {
        self.indptr.len() - 1
    }

    /// Number of columns.
    pub fn n_genes(&self) -> usize {
        self.n_genes
    }

    /// Number of stored values.
    pub fn nnz(&self) -> usize {
        self.values.len()
    }

    /// Gene indices and values of one cell.
    pub fn row(&self, cell: usize) -> (&[u32], &[f32]) {
        let range = self.indptr[cell]..self.indptr[cell + 1];
        (&self.indices[range.clone()], &self.values[range])
    }

    /// Where each row starts and ends: `n_cells + 1` offsets.
    pub fn indptr(&self) -> &[usize] {
        &self.indptr
    }

    /// The column of each stored value.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// The stored values.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Sum of each row, `(cells,)`: the library size over the genes kept.
    pub fn row_sums(&self) -> Vec<f32> {
        (0..self.n_cells()).map(|cell| self.row(cell).1.iter().map(|&v| f64::from(v)).sum::<f64>() as f32).collect()
    }

    /// The rows `cells`, in that order; a row may be given more than once.
    pub fn select_cells(&self, cells: &[usize]) -> Self {
        if cells.iter().copied().eq(0..self.n_cells()) {
            return self.clone();
        }
        let mut indptr = Vec::with_capacity(cells.len() + 1);
        indptr.push(0);
        let nnz = cells.iter().map(|&cell| self.indptr[cell + 1] - self.indptr[cell]).sum();
        let (mut indices, mut values) = (Vec::with_capacity(nnz), Vec::with_capacity(nnz));
        for &cell in cells {
            let (genes, row) = self.row(cell);
            indices.extend_from_slice(genes);
            values.extend_from_slice(row);
            indptr.push(indices.len());
        }
        Self::of(self.n_genes, indptr, indices, values)
    }

    /// The columns `genes`, in that order.
    ///
    /// # Errors
    /// A gene index that is not there, or that is given twice.
    pub fn select_genes(&self, genes: &[usize]) -> Result<Self> {
        if genes.iter().copied().eq(0..self.n_genes) {
            return Ok(self.clone());
        }
        let mut place = vec![u32::MAX; self.n_genes];
        for (new, &old) in genes.iter().enumerate() {
            match place.get_mut(old) {
                Some(slot) if *slot == u32::MAX => *slot = new as u32,
                Some(_) => return Err(Error::config(format!("gene {old} is given twice"))),
                None => {
                    return Err(Error::config(format!(
                        "there is no gene {old}; the counts have {} genes",
                        self.n_genes
                    )));
                }
            }
        }
        let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
        for cell in 0..self.n_cells() {
            let (columns, row) = self.row(cell);
            for (&column, &value) in columns.iter().zip(row) {
                if place[column as usize] != u32::MAX {
                    indices.push(place[column as usize]);
                    values.push(value);
                }
            }
            indptr.push(indices.len());
        }
        Self::new(genes.len(), indptr, indices, values)
    }

    /// Keeps the rows for which `keep` is true, in place: no second copy is made, unless a clone still needs the first.
    ///
    /// # Panics
    /// If `keep` is not as long as there are cells.
    pub fn retain_cells(&mut self, keep: &[bool]) {
        assert_eq!(keep.len(), self.n_cells(), "retain_cells needs one flag a cell");
        let indptr = Arc::make_mut(&mut self.indptr);
        let (indices, values) = (Arc::make_mut(&mut self.indices), Arc::make_mut(&mut self.values));
        let (mut kept_rows, mut kept_values) = (0, 0);
        for (cell, _) in keep.iter().enumerate().filter(|(_, keep)| **keep) {
            let range = indptr[cell]..indptr[cell + 1];
            let length = range.len();
            indices.copy_within(range.clone(), kept_values);
            values.copy_within(range, kept_values);
            kept_values += length;
            kept_rows += 1;
            // Row starts at or before `cell` are not needed any more.
            indptr[kept_rows] = kept_values;
        }
        indptr.truncate(kept_rows + 1);
        indices.truncate(kept_values);
        values.truncate(kept_values);
    }

    /// The first value that cannot be a count (negative, fractional, not finite) as `(cell, gene, value)`.
    pub fn first_non_count(&self) -> Option<(usize, usize, f32)> {
        let position = self.values.iter().position(|v| !(v.is_finite() && *v >= 0.0 && v.fract() == 0.0))?;
        // The last row that starts at or before the value; empty rows start there, too, but end there as well.
        let cell = self.indptr.partition_point(|&start| start <= position) - 1;
        Some((cell, self.indices[position] as usize, self.values[position]))
    }

    /// These rows, then those of `other`.
    ///
    /// # Panics
    /// If the other has more or fewer genes.
    pub fn stacked(&self, other: &Self) -> Self {
        assert_eq!(self.n_genes, other.n_genes, "the same genes");
        let before = self.nnz();
        let indptr = self.indptr.iter().copied().chain(other.indptr.iter().skip(1).map(|end| before + end)).collect();
        let indices = [self.indices(), other.indices()].concat();
        Self::of(self.n_genes, indptr, indices, [self.values(), other.values()].concat())
    }

    /// Each row times a factor of its own, `(cells,)`.
    ///
    /// # Panics
    /// If there are more or fewer factors than rows.
    pub fn scale_rows(mut self, factors: &[f32]) -> Self {
        assert_eq!(factors.len(), self.n_cells(), "one factor a row");
        let values = Arc::make_mut(&mut self.values);
        for (range, &factor) in self.indptr.windows(2).zip(factors) {
            values[range[0]..range[1]].iter_mut().for_each(|value| *value *= factor);
        }
        self
    }

    /// Other values at the same places, which are shared.
    ///
    /// # Panics
    /// If there are more or fewer values than are stored.
    #[must_use]
    pub fn with_values(&self, values: Vec<f32>) -> Self {
        assert_eq!(values.len(), self.nnz(), "one value a place");
        Self { values: values.into(), ..self.clone() }
    }

    /// The same matrix with `f` applied to every stored value (`f(0)` must be 0).
    #[must_use]
    pub fn map_values(mut self, f: impl Fn(f32) -> f32) -> Self {
        Arc::make_mut(&mut self.values).iter_mut().for_each(|value| *value = f(*value));
        self
    }

    /// The same matrix with `f` applied to every stored value, with its cell (`f(cell, 0)` must be 0).
    #[must_use]
    pub fn map_rows(mut self, f: impl Fn(usize, f32) -> f32) -> Self {
        let values = Arc::make_mut(&mut self.values);
        for (cell, ends) in self.indptr.windows(2).enumerate() {
            values[ends[0]..ends[1]].iter_mut().for_each(|value| *value = f(cell, *value));
        }
        self
    }
}
