//! Reading and writing AnnData's `.h5ad` files (AnnData 0.6 to 0.12), and reading other formats as if they were.
//!
//! An `.h5ad` file is an HDF5 file with a matrix `X` `(cells, genes)`, the data frames `obs` (cells) and `var` (genes),
//! further matrices of `X`'s shape in `layers`, embeddings in `obsm`, anything in `uns`, and perhaps the unfiltered
//! data in `raw`. [`AnnData::open`] reads the structure only; each part is read on demand.
//! Source: <https://anndata.readthedocs.io/en/stable/fileformat-prose.html>.
//!
//! ```no_run
//! # fn main() -> genailab::Result<()> {
//! use genailab::data::AnnData;
//! let file = AnnData::open("cells.h5ad")?;
//! println!("{} cells x {} genes, X is {}", file.n_obs(), file.n_vars(), file.x_kind());
//! let counts = file.read_matrix("X")?;
//! # Ok(()) }
//! ```

mod chunks;
mod column;
mod foreign;
mod hdf;
mod matrix;
mod metadata;
mod opening;
mod records;
mod size;
mod source;
mod stream;
mod uns;
mod write;

pub use matrix::{MatrixKind, MatrixSummary};
pub use metadata::read_table;
pub use uns::Uns;
pub use write::{AnnDataWriter, MatrixRef};

use super::{Column, Counts, Table};
use crate::{Error, Result, guard::Reading};
use column::Frame;
use hdf5::{Group, LocationType};
use matrix::Stored;
use ndarray::Array2;
use source::Matrix;
use std::{
    ops::{ControlFlow, Range},
    path::{Path, PathBuf},
};

/// Where AnnData before 0.7 kept the genes and the matrix of `raw`.
const OLD_RAW_VAR: &str = "raw.var";
const OLD_RAW_X: &str = "raw.X";

/// An open file: its structure, and the means to read its parts.
#[derive(Debug)]
pub struct AnnData {
    path: PathBuf,
    /// Where `layers`, `obsm`, `uns` and `raw` are; `None` for formats that have no such parts.
    root: Option<Group>,
    obs: Frame,
    var: Frame,
    x: Option<Matrix>,
    layers: Vec<String>,
    /// The layers of formats that keep them elsewhere than in `root`, in the order of `layers`.
    other_layers: Vec<Matrix>,
    obsm: Vec<(String, Vec<usize>)>,
    uns: Vec<String>,
    raw: Option<Frame>,
    notes: Vec<String>,
}

impl AnnData {
    /// What was chosen while the file was opened: a modality, the orientation of a table, joined columns.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    fn check_shape(&self, matrix: &Matrix, n_vars: usize) -> Result<()> {
        let (shape, expected) = (matrix.shape(), (self.n_obs(), n_vars));
        if shape == expected {
            return Ok(());
        }
        Err(Error::data(format!(
            "`{}` is {} x {}, but there are {} cells and {} genes; the file is damaged",
            matrix.place(),
            shape.0,
            shape.1,
            expected.0,
            expected.1
        )))
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of cells (rows of `obs`).
    pub fn n_obs(&self) -> usize {
        self.obs.rows
    }

    /// Number of genes (rows of `var`).
    pub fn n_vars(&self) -> usize {
        self.var.rows
    }

    /// How `X` is stored.
    pub fn x_kind(&self) -> MatrixKind {
        self.x.as_ref().map_or(MatrixKind::None, Matrix::kind)
    }

    /// Names of the columns of `obs`, in the file's order, without the row names.
    pub fn obs_columns(&self) -> &[String] {
        &self.obs.columns
    }

    /// Names of the columns of `var`, in the file's order, without the row names.
    pub fn var_columns(&self) -> &[String] {
        &self.var.columns
    }

    /// Names of the layers.
    pub fn layers(&self) -> &[String] {
        &self.layers
    }

    /// Names and shapes of the embeddings.
    pub fn obsm(&self) -> &[(String, Vec<usize>)] {
        &self.obsm
    }

    /// Names of the unstructured entries.
    pub fn uns_keys(&self) -> &[String] {
        &self.uns
    }

    /// Whether the file keeps the unfiltered data (`raw`).
    pub fn has_raw(&self) -> bool {
        self.raw.is_some()
    }

    /// Reads the annotations of the cells. Columns of types that [`Column`] has no place for are left out; compare
    /// with [`AnnData::obs_columns`].
    ///
    /// # Errors
    /// A damaged column.
    pub fn obs(&self) -> Result<Table> {
        self.in_file(|| self.obs.read().map(|(table, _)| table))
    }

    /// Reads the annotations of the genes, as [`AnnData::obs`] does those of the cells.
    ///
    /// # Errors
    /// A damaged column.
    pub fn var(&self) -> Result<Table> {
        self.in_file(|| self.var.read().map(|(table, _)| table))
    }

