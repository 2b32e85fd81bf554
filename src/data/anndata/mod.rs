//! Reading and writing AnnData's `.h5ad` files (AnnData 0.7 to 0.11 and later).
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
mod hdf;
mod matrix;
mod stream;
mod uns;
mod write;

pub use matrix::{MatrixKind, MatrixSummary};
pub use uns::Uns;
pub use write::{AnnDataWriter, MatrixRef};

use super::{Column, Counts, Table};
use crate::{Error, Result};
use column::Frame;
use hdf5::{File, Group, LocationType};
use matrix::Stored;
use ndarray::Array2;
use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
};

/// An open `.h5ad` file: its structure, and the means to read its parts.
#[derive(Debug)]
pub struct AnnData {
    path: PathBuf,
    file: File,
    obs: Frame,
    var: Frame,
    x: Option<Stored>,
    layers: Vec<String>,
    obsm: Vec<(String, Vec<usize>)>,
    uns: Vec<String>,
    raw: Option<Frame>,
}

impl AnnData {
    /// Opens a file and reads its structure: shapes and names, no values.
    ///
    /// # Errors
    /// A missing, truncated or damaged file; one that is not HDF5 or not AnnData; parts whose shapes do not fit.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = hdf::open(path)?;
        Self::of(file, path).map_err(|e| e.at(path.display()))
    }

    fn of(file: File, path: &Path) -> Result<Self> {
        if hdf::kind_of(&file, "obs").is_none() || hdf::kind_of(&file, "var").is_none() {
            let names = hdf::members(&file)?;
            return Err(Error::data(format!(
                "this is an HDF5 file but not an AnnData (.h5ad) file: it needs `obs` and `var`, and holds {}",
                if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
            )));
        }
        let (obs, var) = (Frame::open(&file, "obs")?, Frame::open(&file, "var")?);
        let x = Stored::open(&file, "X")?;
        let raw = match hdf::group(&file, "raw")? {
            Some(raw) if hdf::kind_of(&raw, "var").is_some() => Some(Frame::open(&raw, "var")?),
            _ => None,
        };
        let names = |name: &str| match hdf::group(&file, name)? {
            Some(group) => hdf::members(&group),
            None => Ok(Vec::new()),
        };
        let (layers, obsm, uns) = (names("layers")?, names("obsm")?, names("uns")?);
        let mut this = Self { path: path.to_owned(), file, obs, var, x, layers, obsm: Vec::new(), uns, raw };
        if let Some(x) = &this.x {
            this.check_shape(x, this.n_vars())?;
        }
        this.obsm =
            obsm.into_iter().map(|name| this.obsm_shape(&name).map(|shape| (name, shape))).collect::<Result<_>>()?;
        Ok(this)
    }

    fn check_shape(&self, matrix: &Stored, n_vars: usize) -> Result<()> {
        let expected = (self.n_obs(), n_vars);
        if matrix.shape == expected {
            return Ok(());
        }
        Err(Error::data(format!(
            "`{}` is {} x {}, but there are {} cells and {} genes; the file is damaged",
            matrix.place, matrix.shape.0, matrix.shape.1, expected.0, expected.1
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
        self.x.as_ref().map_or(MatrixKind::None, Stored::kind)
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
        self.in_file(self.obs.read().map(|(table, _)| table))
    }

    /// Reads the annotations of the genes, as [`AnnData::obs`] does those of the cells.
    ///
    /// # Errors
    /// A damaged column.
    pub fn var(&self) -> Result<Table> {
        self.in_file(self.var.read().map(|(table, _)| table))
    }

    /// Reads the annotations of the genes of `raw`.
    ///
    /// # Errors
    /// There is no `raw`, or a column is damaged.
    pub fn raw_var(&self) -> Result<Table> {
        let raw = self.raw.as_ref().ok_or_else(|| Error::data(format!("{} has no `raw`", self.path.display())))?;
        self.in_file(raw.read().map(|(table, _)| table))
    }

    /// Reads one column of `obs`; `None` if there is no such column, or its type has no place in [`Column`].
    ///
    /// # Errors
    /// A damaged column.
    pub fn obs_column(&self, name: &str) -> Result<Option<Column>> {
        if !self.obs.columns.iter().any(|column| column == name) {
            return Ok(None);
        }
        self.in_file(self.obs.column(name))
    }

    /// Reads a matrix as CSR `(cells, genes)`, whatever its form: `"X"`, `"layers/NAME"` or `"raw/X"`.
    ///
    /// # Errors
    /// No such matrix, values that are not numbers, a shape that does not fit, damaged CSR or CSC arrays.
    pub fn read_matrix(&self, name: &str) -> Result<Counts> {
        self.in_file(self.stored(name).and_then(|matrix| matrix.read_counts()))
    }

    /// The columns `genes` (increasing) of a matrix, which is read as a stream: see [`AnnData::read_matrix`].
    ///
    /// # Errors
    /// As [`AnnData::read_matrix`].
    pub(super) fn read_columns(&self, name: &str, genes: &[usize]) -> Result<Counts> {
        self.in_file(self.stored(name).and_then(|matrix| matrix.read_columns(genes)))
    }

    /// Hands every value of a matrix that is not zero to `each`, as (cell, gene, value), until it breaks off.
    ///
    /// # Errors
    /// As [`AnnData::read_matrix`].
    pub(super) fn for_each_entry(
        &self,
        name: &str,
        each: impl FnMut(usize, u32, f32) -> ControlFlow<()>,
    ) -> Result<()> {
        self.in_file(self.stored(name).and_then(|matrix| matrix.for_each_entry(each)))
    }

    /// Reads a matrix as a dense array `(cells, genes)`: see [`AnnData::read_matrix`].
    ///
    /// # Errors
    /// As [`AnnData::read_matrix`].
    pub fn read_dense(&self, name: &str) -> Result<Array2<f32>> {
        self.in_file(self.stored(name).and_then(|matrix| matrix.read_dense()))
    }

    /// Number of values and sum of a matrix, read in blocks; all zero where there is none.
    ///
    /// # Errors
    /// As [`AnnData::read_matrix`], except for a missing matrix.
    pub fn summarize(&self, name: &str) -> Result<MatrixSummary> {
        if !self.has_matrix(name) {
            return Ok(MatrixSummary::default());
        }
        self.in_file(self.stored(name).and_then(|matrix| matrix.summary()))
    }

    /// Whether there is a matrix `"X"`, `"layers/NAME"` or `"raw/X"`.
    pub fn has_matrix(&self, name: &str) -> bool {
        match name {
            "X" => self.x.is_some(),
            "raw/X" => self.raw.is_some() && self.file.link_exists("raw/X"),
            _ => name.strip_prefix("layers/").is_some_and(|layer| self.layers.iter().any(|known| known == layer)),
        }
    }

    /// Reads an embedding, `(cells, dimensions)`; of a data frame, its columns, which must be numbers.
    ///
    /// # Errors
    /// No such embedding, or values that are not numbers.
    pub fn read_obsm(&self, name: &str) -> Result<Array2<f32>> {
        self.in_file(self.embedding(name))
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
        match hdf::group(&self.file, "uns")? {
            Some(group) => self.in_file(uns::read(&group, path)),
            None => Ok(None),
        }
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

    fn stored(&self, name: &str) -> Result<Stored> {
        let (stored, n_vars) = match name {
            "X" => (self.x.clone(), self.n_vars()),
            "raw/X" => match &self.raw {
                Some(raw) => (Stored::open(&self.part("raw")?, "X")?, raw.rows),
                None => (None, 0),
            },
            _ => match name.strip_prefix("layers/") {
                Some(layer) if self.has_matrix(name) => (Stored::open(&self.part("layers")?, layer)?, self.n_vars()),
                _ => (None, 0),
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
        hdf::group(&self.file, name)?.ok_or_else(|| Error::data(format!("there is no `{name}`")))
    }

    fn absent(&self, group: &str, name: &str) -> Error {
        let names: Vec<String> = self.obsm.iter().map(|(name, _)| name.clone()).collect();
        Error::data(format!("there is no `{group}/{name}`; there are {}", list(&names)))
    }

    fn in_file<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|e| e.at(self.path.display()))
    }
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
