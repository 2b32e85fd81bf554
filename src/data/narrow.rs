//! Reading some genes of a file of cells, so that its full matrix of counts never stands in memory.
//!
//! A published file has the whole transcriptome (Norman 2019: 111,445 cells x 33,694 genes, 3 GB of counts), and a model is
//! trained on the few thousand genes that vary. The file passes by three times, and only what is asked for is kept:
//!
//! 1. the sum of each cell's counts, its number of detected genes and its share of mitochondrial counts, which quality control
//!    asks for later, when most genes are gone; and whether these are counts at all;
//! 2. how often each gene has each count among the *training* cells, which tells the genes that vary most (`seurat_v3`);
//! 3. the counts of the chosen genes.
//!
//! The second pass is left out where genes are named.

use super::{
    AnnData, Column, Counts, Dataset, Expression, HvgFlavour, OpenOptions, Table,
    dose::name_and_dose,
    highly_variable,
    histograms::CountHistograms,
    open::Front,
    pick,
    qc::{self, DETECTED_GENES, MITO_PERCENT},
};
use crate::{Error, Result};
use std::{
    collections::HashSet,
    ops::{ControlFlow, Range},
    path::Path,
    str::FromStr,
};

/// Variable genes that are used where nothing else is asked for.
pub const USUAL_GENES: usize = 5_000;

/// Which genes of a file of cells are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GeneChoice {
    /// All.
    All,
    /// The most variable ones among the training cells, so many of them (`seurat_v3`), and the perturbed genes.
    MostVariable(usize),
    /// Those of these names that the file has.
    Named(Vec<String>),
}

impl Default for GeneChoice {
    fn default() -> Self {
        Self::MostVariable(USUAL_GENES)
    }
}

impl FromStr for GeneChoice {
    type Err = Error;

    /// `all`, a number, or the path of a text file with a gene a line (of a table, in its first column).
    fn from_str(text: &str) -> Result<Self> {
        if text.eq_ignore_ascii_case("all") {
            return Ok(Self::All);
        }
        match text.parse() {
            Ok(0) => {
                Err(Error::config("--genes 0 leaves no gene; give a number from 1 up, all, or a file of gene names"))
            }
            Ok(n) => Ok(Self::MostVariable(n)),
            Err(_) => Self::of_file(Path::new(text)),
        }
    }
}

impl GeneChoice {
    fn of_file(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::config(format!(
                "--genes {}: neither a number nor `all`, and there is no such file of gene names",
                path.display()
            )),
            _ => Error::io("read", path, e),
        })?;
        let first = |line: &str| line.split(['\t', ',']).next().unwrap_or_default().trim().trim_matches('"').to_owned();
        let names: Vec<String> = text.lines().map(first).filter(|name| !name.is_empty()).collect();
        match names.is_empty() {
            true => Err(Error::config(format!("--genes {}: the file names no gene", path.display()))),
            false => Ok(Self::Named(names)),
        }
    }
}

/// How the note names the choice of genes by their counts.
const BY_COUNTS: &str = "seurat_v3";

/// What the first pass tells of the cells.
struct Totals {
    sums: Vec<f64>,
    detected: Vec<f64>,
    mito: Vec<f64>,
}

impl Totals {
    fn of_no_counts(cells: usize) -> Self {
        let zeros = || vec![0.0; cells];
        Self { sums: zeros(), detected: zeros(), mito: zeros() }
    }

    /// Of counts that are in memory.
    fn of(data: &Dataset) -> Self {
        let is_mito: Vec<bool> = data.genes.names.iter().map(|name| qc::is_mitochondrial(name)).collect();
        let mut totals = Self::of_no_counts(data.n_cells());
        for cell in 0..data.n_cells() {
            let (genes, row) = data.counts.row(cell);
            genes.iter().zip(row).for_each(|(&gene, &count)| totals.add(cell, count, is_mito[gene as usize]));
        }
        totals
    }

    fn add(&mut self, cell: usize, count: f32, mito: bool) {
        if count > 0.0 {
            self.sums[cell] += f64::from(count);
            self.detected[cell] += 1.0;
            if mito {
                self.mito[cell] += f64::from(count);
            }
        }
    }
}

/// A matrix of counts that has passed by once.
pub(super) struct Scanned {
    pub(super) matrix: String,
    /// All rows of its `var` that are genes, as columns of the matrix.
    pub(super) columns: Vec<usize>,
    pub(super) genes: Table,
    totals: Totals,
    notes: Vec<String>,
}

