//! Quality control: which cells, genes and perturbations are good enough to learn from.
//!
//! Four rules, applied in this order; each looks at what the earlier ones left:
//!
//! 1. a cell has at least `min_genes` detected genes (fewer: an empty droplet);
//! 2. at most `max_mito_percent` of its counts are mitochondrial (more: a damaged cell whose cytoplasm leaked);
//! 3. a perturbation has at least `min_cells_per_perturbation` cells (fewer: its mean effect is mostly noise). Control
//!    cells are exempt: without them nothing is left to compare with;
//! 4. a gene is detected in at least `min_cells_per_gene` cells.
//!
//! Source: the usual order of single-cell practice (Luecken & Theis, Molecular Systems Biology 2019), with the
//! thresholds of the common Norman 2019 pipelines.

use super::{Column, Counts, Dataset, Table};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Genes that a whole-transcriptome droplet experiment measures, about (human, protein coding).
/// [`QcConfig::for_dataset`] scales `min_genes` by it for smaller panels.
pub const TRANSCRIPTOME_GENES: usize = 20_000;

/// Columns in which a file may give the number of detected genes of each cell over all genes.
const DETECTED_GENES_COLUMNS: [&str; 5] = ["n_genes_by_counts", "n_genes", "ngenes", "nGene", "nFeature_RNA"];
/// The column of detected genes that is written where a file states none, with scanpy's name.
pub(super) const DETECTED_GENES: &str = DETECTED_GENES_COLUMNS[0];
/// scanpy's column of the percentage of mitochondrial counts, which is always one of all genes.
pub(super) const MITO_PERCENT: &str = MITO_PERCENT_COLUMNS[0];
/// Columns in which a file may give the percentage of mitochondrial counts of each cell.
const MITO_PERCENT_COLUMNS: [&str; 4] = ["pct_counts_mt", "percent_mito", "percent.mt", "percent_mt"];

/// Thresholds of quality control.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QcConfig {
    /// Least number of detected genes a cell.
    pub min_genes: usize,
    /// Largest percentage of mitochondrial counts a cell, 0 to 100.
    pub max_mito_percent: f64,
    /// Least number of cells that a gene is detected in.
    pub min_cells_per_gene: usize,
    /// Least number of cells a perturbation; control is exempt.
    pub min_cells_per_perturbation: usize,
}

impl Default for QcConfig {
    /// 200 genes a cell, 20 % mitochondrial counts, 3 cells a gene, 30 cells a perturbation: for files that hold the
    /// whole transcriptome. [`QcConfig::for_dataset`] suits panels too.
    fn default() -> Self {
        Self { min_genes: 200, max_mito_percent: 20.0, min_cells_per_gene: 3, min_cells_per_perturbation: 30 }
    }
}

impl QcConfig {
    /// The defaults, with `min_genes` scaled to how many genes the file measured.
    ///
    /// 200 genes of a transcriptome of 20,000 is one in a hundred, and that is what is asked of a panel:
    /// `min(200, genes / 100)`. Where the file states the detected genes of each cell over all genes
    /// (`n_genes_by_counts`, `ngenes`, ...), that number is compared and 200 stays.
    pub fn for_dataset(dataset: &Dataset) -> Self {
        let default = Self::default();
        if dataset.genes_in_file.is_none() && states_detected(&dataset.cells) {
            return default;
        }
        let genes = dataset.genes_in_file.unwrap_or(dataset.counts.n_genes());
        let scaled = genes * default.min_genes / TRANSCRIPTOME_GENES;
        Self { min_genes: default.min_genes.min(scaled), ..default }
    }

    /// Applies the four rules.
    ///
    /// # Errors
    /// Rules that leave no cell, no gene, or control cells alone; the message names the rule.
    pub fn apply(&self, dataset: &Dataset) -> Result<(Dataset, QcReport)> {
        let (cells, mut report) = self.good_cells(dataset)?;
        let detected = cells_per_gene(&dataset.counts, &cells);
        let genes: Vec<usize> =
            (0..dataset.counts.n_genes()).filter(|&gene| detected[gene] >= self.min_cells_per_gene).collect();
        report.genes_few_cells = dataset.counts.n_genes() - genes.len();
        if genes.is_empty() {
            return Err(Error::data(format!(
                "no gene is left after QC: rule min_cells_per_gene dropped all {} genes, which are detected in at most {} \
                 cells where {} are asked for; lower min_cells_per_gene",
                report.genes_before,
                detected.iter().max().unwrap_or(&0),
                self.min_cells_per_gene
            )));
        }

        let kept = subset(dataset, &cells, &genes)?;
        report.cells_after = kept.counts.n_cells();
        report.genes_after = kept.counts.n_genes();
        report.perturbations_after = kept.perturbations.len();
        Ok((kept, report))
    }

