//! Writes `.h5ad` files that AnnData 0.8 and later (and scanpy) open: encoding 0.1.0 of AnnData's format.
//!
//! The file is written beside its place and renamed when it is complete, so that a failure leaves nothing.
//! Source: <https://anndata.readthedocs.io/en/stable/fileformat-prose.html>.

use super::{hdf, uns::Uns};
use crate::{
    Error, ErrorKind, Result,
    data::{Column, Counts, Table},
    files::Unfinished,
};
use hdf5::{Dataset, Group, H5Type, Location, types::VarLenUnicode};
use ndarray::{Array2, ArrayView2};
use std::{ops::Deref, path::Path, str::FromStr};

/// The default gzip level: with the bytes shuffled first, higher ones make counts little smaller and much slower to write.
const GZIP_LEVEL: u8 = 1;
/// Values in a chunk: 512 KiB of `f32`, half of HDF5's chunk cache.
const CHUNK: usize = 1 << 17;
/// Arrays shorter than this are written as they are: a chunk's index would outweigh them.
const COMPRESS_FROM: usize = 256;

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
    gzip: u8,
}

impl<'a> AnnDataWriter<'a> {
    /// A file of these cells and genes, without values so far.
    pub fn new(obs: &'a Table, var: &'a Table) -> Self {
        Self { obs, var, x: None, layers: Vec::new(), obsm: Vec::new(), uns: Vec::new(), gzip: GZIP_LEVEL }
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

    /// Sets how strongly arrays are compressed: 0 (not at all) to 9; 1 without this.
    #[must_use]
    pub fn gzip(mut self, level: u8) -> Self {
        self.gzip = level.min(9);
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
        let unfinished = Unfinished::beside(path)?;
        hdf5::silence_errors(true);
        self.fill(unfinished.path()).map_err(|error| {
            let cause = hdf::system_error(&error).unwrap_or_else(|| error.to_string());
            Error::new(ErrorKind::Io, format!("cannot write {}: {cause}", path.display()))
        })?;
        unfinished.finish()
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
        let h5 = hdf::unlocked().create(path)?;
        let file = Target { group: h5.group("/")?, gzip: self.gzip };
        mark(&file, "anndata", "0.1.0")?;
        frame(&file, "obs", self.obs)?;
        frame(&file, "var", self.var)?;
        if let Some(x) = &self.x {
            matrix(&file, "X", x)?;
        }
        let layers = dict(&file, "layers")?;
        for (name, layer) in &self.layers {
            matrix(&layers, name, layer)?;
        }
        let obsm = dict(&file, "obsm")?;
        for (name, values) in &self.obsm {
            matrix(&obsm, name, &MatrixRef::Dense(values.view()))?;
        }
        for name in ["varm", "obsp", "varp"] {
            dict(&file, name)?;
        }
        let uns = dict(&file, "uns")?;
        for (name, entry) in &self.uns {
            write_uns(&uns, name, entry)?;
        }
        // A full disk often shows only here, when HDF5 writes what it has kept in memory.
        h5.flush()?;
        drop((file, layers, obsm, uns));
        h5.close()
    }
}

/// A group to write into, and how its arrays are compressed.
struct Target {
    group: Group,
    gzip: u8,
}

impl Deref for Target {
    type Target = Group;