impl Dataset {
    /// Reads a cells dataset with the genes of `choice`. `training` names the training cells of a dataset that has everything
    /// but counts; variable genes are chosen by these alone. Library sizes count all genes of the file, and the columns
    /// `n_genes_by_counts` and `pct_counts_mt` of cells are filled from all of them, so that quality control decides as with all
    /// genes. A file with no more genes than are asked for, one of real values and one whose counts are rounded are read as by
    /// [`Dataset::from_anndata`], and narrowed as by [`Dataset::with_genes`].
    ///
    /// # Errors
    /// As [`Dataset::open_with`]; none of the named genes is in the file; those of `training`; fewer than two training cells.
    pub fn open_genes(
        file: &AnnData,
        options: &OpenOptions,
        choice: &GeneChoice,
        training: impl FnOnce(&Self) -> Result<Vec<usize>>,
    ) -> Result<Self> {
        let here = |e: Error| e.at(file.path().display());
        let all = 0..file.n_obs();
        let Some((scanned, bare, rows)) = without_counts(file, options, choice, &[all])? else {
            return Self::from_anndata(file, options)?.with_genes(choice, training);
        };
        let Scanned { matrix, columns, genes, .. } = scanned;
        let (kept, note) = match choice {
            GeneChoice::Named(names) => named(names, &genes).map_err(here)?,
            GeneChoice::MostVariable(n) => {
                let of: Vec<usize> = training(&bare)?.into_iter().map(|cell| rows[cell]).collect();
                let variable = most_variable(file, &matrix, (&columns, &of), *n).map_err(here)?;
                with_perturbed((variable, BY_COUNTS), of.len(), &genes, &bare)
            }
            GeneChoice::All => unreachable!("read above"),
        };
        let mut counts = file.read_columns(&matrix, &kept.iter().map(|&gene| columns[gene]).collect::<Vec<_>>())?;
        if rows.len() < counts.n_cells() {
            let mut keep = vec![false; counts.n_cells()];
            rows.iter().for_each(|&row| keep[row] = true);
            counts.retain_cells(&keep);
        }
        let mut data = Self { counts, genes: genes.select(&kept), ..bare };
        data.notes.extend(note);
        Ok(data)
    }

    /// Everything of a cells dataset but its counts and genes. The counts of `cells` pass by once; library sizes that only the
    /// counts of other cells could tell are not numbers, and what is wrong with those counts is not seen.
    ///
    /// # Errors
    /// As [`Dataset::open_with`].
    pub fn outline(file: &AnnData, options: &OpenOptions, cells: &[Range<usize>]) -> Result<Self> {
        match without_counts(file, options, &GeneChoice::Named(Vec::new()), cells)? {
            Some((_, bare, _)) => Ok(bare),
            None => Self::from_anndata(file, options),
        }
    }

    /// The same cells with the genes of `choice`, for a dataset that is in memory; real values, whose counts are not known, by
    /// their plain variance. What quality control asks for is filled in as by [`Dataset::open_genes`].
    ///
    /// # Errors
    /// As [`Dataset::open_genes`].
    pub fn with_genes(
        mut self,
        choice: &GeneChoice,
        training: impl FnOnce(&Self) -> Result<Vec<usize>>,
    ) -> Result<Self> {
        match choice {
            GeneChoice::All => return Ok(self),
            GeneChoice::MostVariable(n) if *n >= self.n_genes() => return Ok(self),
            _ => {}
        }
        let of_counts = self.expression.is_counts();
        if of_counts {
            let (genes, totals) = (self.genes.clone(), Totals::of(&self));
            let rows: Vec<usize> = (0..self.n_cells()).collect();
            set_quality(&mut self, &rows, &genes, &totals);
        }
        let (kept, note) = match choice {
            GeneChoice::MostVariable(n) => {
                let of = training(&self)?;
                enough_cells(&of)?;
                let variable = match of_counts {
                    true => (highly_variable(&self, HvgFlavour::SeuratV3, *n, Some(&of))?.selected, BY_COUNTS),
                    false => (of_largest_variance(&self.counts, &of, *n), "by variance"),
                };
                with_perturbed(variable, of.len(), &self.genes, &self)
            }
            GeneChoice::Named(names) => named(names, &self.genes)?,
            GeneChoice::All => unreachable!("returned above"),
        };
        let mut narrow = self.select_genes(&kept)?;
        narrow.notes.extend(note);
        Ok(narrow)
    }
}

