//! Matrices of an `.h5ad` file: CSR, CSC or dense, read in blocks straight into [`Counts`] or a dense array.
//!
//! Sparse: a group with `data` `(nnz,)`, `indices` `(nnz,)`, `indptr` `(n + 1,)` and the attribute `shape`. Dense: an
//! array `(cells, genes)`. HDF5 converts the values to `f32` (counts) or `f64` (sums) while it reads.
//! Source: <https://anndata.readthedocs.io/en/stable/fileformat-prose.html>.

use super::{chunks::Array, hdf};
use crate::{Error, Result, data::Counts};
use hdf5::{Dataset, Group, H5Type, LocationType};
use ndarray::{Array2, s};
use std::{fmt, ops::Range};

/// How a matrix is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatrixKind {
    /// Compressed sparse rows.
    Csr,
    /// Compressed sparse columns.
    Csc,
    /// Every value.
    Dense,
    /// There is no matrix.
    None,
}

impl fmt::Display for MatrixKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Csr => "csr",
            Self::Csc => "csc",
            Self::Dense => "dense",
            Self::None => "none",
        })
    }
}

/// Number of stored values and sum of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct MatrixSummary {
    /// Stored values of a sparse matrix, non-zero values of a dense one.
    pub nnz: usize,
    /// Of these, the values that are zero all the same (a sparse matrix may store them).
    pub zeros: usize,
    /// Sum of all values, in `f64`.
    pub sum: f64,
}

/// A matrix in the file, not yet read.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    /// Where it stands, such as `X` or `layers/counts`.
    pub(super) place: String,
    /// Rows and columns.
    pub(super) shape: (usize, usize),
    form: Form,
}

#[derive(Debug, Clone)]
pub(super) enum Form {
    Dense(Dataset),
    Sparse { by_row: bool, data: Dataset, indices: Dataset, indptr: Dataset },
}