    /// The cells that the first three rules leave, which need no counts where the cells' columns state what they ask for.
    ///
    /// # Errors
    /// Rules that leave no cell, or control cells alone; the message names the rule.
    pub fn good_cells(&self, dataset: &Dataset) -> Result<(Vec<usize>, QcReport)> {
        let n_cells = dataset.counts.n_cells();
        let genes_of_cell = detected_genes(dataset);
        let mito_percent = mito_percent(dataset);
        let mut report = QcReport {
            config: self.clone(),
            cells_before: n_cells,
            genes_before: dataset.counts.n_genes(),
            perturbations_before: dataset.perturbations.len(),
            ..QcReport::default()
        };

        let mut cells: Vec<usize> = (0..n_cells).filter(|&cell| genes_of_cell[cell] >= self.min_genes as f64).collect();
        report.cells_few_genes = n_cells - cells.len();
        if cells.is_empty() {
            let most = genes_of_cell.iter().copied().fold(0.0, f64::max);
            return Err(Error::data(format!(
                "no cell is left after QC: rule min_genes dropped all {n_cells} cells, which have at most {most} detected \
                 genes where {} are asked for; lower min_genes",
                self.min_genes
            )));
        }

        let before = cells.len();
        cells.retain(|&cell| mito_percent[cell] <= self.max_mito_percent);
        report.cells_high_mito = before - cells.len();
        if cells.is_empty() {
            return Err(Error::data(format!(
                "no cell is left after QC: rule max_mito_percent dropped the last {before} cells, all above {} % \
                 mitochondrial counts; raise max_mito_percent",
                self.max_mito_percent
            )));
        }

        let mut sizes = vec![0_usize; dataset.perturbations.len()];
        cells.iter().for_each(|&cell| sizes[dataset.labels[cell] as usize] += 1);
        let enough =
            |label: usize| dataset.perturbations[label].is_control() || sizes[label] >= self.min_cells_per_perturbation;
        let before = cells.len();
        cells.retain(|&cell| enough(dataset.labels[cell] as usize));
        report.cells_rare_perturbation = before - cells.len();
        report.perturbations_dropped = dataset
            .perturbations
            .iter()
            .enumerate()
            .filter(|&(label, _)| !enough(label))
            .map(|(_, perturbation)| perturbation.to_string())
            .collect();
        if !cells.iter().any(|&cell| !dataset.perturbations[dataset.labels[cell] as usize].is_control()) {
            return Err(Error::data(format!(
                "no perturbed cell is left after QC: rule min_cells_per_perturbation dropped all {} perturbations, which \
                 have at most {} cells, but {} are required; lower min_cells_per_perturbation",
                report.perturbations_dropped.len(),
                sizes.iter().enumerate().filter(|&(label, _)| !enough(label)).map(|(_, &size)| size).max().unwrap_or(0),
                self.min_cells_per_perturbation
            )));
        }

        Ok((cells, report))
    }
}

/// What quality control dropped, and by which rule.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct QcReport {
    /// The thresholds.
    pub config: QcConfig,
    /// Cells before.
    pub cells_before: usize,
    /// Cells dropped by `min_genes`.
    pub cells_few_genes: usize,
    /// Cells dropped by `max_mito_percent`.
    pub cells_high_mito: usize,
    /// Cells dropped with their perturbation by `min_cells_per_perturbation`.
    pub cells_rare_perturbation: usize,
    /// Cells after.
    pub cells_after: usize,
    /// Genes before.
    pub genes_before: usize,
    /// Genes dropped by `min_cells_per_gene`.
    pub genes_few_cells: usize,
    /// Genes after.
    pub genes_after: usize,
    /// Perturbations before, control included.
    pub perturbations_before: usize,
    /// Names of the perturbations dropped by `min_cells_per_perturbation`.
    pub perturbations_dropped: Vec<String>,
    /// Perturbations after, control included.
    pub perturbations_after: usize,
}