    /// Reads the annotations of the genes of `raw`.
    ///
    /// # Errors
    /// There is no `raw`, or a column is damaged.
    pub fn raw_var(&self) -> Result<Table> {
        let raw = self.raw.as_ref().ok_or_else(|| Error::data(format!("{} has no `raw`", self.path.display())))?;
        self.in_file(|| raw.read().map(|(table, _)| table))
    }

    /// Reads one column of `obs`; `None` if there is no such column, or its type has no place in [`Column`].
    ///
    /// # Errors
    /// A damaged column.
    pub fn obs_column(&self, name: &str) -> Result<Option<Column>> {
        if !self.obs.columns.iter().any(|column| column == name) {
            return Ok(None);
        }
        self.in_file(|| self.obs.column(name))
    }

    /// Reads a matrix as CSR `(cells, genes)`, whatever its form: `"X"`, `"layers/NAME"` or `"raw/X"`.
    ///
    /// # Errors
    /// No such matrix, values that are not numbers, a shape that does not fit, damaged CSR or CSC arrays.
    pub fn read_matrix(&self, name: &str) -> Result<Counts> {
        self.in_file(|| self.stored(name).and_then(|matrix| matrix.read_counts()))
    }

    /// The columns `genes` (increasing) of a matrix, which is read as a stream: see [`AnnData::read_matrix`].
    ///
    /// # Errors
    /// As [`AnnData::read_matrix`].
    pub(super) fn read_columns(&self, name: &str, genes: &[usize]) -> Result<Counts> {
        self.in_file(|| self.stored(name).and_then(|matrix| matrix.read_columns(genes)))
    }

    /// Hands every value of a matrix that is not zero, in the cells `cells`, to `each`, as (cell, gene, value), until it breaks off.
    ///
    /// # Errors
    /// As [`AnnData::read_matrix`].
    pub(super) fn for_each_entry(
        &self,
        name: &str,
        cells: &[Range<usize>],
        each: impl FnMut(usize, u32, f32) -> ControlFlow<()>,
    ) -> Result<()> {
        self.in_file(|| self.stored(name).and_then(|matrix| matrix.for_each_entry(cells, each)))
    }

    /// Number of values that a sparse matrix stores, zeros among them, which is known without reading them; `None` of other
    /// matrices.
    ///
    /// # Errors
    /// As [`AnnData::read_matrix`].
    pub fn n_stored(&self, name: &str) -> Result<Option<usize>> {
        match self.has_matrix(name) {
            true => self.in_file(|| self.stored(name).map(|matrix| matrix.n_stored())),
            false => Ok(None),
        }
    }

    /// Reads a matrix as a dense array `(cells, genes)`: see [`AnnData::read_matrix`].
    ///
    /// # Errors
    /// As [`AnnData::read_matrix`].
    pub fn read_dense(&self, name: &str) -> Result<Array2<f32>> {
        self.in_file(|| self.stored(name).and_then(|matrix| matrix.read_dense()))
    }

    /// Number of values and sum of a matrix, read in blocks; all zero where there is none.
    ///
    /// # Errors
    /// As [`AnnData::read_matrix`], except for a missing matrix.
    pub fn summarize(&self, name: &str) -> Result<MatrixSummary> {
        if !self.has_matrix(name) {
            return Ok(MatrixSummary::default());
        }
        self.in_file(|| self.stored(name).and_then(|matrix| matrix.summary()))
    }

    /// Whether there is a matrix `"X"`, `"layers/NAME"` or `"raw/X"`.
    pub fn has_matrix(&self, name: &str) -> bool {
        match name {
            "X" => self.x.is_some(),
            "raw/X" => self.raw.is_some() && self.raw_place().is_some(),
            _ => name.strip_prefix("layers/").is_some_and(|layer| self.layers.iter().any(|known| known == layer)),
        }
    }

    /// Reads an embedding, `(cells, dimensions)`; of a data frame, its columns, which must be numbers.
    ///
    /// # Errors
    /// No such embedding, or values that are not numbers.
    pub fn read_obsm(&self, name: &str) -> Result<Array2<f32>> {
        self.in_file(|| self.embedding(name))
    }

    fn embedding(&self, name: &str) -> Result<Array2<f32>> {
        let obsm = self.part("obsm")?;
        if let Some(frame) = data_frame(&obsm, name)? {
            let mut values = Array2::zeros((frame.rows, frame.columns.len()));
            for (place, column) in frame.columns.iter().enumerate() {
                let numbers = frame
                    .column(column)?
                    .and_then(|column| column.to_f64())
                    .ok_or_else(|| Error::data(format!("column `{column}` of `obsm/{name}` does not hold numbers")))?;
                values.column_mut(place).iter_mut().zip(numbers).for_each(|(slot, number)| *slot = number as f32);
            }
            return Ok(values);
        }
        Stored::open(&obsm, name)?.ok_or_else(|| self.absent("obsm", name))?.read_dense()
    }

