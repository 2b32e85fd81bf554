//! Writing `.h5ad` files that AnnData 0.8 and later (and scanpy) open: encoding 0.1.0 of AnnData's format.
//!
//! The file is written beside its place and renamed when it is complete, so that a failure leaves nothing.
//! Source: <https://anndata.readthedocs.io/en/stable/fileformat-prose.html>.

use super::{encode, hdf, uns::Uns};
use crate::{
    Error, ErrorKind, Result,
    data::{Counts, Table},
    files::temporary_in,
};
use ndarray::{Array2, ArrayView2};
use std::path::Path;

/// A matrix to be written.
#[derive(Debug, Clone)]
pub enum MatrixRef<'a> {
    /// Written as CSR.
    Sparse(&'a Counts),
    /// Written in full.
    Dense(ArrayView2<'a, f32>),
}

impl MatrixRef<'_> {
    fn shape(&self) -> (usize, usize) {
        match self {
            Self::Sparse(counts) => (counts.n_cells(), counts.n_genes()),
            Self::Dense(array) => array.dim(),
        }
    }
}

impl<'a> From<&'a Counts> for MatrixRef<'a> {
    fn from(counts: &'a Counts) -> Self {
        Self::Sparse(counts)
    }
}

impl<'a> From<&'a Array2<f32>> for MatrixRef<'a> {
    fn from(array: &'a Array2<f32>) -> Self {
        Self::Dense(array.view())
    }
}

impl<'a> From<ArrayView2<'a, f32>> for MatrixRef<'a> {
    fn from(array: ArrayView2<'a, f32>) -> Self {
        Self::Dense(array)
    }
}

/// Puts an `.h5ad` file together from borrowed parts.
///
/// ```no_run
/// # fn main() -> genailab::Result<()> {
/// use genailab::{data::{AnnDataWriter, Table}, ndarray::array};
/// let obs = Table::from_names(vec!["cell 1".into(), "cell 2".into()]);
/// let var = Table::from_names(vec!["GATA1".into()]);
/// let x = array![[3.0], [0.0]];
/// AnnDataWriter::new(&obs, &var).x(&x).uns("source", "a drawing").write("drawn.h5ad")?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct AnnDataWriter<'a> {
    obs: &'a Table,
    var: &'a Table,
    x: Option<MatrixRef<'a>>,
    layers: Vec<(String, MatrixRef<'a>)>,
    obsm: Vec<(String, ArrayView2<'a, f32>)>,
    uns: Vec<(String, Uns)>,
}

impl<'a> AnnDataWriter<'a> {
    /// A file of these cells and genes, without values so far.
    pub fn new(obs: &'a Table, var: &'a Table) -> Self {
        Self { obs, var, x: None, layers: Vec::new(), obsm: Vec::new(), uns: Vec::new() }
    }

    /// Sets `X`, `(cells, genes)`.
    #[must_use]
    pub fn x(mut self, matrix: impl Into<MatrixRef<'a>>) -> Self {
        self.x = Some(matrix.into());
        self
    }

    /// Adds a layer, `(cells, genes)`.
    #[must_use]
    pub fn layer(mut self, name: &str, matrix: impl Into<MatrixRef<'a>>) -> Self {
        self.layers.push((name.to_owned(), matrix.into()));
        self
    }

    /// Adds an embedding, `(cells, dimensions)`.
    #[must_use]
    pub fn obsm(mut self, name: &str, values: &'a Array2<f32>) -> Self {
        self.obsm.push((name.to_owned(), values.view()));
        self
    }

    /// Adds an unstructured entry.
    #[must_use]
    pub fn uns(mut self, name: &str, entry: impl Into<Uns>) -> Self {
        self.uns.push((name.to_owned(), entry.into()));
        self
    }

    /// Writes the file; an older one at `path` is replaced.
    ///
    /// # Errors
    /// Parts whose shapes do not fit; a folder that is not there or cannot be written to; a full disk. Nothing is left
    /// then, and an older file stays as it was.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        self.check().map_err(|e| e.at(path.display()))?;
        let failed = |e: std::io::Error| Error::io("write", path, e);
        if path.is_dir() {
            return Err(Error::config(format!("cannot write {}: it is a folder; give a file name", path.display())));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.is_dir() {
            let folder = folder.display();
            return Err(Error::config(format!(
                "cannot write {}: there is no folder {folder}; make it first",
                path.display()
            )));
        }
        // The kind alone: the whole message would name the temporary file, which the user knows nothing of.
        let temporary = temporary_in(folder).map_err(|e| failed(e.kind().into()))?;
        hdf5::silence_errors(true);
        self.fill(temporary.path()).map_err(|error| {
            let cause = hdf::system_error(&error).unwrap_or_else(|| error.to_string());
            Error::new(ErrorKind::Io, format!("cannot write {}: {cause}", path.display()))
        })?;
        temporary.as_file().sync_all().map_err(failed)?;
        temporary.persist(path).map_err(|e| failed(e.error))?;
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let expected = (self.obs.len(), self.var.len());
        let matrices = self.x.iter().map(|x| ("X".to_owned(), x.shape()));
        let layers = self.layers.iter().map(|(name, layer)| (format!("layer `{name}`"), layer.shape()));
        if let Some((name, shape)) = matrices.chain(layers).find(|(_, shape)| *shape != expected) {
            return Err(Error::shape(&format!("writing {name} of {expected:?} cells and genes"), shape, expected));
        }
        if let Some((name, values)) = self.obsm.iter().find(|(_, values)| values.nrows() != expected.0) {
            return Err(Error::shape(&format!("writing the embedding `{name}`"), values.dim(), expected));
        }
        for (table, name) in [(self.obs, "obs"), (self.var, "var")] {
            if let Some((column, values)) = table.columns.iter().find(|(_, values)| values.len() != table.len()) {
                return Err(Error::data(format!(
                    "column `{column}` of {name} has {} values, but there are {} rows",
                    values.len(),
                    table.len()
                )));
            }
        }
        Ok(())
    }

    fn fill(&self, path: &Path) -> hdf5::Result<()> {
        let file = hdf::unlocked().create(path)?;
        encode::mark(&file, "anndata", "0.1.0")?;
        encode::frame(&file, "obs", self.obs)?;
        encode::frame(&file, "var", self.var)?;
        if let Some(x) = &self.x {
            encode::matrix(&file, "X", x)?;
        }
        let layers = encode::dict(&file, "layers")?;
        for (name, layer) in &self.layers {
            encode::matrix(&layers, name, layer)?;
        }
        let obsm = encode::dict(&file, "obsm")?;
        for (name, values) in &self.obsm {
            encode::matrix(&obsm, name, &MatrixRef::Dense(values.view()))?;
        }
        for name in ["varm", "obsp", "varp"] {
            encode::dict(&file, name)?;
        }
        let uns = encode::dict(&file, "uns")?;
        for (name, entry) in &self.uns {
            encode::uns(&uns, name, entry)?;
        }
        // A full disk often shows only here, when HDF5 writes what it has kept in memory.
        file.flush()?;
        file.close()
    }
}