impl fmt::Display for QcReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = &self.config;
        writeln!(f, "cells: {} of {} kept", self.cells_after, self.cells_before)?;
        writeln!(f, "  {} with fewer than {} detected genes", self.cells_few_genes, config.min_genes)?;
        writeln!(f, "  {} with more than {} % mitochondrial counts", self.cells_high_mito, config.max_mito_percent)?;
        writeln!(
            f,
            "  {} of a perturbation with fewer than {} cells",
            self.cells_rare_perturbation, config.min_cells_per_perturbation
        )?;
        writeln!(f, "genes: {} of {} kept", self.genes_after, self.genes_before)?;
        writeln!(f, "  {} detected in fewer than {} cells", self.genes_few_cells, config.min_cells_per_gene)?;
        write!(f, "perturbations: {} of {} kept", self.perturbations_after, self.perturbations_before)?;
        if !self.perturbations_dropped.is_empty() {
            write!(f, "\n  dropped: {}", self.perturbations_dropped.join(", "))?;
        }
        Ok(())
    }
}

/// The first of the columns that is there, if it has a number for every cell.
fn stated(cells: &Table, columns: &[&str]) -> Option<Vec<f64>> {
    columns.iter().find_map(|name| {
        cells.column(name).and_then(Column::to_f64).filter(|values| values.iter().all(|value| value.is_finite()))
    })
}

/// Whether the columns of cells state how many genes were detected in each.
pub(super) fn states_detected(cells: &Table) -> bool {
    stated(cells, &DETECTED_GENES_COLUMNS).is_some()
}

/// Detected genes of each cell: what the file states over all genes, else the number of its positive counts.
pub fn detected_genes(dataset: &Dataset) -> Vec<f64> {
    stated(&dataset.cells, &DETECTED_GENES_COLUMNS).unwrap_or_else(|| {
        (0..dataset.counts.n_cells())
            .map(|cell| dataset.counts.row(cell).1.iter().filter(|&&value| value > 0.0).count() as f64)
            .collect()
    })
}

/// Whether a gene is called `MT-...` (human) or `mt-...` (mouse).
pub(super) fn is_mitochondrial(gene: &str) -> bool {
    gene.starts_with("MT-") || gene.starts_with("mt-")
}

/// Percentage of mitochondrial counts of each cell: scanpy's column, else over its library size; where no gene is
/// mitochondrial, what other columns state, else 0.
fn mito_percent(dataset: &Dataset) -> Vec<f64> {
    if let Some(percent) = stated(&dataset.cells, &[MITO_PERCENT]) {
        return percent;
    }
    let is_mito: Vec<bool> = dataset.genes.names.iter().map(|name| is_mitochondrial(name)).collect();
    if !is_mito.contains(&true) {
        return stated(&dataset.cells, &MITO_PERCENT_COLUMNS).unwrap_or_else(|| vec![0.0; dataset.counts.n_cells()]);
    }
    let percent = |cell: usize| {
        let (genes, values) = dataset.counts.row(cell);
        let mito: f64 =
            genes.iter().zip(values).filter(|(gene, _)| is_mito[**gene as usize]).map(|(_, &v)| f64::from(v)).sum();
        let total = f64::from(dataset.library_size[cell]);
        if total > 0.0 { 100.0 * mito / total } else { 0.0 }
    };
    (0..dataset.counts.n_cells()).map(percent).collect()
}

/// In how many of these cells each gene is detected, `(genes,)`.
fn cells_per_gene(counts: &Counts, cells: &[usize]) -> Vec<usize> {
    let mut detected = vec![0; counts.n_genes()];
    for &cell in cells {
        let (genes, values) = counts.row(cell);
        genes.iter().zip(values).filter(|(_, value)| **value > 0.0).for_each(|(&gene, _)| detected[gene as usize] += 1);
    }
    detected
}

/// These cells and genes, with the perturbations and lanes that still have cells.
fn subset(dataset: &Dataset, cells: &[usize], genes: &[usize]) -> Result<Dataset> {
    let mut kept = dataset.select_cells(cells).select_genes(genes)?;
    let (used, labels) = relabel(&kept.labels, kept.perturbations.len());
    kept.perturbations = used.iter().map(|&old| dataset.perturbations[old].clone()).collect();
    kept.labels = labels;
    let (used, lane_of) = relabel(&kept.lane_of, kept.lanes.len());
    kept.lanes = used.iter().map(|&old| dataset.lanes[old].clone()).collect();
    kept.lane_of = lane_of;
    Ok(kept)
}

/// The labels in use, in their old order, and the new label of each cell.
fn relabel(labels: &[u32], n_labels: usize) -> (Vec<usize>, Vec<u32>) {
    let mut used = vec![false; n_labels];
    labels.iter().for_each(|&label| used[label as usize] = true);
    let kept: Vec<usize> = (0..n_labels).filter(|&label| used[label]).collect();
    let mut new = vec![0; n_labels];
    kept.iter().enumerate().for_each(|(place, &label)| new[label] = place as u32);
    (kept, labels.iter().map(|&label| new[label as usize]).collect())
}
