//! MatrixMarket folders, as Cell Ranger, STARsolo, kallisto and GEO have them: `matrix.mtx`, `barcodes.tsv`, and `features.tsv` or
//! `genes.tsv`, each perhaps compressed (`.gz`) and with a common prefix.
//!
//! Cell Ranger's matrix is `(features, barcodes)`; one that is `(barcodes, features)` is known by its shape. Genes are named as
//! `scanpy.read_10x_mtx` names them: by symbol, with the ids in `gene_ids`.
//! Source: <https://math.nist.gov/MatrixMarket/formats.html>.

use super::{Parts, refused, text::Lines};
use crate::{
    Error, Result,
    data::{
        Column, Counts, Table,
        anndata::{column::Frame, source::Matrix},
    },
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// How a MatrixMarket file begins.
pub(super) const BANNER: &str = "%%MatrixMarket";
/// The shortest entry: `1 1` and the end of the line.
const SHORTEST_ENTRY: u64 = 4;
/// Gzip makes nothing smaller than by this factor (RFC 1951: 258 bytes in 2 bits).
const MOST_COMPRESSED: u64 = 1032;
const ZARR: [&str; 4] = [".zgroup", ".zattrs", ".zmetadata", "zarr.json"];

/// A MatrixMarket file: its header.
#[derive(Debug)]
pub(in crate::data::anndata) struct Mtx {
    path: PathBuf,
    rows: usize,
    columns: usize,
    entries: usize,
    /// Whether columns are cells, as Cell Ranger has it.
    cells_are_columns: bool,
    has_values: bool,
}

/// Opens a folder that holds one matrix.
pub(super) fn open_folder(folder: &Path) -> Result<Parts> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::io("read", folder, e))?;
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    if names.iter().any(|name| ZARR.contains(&name.as_str())) {
        return Err(refused::zarr(folder));
    }
    let is_matrix = |name: &&String| name.ends_with(".mtx") || name.ends_with(".mtx.gz");
    let found: Vec<&String> = names.iter().filter(is_matrix).collect();
    let here = folder.display();
    match found.as_slice() {
        [name] => open_file(&folder.join(name)).map_err(|e| e.at(folder.join(name).display())),
        [] => Err(Error::data(format!(
            "{here} is a folder without a matrix.mtx; give a file, or a folder with matrix.mtx, barcodes.tsv and features.tsv{}",
            match names.iter().find(|name| name.ends_with("feature_bc_matrix")) {
                Some(name) => format!(": {}", folder.join(name).display()),
                None => String::new(),
            }
        ))),
        several => Err(Error::config(format!(
            "{here} holds several matrices; give one of them as FOLDER/FILE: {}",
            several.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
        ))),
    }
}

/// Opens a MatrixMarket file with the names of cells and genes beside it.
pub(super) fn open_file(path: &Path) -> Result<Parts> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let prefix = name.trim_end_matches(".gz").strip_suffix("matrix.mtx").unwrap_or_default().to_owned();
    let cells = beside(path, &prefix, &["barcodes.tsv", "barcodes.txt", "cells.tsv"])?;
    let genes = beside(path, &prefix, &["features.tsv", "genes.tsv", "features.txt", "genes.txt"])?;
    let cells = Table::from_names(columns_of(&cells)?.swap_remove(0));
    let genes = genes_of(columns_of(&genes)?);
    let mut matrix = Mtx::open(path)?;
    let (n_cells, n_genes) = (cells.len(), genes.len());
    matrix.cells_are_columns = match (matrix.rows, matrix.columns) {
        shape if shape == (n_genes, n_cells) => true,
        shape if shape == (n_cells, n_genes) => false,
        (rows, columns) => {
            return Err(Error::data(format!(
                "the matrix is {rows} x {columns}, but there are {n_genes} features and {n_cells} barcodes beside it; these \
                 files do not belong together, or have a header line"
            )));
        }
    };
    Ok(Parts {
        obs: Frame::of_table(cells),
        var: Frame::of_table(genes),
        x: Some(Matrix::Mtx(Arc::new(matrix))),
        layers: Vec::new(),
        notes: Vec::new(),
    })
}

/// The file of one of these names beside the matrix.
fn beside(matrix: &Path, prefix: &str, names: &[&str]) -> Result<PathBuf> {
    let all = || names.iter().flat_map(|name| [format!("{prefix}{name}"), format!("{prefix}{name}.gz")]);
    all().map(|name| matrix.with_file_name(name)).find(|path| path.is_file()).ok_or_else(|| {
        Error::data(format!(
            "there is no {} beside it; a matrix.mtx names neither cells nor genes",
            all().collect::<Vec<_>>().join(" or ")
        ))
    })
}

/// The columns of a file without a header, separated by tabs.
fn columns_of(path: &Path) -> Result<Vec<Vec<String>>> {
    let read = || -> Result<Vec<Vec<String>>> {
        let mut lines = Lines::open(path)?;
        let mut columns: Vec<Vec<String>> = Vec::new();
        while let Some(line) = lines.next()? {
            let fields: Vec<String> = String::from_utf8_lossy(line).split('\t').map(str::to_owned).collect();
            if columns.is_empty() {
                columns.resize(fields.len(), Vec::new());
            }
            let given = fields.len();
            if given < columns.len() {
                let (number, wanted) = (lines.number, columns.len());
                return Err(Error::data(format!("line {number} has {given} columns, not {wanted} as the first")));
            }
            columns.iter_mut().zip(fields).for_each(|(column, field)| column.push(field));
        }
        if columns.is_empty() { Err(Error::data("it is empty")) } else { Ok(columns) }
    };
    read().map_err(|e| e.at(path.display()))
}