/// The genes whose values vary most over these cells, `n` of them.
fn of_largest_variance(values: &Counts, cells: &[usize], n: usize) -> Vec<bool> {
    let (mut sums, mut squares) = (vec![0.0; values.n_genes()], vec![0.0; values.n_genes()]);
    for &cell in cells {
        let (genes, row) = values.row(cell);
        for (&gene, &value) in genes.iter().zip(row) {
            sums[gene as usize] += f64::from(value);
            squares[gene as usize] += f64::from(value).powi(2);
        }
    }
    let of = cells.len() as f64;
    let variance: Vec<f64> = sums.iter().zip(&squares).map(|(sum, square)| square - sum * sum / of).collect();
    let mut order: Vec<usize> = (0..variance.len()).collect();
    order.sort_by(|&a, &b| variance[b].total_cmp(&variance[a]));
    let mut selected = vec![false; variance.len()];
    order[..n].iter().for_each(|&gene| selected[gene] = true);
    selected
}

fn enough_cells(training: &[usize]) -> Result<()> {
    match training.len() < 2 {
        true => Err(Error::data(format!("{} training cells are too few to see which genes vary", training.len()))),
        false => Ok(()),
    }
}

/// The matrix of counts after the cells `passing` have passed by, a dataset that has everything but counts, and the rows of its cells in the file.
/// `None`: as [`scan`].
pub(super) fn without_counts(
    file: &AnnData,
    options: &OpenOptions,
    choice: &GeneChoice,
    passing: &[Range<usize>],
) -> Result<Option<(Scanned, Dataset, Vec<usize>)>> {
    let real = matches!(options.expression, Some(Expression::Log | Expression::Z));
    if *choice == GeneChoice::All || options.round_counts || real {
        return Ok(None);
    }
    let mut front = Front::of(file, options)?;
    let Some(mut scanned) = scan(file, &front, (options, choice), passing)? else { return Ok(None) };
    front.notes.append(&mut scanned.notes);
    let mut sums = vec![f32::NAN; file.n_obs()];
    passing.iter().cloned().flatten().for_each(|cell| sums[cell] = scanned.totals.sums[cell] as f32);
    let none = Counts::new(0, vec![0; sums.len() + 1], Vec::new(), Vec::new())?;
    let (mut bare, rows) = front.dataset((none, Expression::Counts), Table::default(), sums)?;
    set_quality(&mut bare, &rows, &scanned.genes, &scanned.totals);
    Ok(Some((scanned, bare, rows)))
}

/// Finds the matrix of counts and lets it pass by. `None`: its genes are few enough to read them all, or there is no such
/// matrix, which reading it whole explains.
fn scan(
    file: &AnnData,
    front: &Front<'_>,
    (options, choice): (&OpenOptions, &GeneChoice),
    passing: &[Range<usize>],
) -> Result<Option<Scanned>> {
    let mut passed_over: Vec<String> = Vec::new();
    for matrix in pick::in_question(file, options) {
        let var = if matrix == "raw/X" { file.raw_var()? } else { file.var()? };
        let n_columns = var.len();
        let (genes, columns, notes) = front.named_genes(var);
        let columns = columns.unwrap_or_else(|| (0..n_columns).collect());
        if matches!(choice, GeneChoice::MostVariable(n) if *n >= genes.len()) {
            return Ok(None);
        }
        match totals(file, (&matrix, passing), n_columns, (&columns, &genes))? {
            Some((totals, most)) if most > 1.0 || pick::is_called_counts(&matrix, options) => {
                let said = (matrix != "X").then(|| pick::said(file, &matrix, &genes, &passed_over));
                let notes = said.into_iter().chain(notes).collect();
                return Ok(Some(Scanned { matrix, columns, genes, totals, notes }));
            }
            Some(_) => {}
            None => passed_over.push(format!("`{matrix}`")),
        }
    }
    Ok(None)
}

/// The totals of each cell over the columns that are genes, and the largest count; `None` where a value is no count.
fn totals(
    file: &AnnData,
    (matrix, cells): (&str, &[Range<usize>]),
    n_columns: usize,
    (columns, genes): (&[usize], &Table),
) -> Result<Option<(Totals, f32)>> {
    let mut totals = Totals::of_no_counts(file.n_obs());
    let (mut is_gene, mut is_mito) = (vec![false; n_columns], vec![false; n_columns]);
    for (&column, name) in columns.iter().zip(&genes.names) {
        is_gene[column] = true;
        is_mito[column] = qc::is_mitochondrial(name);
    }
    let (mut counted, mut most) = (true, 0.0_f32);
    file.for_each_entry(matrix, cells, |cell, column, value| {
        if !(value >= 0.0 && value.fract() == 0.0 && value.is_finite()) {
            counted = false;
            return ControlFlow::Break(());
        }
        most = most.max(value);
        if is_gene[column as usize] {
            totals.add(cell, value, is_mito[column as usize]);
        }
        ControlFlow::Continue(())
    })?;
    Ok(counted.then_some((totals, most)))
}

