//! Loom files: a dense `matrix` `(genes, cells)`, attributes of genes in `row_attrs` and of cells in `col_attrs`, further
//! matrices in `layers`.
//! Source: <https://linnarssonlab.org/loompy/format/>. Names are read as `scanpy.read_loom` reads them, and from the other
//! usual attributes where those are missing.

use super::{Parts, hdf};
use crate::{
    Error, Result,
    data::{
        Counts, Table,
        anndata::{
            column::{Frame, read_array},
            source::Matrix,
        },
    },
};
use hdf5::{Dataset, Group};
use ndarray::s;

/// Attributes that hold the names of cells, and of genes.
const CELL_NAMES: [&str; 7] = ["CellID", "obs_names", "cell_names", "cell_id", "Barcode", "barcode", "index"];
const GENE_NAMES: [&str; 7] = ["Gene", "var_names", "gene_names", "Symbol", "gene_name", "Accession", "index"];
/// Values read at a time: 32 MiB of `f32`.
const BLOCK: usize = 1 << 23;

/// A matrix `(genes, cells)`, read as `(cells, genes)`.
#[derive(Debug, Clone)]
pub(in crate::data::anndata) struct LoomMatrix {
    pub(in crate::data::anndata) place: String,
    /// Cells and genes.
    pub(in crate::data::anndata) shape: (usize, usize),
    array: Dataset,
}

/// Opens a loom file.
pub(super) fn open(file: &Group) -> Result<Parts> {
    let matrix = LoomMatrix::open(file, "matrix")?;
    let (n_cells, n_genes) = matrix.shape;
    let mut notes = Vec::new();
    let cells = attributes(file, "col_attrs", n_cells, &CELL_NAMES, &mut notes)?;
    let genes = attributes(file, "row_attrs", n_genes, &GENE_NAMES, &mut notes)?;
    let mut layers = Vec::new();
    if let Some(group) = hdf::group(file, "layers")? {
        for name in hdf::members(&group)? {
            layers.push((name.clone(), Matrix::Loom(LoomMatrix::open(&group, &name)?)));
        }
    }
    Ok(Parts { obs: Frame::of_table(cells), var: Frame::of_table(genes), x: Some(Matrix::Loom(matrix)), layers, notes })
}

/// The one-dimensional attributes in a group as a table of `n` rows.
fn attributes(file: &Group, name: &str, n: usize, usual: &[&str], notes: &mut Vec<String>) -> Result<Table> {
    let group = hdf::group(file, name)?.ok_or_else(|| Error::data(format!("there is no `{name}`")))?;
    let members = hdf::members(&group)?;
    let index = usual.iter().find(|usual| members.iter().any(|member| member == *usual));
    let (mut names, mut columns, mut left_out) = (None, Vec::new(), Vec::new());
    for member in members {
        let column = match hdf::dataset(&group, &member) {
            Ok(array) if array.shape() == [n] => read_array(&array)?,
            _ => None,
        };
        match column {
            Some(column) if index == Some(&member.as_str()) => {
                names =
                    Some(column.to_text().into_iter().map(|name| name.unwrap_or_else(|| "nan".to_owned())).collect());
            }
            Some(column) => columns.push((member, column)),
            None => left_out.push(member),
        }
    }
    if !left_out.is_empty() {
        notes.push(format!(
            "attributes in `{name}` that are no list of {n} texts or numbers were left out: {}",
            left_out.join(", ")
        ));
    }
    let names = names.unwrap_or_else(|| {
        notes.push(format!("`{name}` has none of {}, so its rows are numbered", usual.join(", ")));
        (0..n).map(|row| row.to_string()).collect()
    });
    Ok(Table { names, columns })
}

impl LoomMatrix {
    fn open(parent: &Group, name: &str) -> Result<Self> {
        let array = hdf::dataset(parent, name)?;
        let place = hdf::place(&array);
        match array.shape()[..] {
            [genes, cells] => Ok(Self { place, shape: (cells, genes), array }),
            ref other => Err(Error::data(format!("`{place}` has {} dimensions; a matrix has 2", other.len()))),
        }
    }

    /// Reads it as CSR, some cells at a time.
    pub(in crate::data::anndata) fn read_counts(&self) -> Result<Counts> {
        let (cells, genes) = self.shape;
        let wanted = (BLOCK / genes.max(1)).max(1);
        let block = match self.array.chunk().as_deref() {
            Some(&[_, chunk]) if chunk > 0 => chunk * (wanted / chunk).max(1),
            _ => wanted,
        };
        let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
        for range in hdf::ranges(cells, block) {
            let block =
                self.array.read_slice_2d::<f32, _>(s![.., range]).map_err(|e| hdf::unreadable(&self.array, &e))?;
            for cell in block.columns() {
                for (gene, &value) in cell.iter().enumerate().filter(|(_, value)| **value != 0.0) {
                    indices.push(gene as u32);
                    values.push(value);
                }
                indptr.push(indices.len());
            }
        }
        Counts::new(genes, indptr, indices, values).map_err(|e| e.at(format!("`{}`", self.place)))
    }
}