    fn deref(&self) -> &Group {
        &self.group
    }
}

impl Target {
    fn create_group(&self, name: &str) -> hdf5::Result<Self> {
        Ok(Self { group: self.group.create_group(name)?, gzip: self.gzip })
    }
}

// The elements of a file, each an array or a group with the attributes `encoding-type` and `encoding-version`.

/// Sets the attributes that tell how an element is encoded.
fn mark(location: &Location, kind: &str, version: &str) -> hdf5::Result<()> {
    text_attr(location, "encoding-type", kind)?;
    text_attr(location, "encoding-version", version)
}

/// An empty dictionary.
fn dict(parent: &Target, name: &str) -> hdf5::Result<Target> {
    let group = parent.create_group(name)?;
    mark(&group, "dict", "0.1.0")?;
    Ok(group)
}

/// A data frame: the row names at `_index`, one member per column.
fn frame(parent: &Target, name: &str, table: &Table) -> hdf5::Result<()> {
    let group = parent.create_group(name)?;
    mark(&group, "dataframe", "0.2.0")?;
    text_attr(&group, "_index", "_index")?;
    let names = table.columns.iter().map(|(name, _)| text(name)).collect::<hdf5::Result<Vec<_>>>()?;
    group.new_attr::<VarLenUnicode>().shape([names.len()]).create("column-order")?.write_raw(&names)?;
    texts(&group, "_index", &table.names)?;
    for (name, values) in &table.columns {
        column(&group, name, values)?;
    }
    Ok(())
}

/// A matrix, sparse or dense.
fn matrix(parent: &Target, name: &str, matrix: &MatrixRef<'_>) -> hdf5::Result<()> {
    match matrix {
        MatrixRef::Sparse(counts) => csr(parent, name, counts),
        MatrixRef::Dense(array) => dense(parent, name, array),
    }
}

/// An entry of `uns`.
fn write_uns(parent: &Target, name: &str, entry: &Uns) -> hdf5::Result<()> {
    match entry {
        Uns::Text(value) => {
            let array = parent.new_dataset::<VarLenUnicode>().create(name)?;
            array.write_scalar(&text(value)?)?;
            mark(&array, "string", "0.2.0")
        }
        Uns::Texts(values) => texts(parent, name, values),
        Uns::Number(value) => {
            let array = parent.new_dataset::<f64>().create(name)?;
            array.write_scalar(value)?;
            mark(&array, "numeric-scalar", "0.2.0")
        }
        Uns::Array(values) => {
            let values = values.as_standard_layout();
            let array = create::<f32>(parent, name, values.shape())?;
            array.write(values.view())?;
            mark(&array, "array", "0.2.0")
        }
        Uns::Dict(entries) => {
            let group = dict(parent, name)?;
            entries.iter().try_for_each(|(name, entry)| write_uns(&group, name, entry))
        }
    }
}

fn csr(parent: &Target, name: &str, counts: &Counts) -> hdf5::Result<()> {
    let group = parent.create_group(name)?;
    mark(&group, "csr_matrix", "0.1.0")?;
    let shape = [counts.n_cells() as i64, counts.n_genes() as i64];
    group.new_attr::<i64>().shape([2]).create("shape")?.write_raw(&shape)?;
    create::<f32>(&group, "data", &[counts.nnz()])?.write_raw(counts.values())?;
    // scipy wants both index arrays of one signed type; the narrow one serves up to 2^31 - 1 values and genes.
    let narrow = i32::try_from(counts.nnz().max(counts.n_genes())).is_ok();
    let array = |name, length| {
        if narrow { create::<i32>(&group, name, &[length]) } else { create::<i64>(&group, name, &[length]) }
    };
    array("indices", counts.nnz())?.write_raw(counts.indices())?;
    let offsets: Vec<i64> = counts.indptr().iter().map(|&offset| offset as i64).collect();
    array("indptr", offsets.len())?.write_raw(&offsets)
}

fn dense(parent: &Target, name: &str, values: &ArrayView2<'_, f32>) -> hdf5::Result<()> {
    let array = create::<f32>(parent, name, values.shape())?;
    array.write(values.as_standard_layout().view())?;
    mark(&array, "array", "0.2.0")
}

fn column(group: &Target, name: &str, values: &Column) -> hdf5::Result<()> {
    match values {
        Column::Categorical { codes, categories } => categorical(group, name, codes, categories),
        Column::Text(values) if values.iter().all(Option::is_some) => {
            texts(group, name, &values.iter().flatten().cloned().collect::<Vec<_>>())
        }
        // Missing texts have no encoding of their own before AnnData 0.11; missing categories always had one.
        Column::Text(values) => {
            let mut categories: Vec<String> = values.iter().flatten().cloned().collect();
            categories.sort_unstable();
            categories.dedup();
            let code = |value: &String| categories.binary_search(value).map_or(-1, |place| place as i32);
            let codes: Vec<i32> = values.iter().map(|value| value.as_ref().map_or(-1, code)).collect();
            categorical(group, name, &codes, &categories)
        }
        Column::Integer(values) => nullable(group, name, "nullable-integer", values),
        Column::Boolean(values) => nullable(group, name, "nullable-boolean", values),
        Column::Float(values) => array(group, name, values),
    }
}

/// A plain array, or values with a mask where any is missing.
fn nullable<T: H5Type + Copy + Default>(
    group: &Target,
    name: &str,
    kind: &str,
    values: &[Option<T>],
) -> hdf5::Result<()> {
    let plain: Vec<T> = values.iter().map(|value| value.unwrap_or_default()).collect();
    if values.iter().all(Option::is_some) {
        return array(group, name, &plain);
    }
    let group = group.create_group(name)?;
    mark(&group, kind, "0.1.0")?;
    array(&group, "values", &plain)?;
    array(&group, "mask", &values.iter().map(Option::is_none).collect::<Vec<_>>())
}

fn categorical(parent: &Target, name: &str, codes: &[i32], categories: &[String]) -> hdf5::Result<()> {
    let group = parent.create_group(name)?;
    mark(&group, "categorical", "0.2.0")?;
    group.new_attr::<bool>().create("ordered")?.write_scalar(&false)?;
    texts(&group, "categories", categories)?;
    // The narrowest type that holds the codes, as pandas has it.
    let shape = [codes.len()];
    let array = match categories.len() {
        0..=127 => create::<i8>(&group, "codes", &shape),
        128..=32767 => create::<i16>(&group, "codes", &shape),
        _ => create::<i32>(&group, "codes", &shape),
    }?;
    array.write_raw(codes)?;
    mark(&array, "array", "0.2.0")
}

fn array<T: H5Type>(parent: &Target, name: &str, values: &[T]) -> hdf5::Result<()> {
    let array = create::<T>(parent, name, &[values.len()])?;
    array.write_raw(values)?;
    mark(&array, "array", "0.2.0")
}

fn texts(parent: &Target, name: &str, values: &[String]) -> hdf5::Result<()> {
    let values = values.iter().map(|value| text(value)).collect::<hdf5::Result<Vec<_>>>()?;
    let array = create::<VarLenUnicode>(parent, name, &[values.len()])?;
    array.write_raw(&values)?;
    mark(&array, "string-array", "0.2.0")
}

/// An array of this shape, in compressed chunks if it is long.
fn create<T: H5Type>(parent: &Target, name: &str, shape: &[usize]) -> hdf5::Result<Dataset> {
    let size: usize = shape.iter().product();
    let builder = parent.new_dataset::<T>();
    if size < COMPRESS_FROM || parent.gzip == 0 {
        return builder.shape(shape).create(name);
    }
    let mut chunk = shape.to_vec();
    let row: usize = shape[1..].iter().product();
    chunk[0] = (CHUNK / row.max(1)).clamp(1, shape[0]);
    builder.chunk(chunk).shuffle().deflate(parent.gzip).shape(shape).create(name)
}

fn text_attr(location: &Location, name: &str, value: &str) -> hdf5::Result<()> {
    location.new_attr::<VarLenUnicode>().create(name)?.write_scalar(&text(value)?)
}

fn text(value: &str) -> hdf5::Result<VarLenUnicode> {
    VarLenUnicode::from_str(value).map_err(|_| format!("the text {value:?} holds a zero byte").into())
}
