//! From an `.h5ad` file to a [`Dataset`]: which matrix holds counts, which column names perturbations, lanes and
//! library sizes.
//!
//! Counts: the layer that the caller names; else the layer `counts`; else `X` if it holds counts; else `raw/X` if it does.
//! [`OpenOptions`] lists the other choices. Files that this library wrote name the columns themselves
//! (`uns["genailab"]`).

use super::{
    AnnData, AnnDataWriter, Column, Counts, Dataset, Effects, OpenOptions, Perturbation, Table, Uns, is_effects,
    labels::{self, UNS, hint, listed},
    names,
};
use crate::{Error, Result};
use ndarray::Array2;
use std::path::Path;

/// The columns that may hold lanes, if the caller names none.
const LANE_COLUMNS: [&str; 5] = ["gem_group", "lane", "batch", "replicate", "gemgroup"];
/// The columns that may hold library sizes.
const LIBRARY_COLUMNS: [&str; 6] = ["ncounts", "total_counts", "n_counts", "nCount_RNA", "UMI_count", "n_umis"];
/// A library size may be this much smaller than the sum of the row, relatively: it may have been stored as `f32`.
const LIBRARY_TOLERANCE: f64 = 1e-4;

/// The content of a file: cells or effects.
#[derive(Debug, Clone)]
pub enum Opened {
    /// One row per cell.
    Cells(Dataset),
    /// One row per perturbation.
    Effects(Effects),
}

/// Opens a file of either kind: an effects dataset if it has `uns["effect"]`, else a cells dataset.
///
/// # Errors
/// Those of [`Dataset::open`] and [`Effects::open`].
pub fn open(path: impl AsRef<Path>) -> Result<Opened> {
    open_with(path, &OpenOptions::default())
}

/// As [`open()`], with options.
///
/// # Errors
/// Those of [`Dataset::open`] and [`Effects::open`].
pub fn open_with(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Opened> {
    let file = AnnData::open(path)?;
    if is_effects(&file) {
        Effects::from_anndata(&file, options).map(Opened::Effects)
    } else {
        Dataset::from_anndata(&file, options).map(Opened::Cells)
    }
}

impl Dataset {
    /// Norman 2019 (K562, CRISPR activation, single and double perturbations) as scPerturb distributes it: downloaded at
    /// first use (0.7 GB), verified and kept in [`fetch::cache_dir`](super::fetch::cache_dir).
    ///
    /// # Errors
    /// A download that failed, a cache folder that cannot be written, a file that cannot be read.
    pub fn norman() -> Result<Self> {
        Self::open(super::fetch("norman", None)?.path)
    }

    /// Reads a cells dataset. Its `notes` say what was chosen and repaired.
    ///
    /// # Errors
    /// No counts anywhere (the message gives the first value that is none), no perturbation column, no control cells,
    /// or a damaged file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, &OpenOptions::default())
    }

    /// As [`Dataset::open`], with options.
    ///
    /// # Errors
    /// As [`Dataset::open`], and a column or layer that is named but not there.
    pub fn open_with(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Self> {
        Self::from_anndata(&AnnData::open(path)?, options)
    }

    /// Reads an open file: see [`Dataset::open`].
    ///
    /// # Errors
    /// As [`Dataset::open_with`].
    pub fn from_anndata(file: &AnnData, options: &OpenOptions) -> Result<Self> {
        read(file, options)
    }
}

fn read(file: &AnnData, options: &OpenOptions) -> Result<Dataset> {
    let here = |e: Error| e.at(file.path().display());
    if is_effects(file) {
        return Err(here(Error::data(
            "this is an effects dataset (it has `uns[\"effect\"]`: one row per perturbation, no cells); give a file of cells",
        )));
    }
    let mut cells = file.obs()?;
    // The cheap checks come first: labels are wrong more often than counts are, and counts take long to read.
    let chosen = labels::perturbation_labels(file, &cells, &file.var()?, options).map_err(here)?;
    let mut notes = chosen.notes;
    if !chosen.labels.iter().flatten().any(Perturbation::is_control) {
        return Err(here(labels::no_control(&chosen.column, &chosen.labels)));
    }
    let unread: Vec<String> = file.obs_columns().iter().filter(|name| cells.column(name).is_none()).cloned().collect();
    if !unread.is_empty() {
        notes.push(format!(
            "columns of obs that are neither text, numbers nor truth values were left out: {}",
            listed(&unread)
        ));
    }
    let (mut counts, mut genes, note) = pick_counts(file, &cells.names, options)?;
    notes.extend(note);
    let renamed = names::make_unique(&mut genes.names);
    if renamed > 0 {
        notes.push(format!(
            "{renamed} gene names occurred more than once; they got the endings -1, -2, …, as in scanpy"
        ));
    }
    let keep: Vec<bool> = chosen.labels.iter().map(Option::is_some).collect();
    let labels: Vec<Perturbation> = chosen.labels.into_iter().flatten().collect();
    let dropped = keep.len() - labels.len();
    if dropped > 0 {
        notes.push(format!("{dropped} cells without a label in `{}` were left out", chosen.column));
        counts.retain_cells(&keep);
        let rows: Vec<usize> = (0..keep.len()).filter(|&row| keep[row]).collect();
        cells = cells.select(&rows);
    }
    let lanes = lanes(file, &cells, options).map_err(here)?;
    let (library_size, note) = library_size(file, &cells, &counts);
    notes.extend(note);
    let dataset = Dataset::new(counts, genes, cells, &labels, lanes.as_deref(), Some(library_size)).map_err(here)?;
    Ok(Dataset { notes, ..dataset })
}

/// Finds the matrix of counts: the counts, the genes of their columns, and a note where it is not `X`.
fn pick_counts(file: &AnnData, cells: &[String], options: &OpenOptions) -> Result<(Counts, Table, Option<String>)> {
    let named = options.counts_layer.as_ref().map(|name| match name.as_str() {
        "X" | "raw/X" => name.clone(),
        layer => format!("layers/{}", layer.trim_start_matches("layers/")),
    });
    let only = named.or_else(|| file.has_matrix("layers/counts").then(|| "layers/counts".to_owned()));
    let candidates = match &only {
        Some(name) => vec![name.as_str()],
        None => ["X", "raw/X"].into_iter().filter(|name| file.has_matrix(name)).collect(),
    };
    let mut found = Vec::new();
    for name in candidates {
        let counts = file.read_matrix(name)?;
        let genes = if name == "raw/X" { file.raw_var()? } else { file.var()? };
        match counts.first_non_count() {
            None => {
                let note = (name != "X").then(|| format!("counts are read from `{name}`"));
                return Ok((counts, genes, note));
            }
            Some((cell, gene, value)) => found.push(format!(
                "`{name}` holds {} such as {value} (cell {:?}, gene {:?})",
                fault(value),
                cells[cell],
                genes.names[gene]
            )),
        }
    }
    let what =
        if found.is_empty() { "it has no X, no layer `counts` and no raw/X".to_owned() } else { found.join(", ") };
    Err(Error::data(format!(
        "no counts were found: {what}; counts are whole numbers from 0 up, in the layer `counts`, in X or in raw/X"
    ))
    .at(file.path().display()))
}

/// Why a value is not a count.
fn fault(value: f32) -> &'static str {
    if value.is_nan() {
        "NaN (missing) values,"
    } else if value.is_infinite() {
        "infinite values"
    } else if value < 0.0 {
        "negative values (scaled?)"
    } else {
        "fractions (log-normalised?)"
    }
}

