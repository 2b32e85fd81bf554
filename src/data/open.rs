//! From an `.h5ad` file to a [`Dataset`]: which matrix holds counts, which column names perturbations, lanes and
//! library sizes.
//!
//! Counts: the layer that the caller names; else the layer `counts`, `X`, `raw/X` or another layer, the first with counts.
//! [`OpenOptions`] lists the other choices. Files that this library wrote name the columns themselves
//! (`uns["genailab"]`).

use super::{
    AnnData, AnnDataWriter, Column, Counts, Dataset, Effects, Expression, NORMALISED_TOTAL, OpenOptions, Perturbation,
    ReadAs, Table, Uns, checks, features, is_effects,
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
    let mut front = Front::of(file, options)?;
    let own = hint(file, "expression")
        .map(|name| name.parse())
        .transpose()
        .map_err(|e: Error| e.at(file.path().display()))?;
    let picked = pick::expression(file, &front.cells.names, (options, options.expression.or(own)))?;
    let (genes, kept, notes) = front.named_genes(picked.genes);
    front.notes.extend(picked.notes.into_iter().chain(notes));
    let mut values = picked.values;
    if let Some(kept) = kept {
        values = values.select_genes(&kept)?;
    }
    let sums = values.row_sums();
    front.dataset((values, picked.expression), genes, sums).map(|(data, _)| data)
}

/// What is known of a file of cells before its counts are read.
pub(super) struct Front<'a> {
    file: &'a AnnData,
    options: &'a OpenOptions,
    /// All rows of `obs`.
    pub(super) cells: Table,
    labels: Vec<Option<Perturbation>>,
    /// Whether a column names perturbations.
    labelled: bool,
    pub(super) notes: Vec<String>,
}

impl<'a> Front<'a> {
    /// The cheap checks come first: labels are wrong more often than counts are, and counts take long to read.
    pub(super) fn of(file: &'a AnnData, options: &'a OpenOptions) -> Result<Self> {
        let here = |e: Error| e.at(file.path().display());
        if is_effects(file) {
            return Err(here(Error::data(
                "this is an effects dataset (it has `uns[\"effect\"]`: one row per perturbation, no cells); give a file of \
                 cells",
            )));
        }
        let cells = file.obs()?;
        let var = file.var()?;
        let symbols = features::with_symbols(&var);
        let named = symbols.as_ref().map_or(&var, |(named, _)| named);
        let chosen = labels::perturbation_labels(file, &cells, named, options).map_err(here)?;
        if !options.labels_optional && !chosen.labels.iter().flatten().any(Perturbation::is_control) {
            return Err(here(chosen.no_control(&cells)));
        }
        let mut notes = file.notes().to_vec();
        notes.extend(chosen.notes);
        let unread: Vec<String> =
            file.obs_columns().iter().filter(|name| cells.column(name).is_none()).cloned().collect();
        if !unread.is_empty() {
            notes.push(format!(
                "columns of obs that are neither text, numbers nor truth values were left out: {}",
                listed(&unread)
            ));
        }
        Ok(Self { file, options, cells, labels: chosen.labels, labelled: chosen.column.is_some(), notes })
    }

    /// The rows of `var` that are genes, by their symbols and without repetition; which rows these are, where some are left out;
    /// and what was done.
    pub(super) fn named_genes(&self, mut genes: Table) -> (Table, Option<Vec<usize>>, Vec<String>) {
        let mut notes = Vec::new();
        let kept = features::genes_only(&genes).map(|(kept, note)| {
            notes.push(note);
            genes = genes.select(&kept);
            kept
        });
        if features::are_ensembl(&genes.names) && !features::targets_are_ensembl(&self.labels) {
            match features::with_symbols(&genes) {
                Some((renamed, note)) => {
                    notes.push(note);
                    genes = renamed;
                }
                None if self.labelled => notes.push(
                    "genes are named by Ensembl ids and perturbations are not, so a perturbed gene cannot be found among the \
                     genes; put symbols into the column `gene_name` of var"
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
        (genes, kept, notes)
    }

    /// The dataset with these values, one row a row of `obs`, and the rows that were labelled. `sums` are those of each row over
    /// all genes.
    pub(super) fn dataset(
        self,
        (mut counts, expression): (Counts, Expression),
        genes: Table,
        mut sums: Vec<f32>,
    ) -> Result<(Dataset, Vec<usize>)> {
        let Self { file, options, mut cells, labels, mut notes, .. } = self;
        let here = |e: Error| e.at(file.path().display());
        let keep: Vec<bool> = labels.iter().map(Option::is_some).collect();
        let labels: Vec<Perturbation> = labels.into_iter().flatten().collect();
        let rows: Vec<usize> = (0..keep.len()).filter(|&row| keep[row]).collect();
        if labels.len() < keep.len() {
            counts.retain_cells(&keep);
            cells = cells.select(&rows);
            sums = rows.iter().map(|&row| sums[row]).collect();
        }
        let lanes = lanes(file, &cells, options, &mut notes).map_err(here)?;
        let empty: Vec<usize> = (0..sums.len()).filter(|&cell| sums[cell] == 0.0).collect();
        let library_size = match expression {
            Expression::Counts => {
                let (sizes, note) = library_size(file, &cells, sums);
                notes.extend(note);
                sizes
            }
            // There is none behind real values; nothing divides by it.
            Expression::Log | Expression::Z => vec![NORMALISED_TOTAL; counts.n_cells()],
        };
        let (lane, lanes) = lanes.unzip();
        let dataset =
            Dataset::new(counts, genes, cells, &labels, lanes.as_deref(), Some(library_size)).map_err(here)?;
        let dataset = Dataset { expression, ..dataset };
        notes.extend(checks::notes(&dataset, &empty, lane.as_deref()));
        Ok((Dataset { notes, ..dataset }, rows))
    }
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
/// `sums` are those of each row, and not a number where they are not known.
pub(crate) fn library_size(file: &AnnData, cells: &Table, sums: Vec<f32>) -> (Vec<f32>, Option<String>) {
    let own = hint(file, "library_size_column");
    let mut note = None;
    for name in own.as_deref().into_iter().chain(LIBRARY_COLUMNS) {
        let Some(sizes) = cells.column(name).and_then(Column::to_f64) else { continue };
        let plausible = |(&size, &sum): (&f64, &f32)| {
            size.is_finite() && (sum.is_nan() || size >= f64::from(sum) * (1.0 - LIBRARY_TOLERANCE))
        };
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
        self.write_with(path, &[], None)
    }

    /// As [`Dataset::write`], with embeddings in `obsm`: names such as `X_jepa`, and `(cells, dimensions)` each; and with a
    /// further entry in `uns`.
    ///
    /// # Errors
    /// Those of [`AnnDataWriter::write`].
    pub fn write_with(
        &self,
        path: impl AsRef<Path>,
        embeddings: &[(&str, &Array2<f32>)],
        entry: Option<(&str, Uns)>,
    ) -> Result<()> {
        let mut cells = self.cells.clone();
        self.annotate(&mut cells);
        let writer = AnnDataWriter::new(&cells, &self.genes).x(&self.counts).uns(UNS, self.hints());
        let writer = entry.into_iter().fold(writer, |writer, (name, entry)| writer.uns(name, entry));
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
        let lane = (self.lanes.len() > 1).then_some(("lane_column", "lane"));
        let expression = (!self.expression.is_counts()).then(|| ("expression", self.expression.name()));
        columns.into_iter().chain(lane).chain(expression).collect()
    }
}