    /// Reads the entry of `uns` at a path (`"effect"`, `"pca/variance"`); `None` where there is none, or its kind has no
    /// place in [`Uns`] (a data frame, say).
    ///
    /// # Errors
    /// A damaged entry.
    pub fn uns(&self, path: &str) -> Result<Option<Uns>> {
        let Some(root) = &self.root else { return Ok(None) };
        self.in_file(|| match hdf::group(root, "uns")? {
            Some(group) => uns::read(&group, path),
            None => Ok(None),
        })
    }

    /// The parts of the file that are not read: pairwise and gene embeddings, `raw`, entries of `uns` that [`Uns`] has no place for.
    ///
    /// # Errors
    /// A damaged file.
    pub fn unread_parts(&self) -> Result<Vec<String>> {
        let Some(root) = &self.root else { return Ok(Vec::new()) };
        self.in_file(|| {
            let mut parts = Vec::new();
            for group in ["varm", "obsp", "varp"] {
                parts.extend(names_in(root, group)?.into_iter().map(|name| format!("{group}/{name}")));
            }
            parts.extend(self.raw.iter().map(|_| "raw".to_owned()));
            for name in &self.uns {
                if self.uns(name)?.is_none() {
                    parts.push(format!("uns/{name}"));
                }
            }
            Ok(parts)
        })
    }

    fn obsm_shape(&self, name: &str) -> Result<Vec<usize>> {
        let obsm = self.part("obsm")?;
        if hdf::kind_of(&obsm, name) == Some(LocationType::Dataset) {
            return Ok(hdf::dataset(&obsm, name)?.shape());
        }
        if let Some(frame) = data_frame(&obsm, name)? {
            return Ok(vec![frame.rows, frame.columns.len()]);
        }
        // What is neither (an awkward array, say) is listed without a shape, and refused when it is read.
        Ok(Stored::open(&obsm, name).ok().flatten().map_or(Vec::new(), |matrix| vec![matrix.shape.0, matrix.shape.1]))
    }

    /// The group and the name of `raw/X`, which AnnData before 0.7 called `raw.X`.
    fn raw_place(&self) -> Option<(Group, &'static str)> {
        let root = self.root.as_ref()?;
        match root.link_exists(OLD_RAW_X) {
            true => Some((root.clone(), OLD_RAW_X)),
            false => root.group("raw").ok().filter(|raw| raw.link_exists("X")).map(|raw| (raw, "X")),
        }
    }

    fn layer(&self, name: &str) -> Result<Option<Matrix>> {
        let Some(place) = self.layers.iter().position(|known| known == name) else { return Ok(None) };
        match self.other_layers.get(place) {
            Some(matrix) => Ok(Some(matrix.clone())),
            None => Ok(Stored::open(&self.part("layers")?, name)?.map(Matrix::Hdf)),
        }
    }

    fn stored(&self, name: &str) -> Result<Matrix> {
        let (stored, n_vars) = match name {
            "X" => (self.x.clone(), self.n_vars()),
            "raw/X" => match (&self.raw, self.raw_place()) {
                (Some(raw), Some((group, name))) => (Stored::open(&group, name)?.map(Matrix::Hdf), raw.rows),
                _ => (None, 0),
            },
            _ => match name.strip_prefix("layers/") {
                Some(layer) => (self.layer(layer)?, self.n_vars()),
                None => (None, 0),
            },
        };
        let stored = stored.ok_or_else(|| {
            Error::data(format!(
                "there is no matrix `{name}`; there are {}",
                list(
                    &["X".to_owned()]
                        .into_iter()
                        .filter(|_| self.x.is_some())
                        .chain(self.layers.iter().map(|layer| format!("layers/{layer}")))
                        .chain(self.raw.iter().map(|_| "raw/X".to_owned()))
                        .collect::<Vec<_>>()
                )
            ))
        })?;
        self.check_shape(&stored, n_vars)?;
        Ok(stored)
    }

    fn part(&self, name: &str) -> Result<Group> {
        let group = self.root.as_ref().map(|root| hdf::group(root, name)).transpose()?.flatten();
        group.ok_or_else(|| Error::data(format!("there is no `{name}`")))
    }

    fn absent(&self, group: &str, name: &str) -> Error {
        let names: Vec<String> = self.obsm.iter().map(|(name, _)| name.clone()).collect();
        Error::data(format!("there is no `{group}/{name}`; there are {}", list(&names)))
    }

    /// Reads by HDF5, and says in which file something failed.
    fn in_file<T>(&self, read: impl FnOnce() -> Result<T>) -> Result<T> {
        let _reading = Reading::of(&self.path);
        read().map_err(|e| e.at(self.path.display()))
    }
}

/// Names of the members of the group `name`; none where there is no such group.
fn names_in(root: &Group, name: &str) -> Result<Vec<String>> {
    hdf::group(root, name)?.map_or_else(|| Ok(Vec::new()), |group| hdf::members(&group))
}

fn data_frame(parent: &Group, name: &str) -> Result<Option<Frame>> {
    match hdf::group(parent, name)? {
        Some(group) if hdf::text_attr(&group, "encoding-type").as_deref() == Some("dataframe") => {
            Frame::open(parent, name).map(Some)
        }
        _ => Ok(None),
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
