//! From an `.h5ad` file to a [`Dataset`]: which matrix holds counts, which column names perturbations, lanes and
//! library sizes.
//!
//! Counts: the layer that the caller names; else the layer `counts`, `X`, `raw/X` or another layer, the first with counts.
//! [`OpenOptions`] lists the other choices. Files that this library wrote name the columns themselves
//! (`uns["genailab"]`).

use super::{
    AnnData, AnnDataWriter, Column, Counts, Dataset, Effects, OpenOptions, Perturbation, ReadAs, Table, Uns, checks,
    features, is_effects,
    labels::{self, UNS, hint, listed},
    names, pick,
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
    let file = AnnData::open_with_obs(path, options.obs.as_deref())?;
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
        Self::from_anndata(&AnnData::open_with_obs(path, options.obs.as_deref())?, options)
    }

    /// What each label of the perturbation column is read as, without reading counts.
    ///
    /// # Errors
    /// No perturbation column, a label that cannot be read.
    pub fn read_as(file: &AnnData, options: &OpenOptions) -> Result<ReadAs> {
        let var = file.var()?;
        let named = features::with_symbols(&var).map_or(var, |(named, _)| named);
        labels::perturbation_labels(file, &file.obs()?, &named, options)
            .map(|labels| labels.read_as)
            .map_err(|e| e.at(file.path().display()))
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
    let var = file.var()?;
    let symbols = features::with_symbols(&var);
    let named = symbols.as_ref().map_or(&var, |(named, _)| named);
    let chosen = labels::perturbation_labels(file, &cells, named, options).map_err(here)?;
    if !options.labels_optional && !chosen.labels.iter().flatten().any(Perturbation::is_control) {
        return Err(here(chosen.no_control(&cells)));
    }
    let mut notes = file.notes().to_vec();
    notes.extend(chosen.notes);
    let unread: Vec<String> = file.obs_columns().iter().filter(|name| cells.column(name).is_none()).cloned().collect();
    if !unread.is_empty() {
        notes.push(format!(
            "columns of obs that are neither text, numbers nor truth values were left out: {}",
            listed(&unread)
        ));
    }
    let (mut counts, mut genes, picked) = pick::counts(file, &cells.names, options)?;
    notes.extend(picked);
    if let Some((kept, note)) = features::genes_only(&genes) {
        notes.push(note);
        counts = counts.select_genes(&kept)?;
        genes = genes.select(&kept);
    }
    if features::are_ensembl(&genes.names) && !features::targets_are_ensembl(&chosen.labels) {
        match features::with_symbols(&genes) {
            Some((renamed, note)) => {
                notes.push(note);
                genes = renamed;
            }
            None if chosen.column.is_some() => notes.push(
                "genes are named by Ensembl ids and perturbations are not, so a perturbed gene cannot be found among the genes; put \
                 symbols into the column `gene_name` of var"
                    .to_owned(),
            ),
            None => {}
        }
    }
    let renamed = names::make_unique(&mut genes.names);
    if renamed > 0 {
        notes.push(format!(
            "{renamed} gene names occurred more than once; they got the endings -1, -2, …, as in scanpy"
        ));
    }
    let keep: Vec<bool> = chosen.labels.iter().map(Option::is_some).collect();
    let labels: Vec<Perturbation> = chosen.labels.into_iter().flatten().collect();
    if labels.len() < keep.len() {
        counts.retain_cells(&keep);
        let rows: Vec<usize> = (0..keep.len()).filter(|&row| keep[row]).collect();
        cells = cells.select(&rows);
    }
    let lanes = lanes(file, &cells, options, &mut notes).map_err(here)?;
    let (library_size, note) = library_size(file, &cells, &counts);
    notes.extend(note);
    let (lane, lanes) = lanes.unzip();
    let dataset = Dataset::new(counts, genes, cells, &labels, lanes.as_deref(), Some(library_size)).map_err(here)?;
    notes.extend(checks::notes(&dataset, lane.as_deref()));
    Ok(Dataset { notes, ..dataset })
}

/// The column of lanes and the lane of each cell, or `None` where the file names none.
fn lanes(
    file: &AnnData,
    cells: &Table,
    options: &OpenOptions,
    notes: &mut Vec<String>,
) -> Result<Option<(String, Vec<String>)>> {
    let own = hint(file, "lane_column");
    let of = |column: &Column| -> Vec<String> {
        column.to_text().into_iter().map(|lane| lane.unwrap_or_else(|| "unknown".to_owned())).collect()
    };
    if let Some(name) = options.lane_column.as_ref().or(own.as_ref()) {
        let column = cells.column(name).ok_or_else(|| {
            let columns = listed(file.obs_columns());
            Error::config(format!("there is no lane column `{name}` in obs; the columns of obs are {columns}"))
        })?;
        return Ok(Some((name.clone(), of(column))));
    }
    for name in LANE_COLUMNS {
        let Some(column) = cells.column(name) else { continue };
        let lanes = of(column);
        if checks::names_each_cell(&lanes) {
            notes.push(format!(
                "`{name}` has a value for nearly every cell, so it is not used as the lane; name another column by --lane-column"
            ));
            continue;
        }
        return Ok(Some((name.to_owned(), lanes)));
    }
    Ok(None)
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