/// The lane of each cell, or `None` where the file names none.
fn lanes(file: &AnnData, cells: &Table, options: &OpenOptions) -> Result<Option<Vec<String>>> {
    let own = hint(file, "lane_column");
    let column = match options.lane_column.as_ref().or(own.as_ref()) {
        Some(name) => Some(cells.column(name).ok_or_else(|| {
            let columns = listed(file.obs_columns());
            Error::config(format!("there is no lane column `{name}` in obs; the columns of obs are {columns}"))
        })?),
        None => LANE_COLUMNS.iter().find_map(|name| cells.column(name)),
    };
    Ok(column
        .map(|column| column.to_text().into_iter().map(|lane| lane.unwrap_or_else(|| "unknown".to_owned())).collect()))
}

/// The library size of each cell: from the first column that holds one, if it is never below the sum of the row.
pub(crate) fn library_size(file: &AnnData, cells: &Table, counts: &Counts) -> (Vec<f32>, Option<String>) {
    let sums = counts.row_sums();
    let own = hint(file, "library_size_column");
    let mut note = None;
    for name in own.as_deref().into_iter().chain(LIBRARY_COLUMNS) {
        let Some(sizes) = cells.column(name).and_then(Column::to_f64) else { continue };
        let plausible =
            |(&size, &sum): (&f64, &f32)| size.is_finite() && size >= f64::from(sum) * (1.0 - LIBRARY_TOLERANCE);
        match sizes.iter().zip(&sums).position(|pair| !plausible(pair)) {
            None => return (sizes.into_iter().map(|size| size as f32).collect(), None),
            Some(cell) => {
                note = Some(format!(
                    "`{name}` is not the library size (cell {:?}: {} where the counts sum to {}); the sums are used",
                    cells.names[cell], sizes[cell], sums[cell]
                ));
            }
        }
    }
    (sums, note)
}

impl Dataset {
    /// Writes the dataset as an `.h5ad` that [`Dataset::open`] and scanpy read: counts in `X`, and in `obs` the columns
    /// `perturbation`, `ncounts` (library size) and, where lanes are known, `lane`, beside those of `cells`.
    ///
    /// # Errors
    /// Those of [`AnnDataWriter::write`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        self.write_with(path, &[])
    }

    /// As [`Dataset::write`], with embeddings in `obsm`: names such as `X_jepa`, and `(cells, dimensions)` each.
    ///
    /// # Errors
    /// Those of [`AnnDataWriter::write`].
    pub fn write_with(&self, path: impl AsRef<Path>, embeddings: &[(&str, &Array2<f32>)]) -> Result<()> {
        let mut cells = self.cells.clone();
        self.annotate(&mut cells);
        let writer = AnnDataWriter::new(&cells, &self.genes).x(&self.counts).uns(UNS, self.hints());
        embeddings.iter().fold(writer, |writer, (name, values)| writer.obsm(name, values)).write(path)
    }

    /// Sets the columns of `obs` that tell this library what each cell is.
    pub(super) fn annotate(&self, cells: &mut Table) {
        cells.set("perturbation", self.perturbation_column());
        cells.set("ncounts", Column::Float(self.library_size.iter().map(|&size| f64::from(size)).collect()));
        if self.lanes.len() > 1 {
            let codes = self.lane_of.iter().map(|&lane| lane as i32).collect();
            cells.set("lane", Column::Categorical { codes, categories: self.lanes.clone() });
        }
    }

    /// Which columns hold what, for the file's `uns`.
    pub(super) fn hints(&self) -> Uns {
        let columns = [("perturbation_column", "perturbation"), ("library_size_column", "ncounts")];
        columns.into_iter().chain((self.lanes.len() > 1).then_some(("lane_column", "lane"))).collect()
    }
}