/// Ids, and perhaps symbols and kinds of features.
fn genes_of(columns: Vec<Vec<String>>) -> Table {
    let mut columns = columns.into_iter();
    let ids = columns.next().unwrap_or_default();
    let Some(symbols) = columns.next() else { return Table::from_names(ids) };
    let text = |values: Vec<String>| Column::Text(values.into_iter().map(Some).collect());
    let mut genes = Table::from_names(symbols);
    genes.set("gene_ids", text(ids));
    if let Some(kinds) = columns.next() {
        genes.set("feature_types", text(kinds));
    }
    genes
}

impl Mtx {
    fn open(path: &Path) -> Result<Self> {
        let mut lines = Lines::open(path)?;
        let banner = lines.next()?.map(|line| String::from_utf8_lossy(line).to_lowercase()).unwrap_or_default();
        let kind: Vec<&str> = banner.split_whitespace().collect();
        let has_values = match kind.as_slice() {
            [_, "matrix", "coordinate", "integer" | "real" | "double", "general"] => true,
            [_, "matrix", "coordinate", "pattern", "general"] => false,
            _ => {
                return Err(Error::data(format!(
                    "the MatrixMarket header is {banner:?}; `matrix coordinate integer general` (or real) is read"
                )));
            }
        };
        let size = size_line(&mut lines)?;
        let &[rows, columns, entries] = size.as_slice() else {
            return Err(Error::data(format!(
                "line {} is not the size of the matrix (three whole numbers)",
                lines.number
            )));
        };
        let length = path.metadata().map_err(|e| Error::io("read", path, e))?.len();
        let most = length.saturating_mul(MOST_COMPRESSED) / SHORTEST_ENTRY;
        if entries as u64 > most || rows.max(columns) > u32::MAX as usize {
            return Err(Error::data(format!(
                "line {}: a matrix of {rows} x {columns} with {entries} values cannot be in a file of {length} bytes; the file is \
                 damaged",
                lines.number
            )));
        }
        Ok(Self { path: path.to_owned(), rows, columns, entries, cells_are_columns: true, has_values })
    }

    /// Cells and genes.
    pub(in crate::data::anndata) fn shape(&self) -> (usize, usize) {
        if self.cells_are_columns { (self.columns, self.rows) } else { (self.rows, self.columns) }
    }

    /// Reads the matrix as CSR. Entries that are sorted by cell, as Cell Ranger writes them, are taken as they come.
    pub(in crate::data::anndata) fn read_counts(&self) -> Result<Counts> {
        let (n_cells, n_genes) = self.shape();
        let (mut cells, mut genes, mut values) = (Vec::new(), Vec::new(), Vec::new());
        let mut lines = Lines::open(&self.path)?;
        lines.next()?;
        size_line(&mut lines)?;
        let mut is_sorted = true;
        while let Some(line) = lines.next()? {
            if line.is_empty() {
                continue;
            }
            let Some((row, column, value)) = self.entry(line) else {
                let line = String::from_utf8_lossy(line).into_owned();
                return Err(Error::data(format!(
                    "line {}: {line:?} is no entry of a matrix of {} x {} (row, column, value)",
                    lines.number, self.rows, self.columns
                )));
            };
            let (cell, gene) = if self.cells_are_columns { (column, row) } else { (row, column) };
            is_sorted &= cells.last().is_none_or(|last| *last <= cell);
            cells.push(cell);
            genes.push(gene);
            values.push(value);
        }
        if values.len() != self.entries {
            return Err(Error::data(format!(
                "the header promises {} values, and there are {}; the file is cut off or damaged",
                self.entries,
                values.len()
            )));
        }
        let mut indptr = vec![0_usize; n_cells + 1];
        cells.iter().for_each(|&cell| indptr[cell as usize + 1] += 1);
        (0..n_cells).for_each(|cell| indptr[cell + 1] += indptr[cell]);
        if !is_sorted {
            (genes, values) = by_cell(&cells, &genes, &values, &indptr);
        }
        drop(cells);
        Counts::new(n_genes, indptr, genes, values)
    }

    /// Row and column from 0, and the value, of a line.
    fn entry(&self, line: &[u8]) -> Option<(u32, u32, f32)> {
        let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
        let place = |field: &[u8], end: usize| -> Option<u32> {
            let place = whole(field)?.checked_sub(1)?;
            (place < end).then_some(place as u32)
        };
        let (row, column) = (place(fields.next()?, self.rows)?, place(fields.next()?, self.columns)?);
        let value = match self.has_values {
            true => number(fields.next()?)?,
            false => 1.0,
        };
        fields.next().is_none().then_some((row, column, value))
    }
}

/// Puts entries in any order into the rows of their cells.
fn by_cell(cells: &[u32], genes: &[u32], values: &[f32], indptr: &[usize]) -> (Vec<u32>, Vec<f32>) {
    let mut next = indptr.to_vec();
    let (mut sorted_genes, mut sorted_values) = (vec![0; genes.len()], vec![0.0; values.len()]);
    for ((&cell, &gene), &value) in cells.iter().zip(genes).zip(values) {
        let slot = &mut next[cell as usize];
        sorted_genes[*slot] = gene;
        sorted_values[*slot] = value;
        *slot += 1;
    }
    (sorted_genes, sorted_values)
}

/// The first line that is no comment, as whole numbers.
fn size_line(lines: &mut Lines) -> Result<Vec<usize>> {
    while let Some(line) = lines.next()? {
        if !line.is_empty() && line[0] != b'%' {
            return Ok(line.split(u8::is_ascii_whitespace).filter(|f| !f.is_empty()).map_while(whole).collect());
        }
    }
    Ok(Vec::new())
}

fn whole(field: &[u8]) -> Option<usize> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn number(field: &[u8]) -> Option<f32> {
    std::str::from_utf8(field).ok()?.parse().ok()
}