impl Stored {
    /// Finds the matrix `name`, or `None` where there is none.
    ///
    /// # Errors
    /// Something else stands there, or its shape cannot be known.
    pub(super) fn open(parent: &Group, name: &str) -> Result<Option<Self>> {
        let place = hdf::join(&parent.name(), name);
        match hdf::kind_of(parent, name) {
            Some(LocationType::Dataset) => {
                let array = hdf::dataset(parent, name)?;
                if hdf::is_null(&array) {
                    return Ok(None);
                }
                match array.shape()[..] {
                    [rows, columns] => Ok(Some(Self { place, shape: (rows, columns), form: Form::Dense(array) })),
                    ref other => Err(Error::data(format!("`{place}` has {} dimensions; a matrix has 2", other.len()))),
                }
            }
            Some(LocationType::Group) => {
                let group = parent.group(name).map_err(|e| hdf::failed("open", &place, &e))?;
                Self::open_sparse(&group, place).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn open_sparse(group: &Group, place: String) -> Result<Self> {
        // `h5sparse_*` are the names of AnnData 0.6.
        let encoding = hdf::text_attr(group, "encoding-type").or_else(|| hdf::text_attr(group, "h5sparse_format"));
        let by_row = match encoding.as_deref() {
            Some("csr_matrix" | "csr") => true,
            Some("csc_matrix" | "csc") => false,
            other => {
                return Err(Error::data(format!(
                    "`{place}` is stored as {}; a matrix is a `csr_matrix`, a `csc_matrix` or a dense array",
                    other.map_or("a group of unknown kind".to_owned(), |name| format!("`{name}`"))
                )));
            }
        };
        let shape = hdf::integers_attr(group, "shape").or_else(|| hdf::integers_attr(group, "h5sparse_shape"));
        let shape = match shape.as_deref() {
            Some(&[rows, columns]) if rows >= 0 && columns >= 0 => (rows as usize, columns as usize),
            _ => return Err(Error::data(format!("`{place}` does not give its shape; the file is damaged"))),
        };
        let part = |name| hdf::dataset(group, name);
        let form = Form::Sparse { by_row, data: part("data")?, indices: part("indices")?, indptr: part("indptr")? };
        Ok(Self { place, shape, form })
    }

    pub(super) fn form(&self) -> &Form {
        &self.form
    }

    /// A sparse matrix in the arrays of another format: compressed rows, one row per cell.
    pub(super) fn of_rows(place: String, shape: (usize, usize), parts: [Dataset; 3]) -> Self {
        let [data, indices, indptr] = parts;
        Self { place, shape, form: Form::Sparse { by_row: true, data, indices, indptr } }
    }

    /// How the matrix is stored.
    pub(super) fn kind(&self) -> MatrixKind {
        match &self.form {
            Form::Dense(_) => MatrixKind::Dense,
            Form::Sparse { by_row: true, .. } => MatrixKind::Csr,
            Form::Sparse { by_row: false, .. } => MatrixKind::Csc,
        }
    }

    /// Number of stored values, where it is known without reading them.
    pub(super) fn n_stored(&self) -> Option<usize> {
        match &self.form {
            Form::Dense(_) => None,
            Form::Sparse { data, .. } => Some(data.size()),
        }
    }

    /// Counts and sums the values without keeping them, and checks the structure of a sparse matrix.
    pub(super) fn summary(&self) -> Result<MatrixSummary> {
        let mut summary = MatrixSummary::default();
        match &self.form {
            Form::Dense(array) => self.for_each_dense_block::<f64>(array, self.all_rows(), |_, block| {
                summary.nnz += block.iter().filter(|&&value| value != 0.0).count();
                summary.sum += block.sum();
                Ok(())
            })?,
            Form::Sparse { by_row, data, indices, indptr } => {
                let (major, minor) = self.major_minor(*by_row);
                self.offsets(indptr, major, data, indices)?;
                self.for_each_index(indices, minor, |_, _| ())?;
                summary.nnz = data.size();
                let array = Array::new(data);
                for range in hdf::ranges(data.size(), array.block_length()) {
                    let values = array.read::<f64>(range)?;
                    summary.sum += values.iter().sum::<f64>();
                    summary.zeros += values.iter().filter(|&&value| value == 0.0).count();
                }
            }
        }
        Ok(summary)
    }

    /// Reads the matrix as CSR. At no time does a second full copy stand in memory.
    pub(super) fn read_counts(&self) -> Result<Counts> {
        match &self.form {
            Form::Dense(array) => self.sparsify(array),
            Form::Sparse { by_row: true, data, indices, indptr } => self.read_csr(data, indices, indptr),
            Form::Sparse { by_row: false, data, indices, indptr } => self.transpose_csc(data, indices, indptr),
        }
    }

    /// Reads the matrix as a dense array.
    pub(super) fn read_dense(&self) -> Result<Array2<f32>> {
        match &self.form {
            Form::Dense(array) => {
                let values = hdf::numbers::<f32>(array)?;
                Array2::from_shape_vec(self.shape, values)
                    .map_err(|_| Error::shape(&self.place, array.shape(), self.shape))
            }
            Form::Sparse { .. } => self.read_counts().map(|counts| counts.to_dense()),
        }
    }

    fn read_csr(&self, data: &Dataset, indices: &Dataset, indptr: &Dataset) -> Result<Counts> {
        let (rows, columns) = self.shape;
        let offsets = self.offsets(indptr, rows, data, indices)?;
        let mut genes = self.reserve::<u32>(data.size())?;
        self.for_each_index(indices, columns, |_, index| genes.push(index))?;
        let mut values = self.reserve::<f32>(data.size())?;
        let array = Array::new(data);
        for range in hdf::ranges(data.size(), array.block_length()) {
            values.extend_from_slice(&array.read::<f32>(range)?);
        }
        Counts::new(columns, offsets, genes, values).map_err(|e| e.at(format!("`{}`", self.place)))
    }

    /// Two passes over the file: the first counts the values of each row, the second puts each value in its place.
    /// Columns come in order, so the column indices of each row do too.
    fn transpose_csc(&self, data: &Dataset, indices: &Dataset, indptr: &Dataset) -> Result<Counts> {
        let (rows, columns) = self.shape;
        let offsets = self.offsets(indptr, columns, data, indices)?;
        let mut starts = vec![0_usize; rows + 1];
        self.for_each_index(indices, rows, |_, row| starts[row as usize + 1] += 1)?;
        for row in 0..rows {
            starts[row + 1] += starts[row];
        }
        let mut genes = self.reserve::<u32>(data.size())?;
        genes.resize(data.size(), 0);
        let mut values = self.reserve::<f32>(data.size())?;
        values.resize(data.size(), 0.0);
        let mut next = starts.clone();
        let mut column = 0;
        let (value_array, row_array) = (Array::new(data), Array::new(indices));
        for range in hdf::ranges(data.size(), value_array.block_length().max(row_array.block_length())) {
            let row_block = row_array.read::<i64>(range.clone())?;
            let value_block = value_array.read::<f32>(range.clone())?;
            for ((position, &row), &value) in range.zip(&row_block).zip(&value_block) {
                while position >= offsets[column + 1] {
                    column += 1;
                }
                let slot = &mut next[row as usize];
                genes[*slot] = column as u32;
                values[*slot] = value;
                *slot += 1;
            }
        }
        Counts::new(columns, starts, genes, values).map_err(|e| e.at(format!("`{}`", self.place)))
    }

    fn sparsify(&self, array: &Dataset) -> Result<Counts> {
        let mut offsets = Vec::with_capacity(self.shape.0 + 1);
        offsets.push(0);
        let (mut genes, mut values) = (Vec::new(), Vec::new());
        self.for_each_dense_block::<f32>(array, self.all_rows(), |_, block| {
            for row in block.rows() {
                for (gene, &value) in row.iter().enumerate().filter(|(_, value)| **value != 0.0) {
                    genes.push(gene as u32);
                    values.push(value);
                }
                offsets.push(genes.len());
            }
            Ok(())
        })?;
        Counts::new(self.shape.1, offsets, genes, values)
    }

    fn all_rows(&self) -> Option<Range<usize>> {
        Some(0..self.shape.0)
    }

    pub(super) fn for_each_dense_block<T: H5Type>(
        &self,
        array: &Dataset,
        asked: impl IntoIterator<Item = Range<usize>>,
        mut each: impl FnMut(usize, Array2<T>) -> Result<()>,
    ) -> Result<()> {
        for asked in asked {
            for rows in hdf::ranges(asked.len(), hdf::block_rows(array, self.shape.1)) {
                let (start, end) = (asked.start + rows.start, asked.start + rows.end);
                let block = array.read_slice_2d::<T, _>(s![start..end, ..]).map_err(|e| hdf::unreadable(array, &e))?;
                each(start, block)?;
            }
        }
        Ok(())
    }

    pub(super) fn major_minor(&self, by_row: bool) -> (usize, usize) {
        if by_row { self.shape } else { (self.shape.1, self.shape.0) }
    }

    /// Reads and checks `indptr`: `major + 1` offsets from 0 to the number of values, never falling.
    pub(super) fn offsets(
        &self,
        indptr: &Dataset,
        major: usize,
        data: &Dataset,
        indices: &Dataset,
    ) -> Result<Vec<usize>> {
        let place = &self.place;
        let damaged = |what: String| Error::data(format!("`{place}`: {what}; the file is damaged"));
        if data.size() != indices.size() {
            return Err(damaged(format!("there are {} values but {} indices", data.size(), indices.size())));
        }
        let offsets = hdf::numbers::<i64>(indptr)?;
        if offsets.len() != major + 1 {
            return Err(damaged(format!(
                "`indptr` has {} entries, but the shape {:?} needs {}",
                offsets.len(),
                self.shape,
                major + 1
            )));
        }
        if let Some(at) = offsets.windows(2).position(|pair| pair[0] > pair[1]) {
            let (start, end) = (offsets[at], offsets[at + 1]);
            return Err(damaged(format!("`indptr` is not monotone: entry {at} is {start} and the next is {end}")));
        }
        let (first, last) = (offsets[0], offsets[major]);
        if first != 0 || last != data.size() as i64 {
            return Err(damaged(format!("`indptr` runs from {first} to {last}, but there are {} values", data.size())));
        }
        Ok(offsets.into_iter().map(|offset| offset as usize).collect())
    }

    /// Reads `indices` as `i64`, so that a negative one is seen, and checks that each is below `minor`.
    fn for_each_index(&self, indices: &Dataset, minor: usize, mut each: impl FnMut(usize, u32)) -> Result<()> {
        if u32::try_from(minor).is_err() {
            return Err(Error::data(format!(
                "`{}` has {minor} columns or rows; at most 2^32 - 1 are read",
                self.place
            )));
        }
        let array = Array::new(indices);
        for range in hdf::ranges(indices.size(), array.block_length()) {
            let block = array.read::<i64>(range.clone())?;
            for (position, &index) in range.zip(&block) {
                if index < 0 || index >= minor as i64 {
                    return Err(self.index_out_of_range(index, position, minor));
                }
                each(position, index as u32);
            }
        }
        Ok(())
    }

    /// Memory for `length` values, or a clear error where a damaged file asks for more than there is.
    fn reserve<T>(&self, length: usize) -> Result<Vec<T>> {
        let mut values = Vec::new();
        values
            .try_reserve_exact(length)
            .map_err(|_| Error::data(format!("`{}` holds {length} values, more than fit into memory", self.place)))?;
        Ok(values)
    }
}