/// What quality control asks of each cell, over all genes, unless the file states it; `rows` are the cells' places in the file.
fn set_quality(data: &mut Dataset, rows: &[usize], genes: &Table, totals: &Totals) {
    if !qc::states_detected(&data.cells) {
        data.genes_in_file = Some(genes.len());
        let detected = rows.iter().map(|&row| totals.detected[row]).collect();
        data.cells.set(DETECTED_GENES, Column::Float(detected));
    }
    if data.cells.column(MITO_PERCENT).is_none() && genes.names.iter().any(|name| qc::is_mitochondrial(name)) {
        let percent = |(&row, &size): (&usize, &f32)| {
            if size > 0.0 { 100.0 * totals.mito[row] / f64::from(size) } else { 0.0 }
        };
        let percent = rows.iter().zip(&data.library_size).map(percent).collect();
        data.cells.set(MITO_PERCENT, Column::Float(percent));
    }
}

/// The named genes that are there, in the file's order, and a note unless they are all of the file and no others were asked for.
fn named(names: &[String], genes: &Table) -> Result<(Vec<usize>, Option<String>)> {
    let wanted: HashSet<&str> = names.iter().map(String::as_str).collect();
    let kept: Vec<usize> = (0..genes.len()).filter(|&gene| wanted.contains(genes.names[gene].as_str())).collect();
    if kept.is_empty() {
        let first: Vec<&str> = names.iter().take(3).map(String::as_str).collect();
        return Err(Error::data(format!(
            "none of the {} genes asked for ({}, …) is among its {} genes",
            names.len(),
            first.join(", "),
            genes.len()
        )));
    }
    let missing = wanted.len() - kept.len();
    let missing = if missing > 0 { format!("; {missing} of those asked for are not there") } else { String::new() };
    let note = format!("{} of {} genes are used, as asked for{missing}", kept.len(), genes.len());
    let is_all = kept.len() == genes.len() && missing.is_empty();
    Ok((kept, (!is_all).then_some(note)))
}

/// Which genes vary most over the rows `of` of the file.
fn most_variable(file: &AnnData, matrix: &str, (columns, of): (&[usize], &[usize]), n: usize) -> Result<Vec<bool>> {
    enough_cells(of)?;
    let mut counted = vec![false; file.n_obs()];
    of.iter().for_each(|&row| counted[row] = true);
    let most = columns.last().map_or(0, |&column| column + 1);
    let mut gene_of = vec![None; most];
    columns.iter().zip(0..).for_each(|(&column, gene)| gene_of[column] = Some(gene));
    let mut histograms = CountHistograms::new(columns.len(), of.len());
    let all = 0..file.n_obs();
    file.for_each_entry(matrix, &[all], |cell, column, value| {
        if let (true, Some(Some(gene))) = (counted[cell], gene_of.get(column as usize)) {
            histograms.add(*gene, value);
        }
        ControlFlow::Continue(())
    })?;
    Ok(histograms.seurat_v3(n)?.selected)
}

/// The variable genes and the perturbed ones.
fn with_perturbed(
    (variable, by): (Vec<bool>, &str),
    cells: usize,
    genes: &Table,
    data: &Dataset,
) -> (Vec<usize>, Option<String>) {
    let names = data.perturbations.iter().flat_map(|perturbation| perturbation.genes());
    let perturbed: HashSet<&str> = names.map(|name| name_and_dose(name).0).collect();
    let kept: Vec<usize> =
        (0..genes.len()).filter(|&gene| variable[gene] || perturbed.contains(genes.names[gene].as_str())).collect();
    let n = variable.iter().filter(|chosen| **chosen).count();
    let beside = kept.len() - n;
    let beside = if beside > 0 { format!(", and {beside} perturbed genes beside them") } else { String::new() };
    let note = format!(
        "{} of {} genes are used: the {n} that vary most among {cells} training cells ({by}){beside}; --genes N, all or a file \
         chooses others",
        kept.len(),
        genes.len()
    );
    (kept, Some(note))
}
