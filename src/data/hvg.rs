//! Highly variable genes: those that vary more over cells than genes of their mean expression usually do.
//!
//! Two flavours, with scanpy's numbers (`pp.highly_variable_genes`, Wolf et al. 2018):
//!
//! - [`HvgFlavour::Seurat`] (Satija et al. 2015), on normalised counts: the dispersion `ln(variance / mean)` of a gene
//!   is standardised by the mean and standard deviation of the dispersions in its bin, of 20 bins of equal width over
//!   `ln(1 + mean)`.
//! - [`HvgFlavour::SeuratV3`] (Stuart et al. 2019), on counts: a loess of `log10 variance` on `log10 mean` (degree 2,
//!   span 0.3) says what standard deviation `s_g` a gene of that mean has; counts `x` are clipped at
//!   `m_g + s_g sqrt(n)`, and genes are ranked by the variance of `(x - m_g) / s_g`.
//!
//! Genes are chosen from training cells alone, else the choice has already seen the test: hence the list of cells.

use super::{Counts, Dataset, TargetSum, normalize::normalize_total};
use crate::math::loess::loess;
use crate::{Error, Result};
use std::borrow::Cow;

/// Bins of the `seurat` flavour.
const BINS: usize = 20;
/// Span of the loess of the `seurat_v3` flavour.
pub const SPAN: f64 = 0.3;
/// What scanpy puts in place of a mean of zero.
const LEAST_MEAN: f64 = 1e-12;

/// How variability is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HvgFlavour {
    /// Binned dispersions of normalised expression.
    Seurat,
    /// Variance of standardised counts.
    #[default]
    SeuratV3,
}

/// How variable each gene is, one entry a gene.
#[derive(Debug, Clone, PartialEq)]
pub struct HvgTable {
    /// `Seurat`: `ln(1 + mean normalised count)`. `SeuratV3`: mean count.
    pub means: Vec<f64>,
    /// `Seurat`: `ln(variance / mean)` of normalised counts, NaN for a gene that does not vary. `SeuratV3`: variance of
    /// counts.
    pub dispersions: Vec<f64>,
    /// `Seurat`: dispersion standardised within the bin, NaN for a gene that does not vary. `SeuratV3`: variance of the
    /// clipped, standardised counts.
    pub dispersions_norm: Vec<f64>,
    /// Whether the gene is among the most variable ones.
    pub selected: Vec<bool>,
}

impl HvgTable {
    /// Indices of the selected genes, increasing.
    pub fn genes(&self) -> Vec<usize> {
        (0..self.selected.len()).filter(|&gene| self.selected[gene]).collect()
    }
}

/// The `n_top` most variable genes of a dataset, judged by `cells` (all if `None`). `Seurat` normalises to 1e4 counts
/// a cell by the dataset's library sizes. Ties at the limit are all selected by `Seurat`, as scanpy does.
///
/// # Errors
/// `n_top` of 0, fewer than two cells, a cell that is not there, or (for `SeuratV3`) fewer than four genes that vary.
pub fn highly_variable(
    dataset: &Dataset,
    flavour: HvgFlavour,
    n_top: usize,
    cells: Option<&[usize]>,
) -> Result<HvgTable> {
    if n_top == 0 {
        return Err(Error::config("the number of highly variable genes is 0; it must be at least 1"));
    }
    let n_cells = dataset.counts.n_cells();
    if let Some(&bad) = cells.and_then(|cells| cells.iter().find(|&&cell| cell >= n_cells)) {
        return Err(Error::config(format!("there is no cell {bad}; the dataset has {n_cells} cells")));
    }
    let counts = match cells {
        Some(cells) => Cow::Owned(dataset.counts.select_cells(cells)),
        None => Cow::Borrowed(&dataset.counts),
    };
    if counts.n_cells() < 2 {
        return Err(Error::data(format!("{} cells are too few to see which genes vary", counts.n_cells())));
    }
    match flavour {
        HvgFlavour::SeuratV3 => seurat_v3(&counts, n_top),
        HvgFlavour::Seurat => {
            let library_size: Vec<f32> = match cells {
                Some(cells) => cells.iter().map(|&cell| dataset.library_size[cell]).collect(),
                None => dataset.library_size.clone(),
            };
            Ok(seurat(&normalize_total(&counts, &library_size, TargetSum::default())?, n_top))
        }
    }
}

/// Mean and variance (with `n - 1`) of each gene over cells.
pub fn moments(counts: &Counts) -> (Vec<f64>, Vec<f64>) {
    let n = counts.n_cells() as f64;
    let mut means = vec![0.0; counts.n_genes()];
    let mut present = vec![0_usize; counts.n_genes()];
    for (&gene, &value) in counts.indices().iter().zip(counts.values()) {
        means[gene as usize] += f64::from(value);
        present[gene as usize] += 1;
    }
    means.iter_mut().for_each(|mean| *mean /= n);
    let mut variances: Vec<f64> =
        means.iter().zip(&present).map(|(mean, &present)| (n - present as f64) * mean * mean).collect();
    for (&gene, &value) in counts.indices().iter().zip(counts.values()) {
        variances[gene as usize] += (f64::from(value) - means[gene as usize]).powi(2);
    }
    variances.iter_mut().for_each(|variance| *variance /= n - 1.0);
    (means, variances)
}

pub fn seurat_v3(counts: &Counts, n_top: usize) -> Result<HvgTable> {
    let (means, variances) = moments(counts);
    let clipped = |most: &[f64]| {
        let (mut sums, mut squares) = (vec![0.0; most.len()], vec![0.0; most.len()]);
        for (&gene, &value) in counts.indices().iter().zip(counts.values()) {
            let gene = gene as usize;
            let clipped = f64::from(value).min(most[gene]);
            sums[gene] += clipped;
            squares[gene] += clipped * clipped;
        }
        (sums, squares)
    };
    seurat_v3_of(counts.n_cells() as f64, means, variances, clipped, n_top)
}

/// `seurat_v3` of the moments of `n` cells; `clipped` gives the sum and the sum of squares of each gene's counts, none of them
/// above the gene's limit.
pub(super) fn seurat_v3_of(
    n: f64,
    means: Vec<f64>,
    variances: Vec<f64>,
    clipped: impl FnOnce(&[f64]) -> (Vec<f64>, Vec<f64>),
    n_top: usize,
) -> Result<HvgTable> {
    let varying: Vec<usize> = (0..means.len()).filter(|&gene| variances[gene] > 0.0).collect();
    let x: Vec<f64> = varying.iter().map(|&gene| means[gene].log10()).collect();
    let y: Vec<f64> = varying.iter().map(|&gene| variances[gene].log10()).collect();
    let fitted = loess(&x, &y, SPAN).map_err(|error| error.at("highly variable genes (seurat_v3)"))?;
    let mut expected_sd = vec![1.0; means.len()];
    varying.iter().zip(fitted).for_each(|(&gene, log)| expected_sd[gene] = 10_f64.powf(log / 2.0));

    let limits: Vec<f64> = means.iter().zip(&expected_sd).map(|(mean, sd)| mean + sd * n.sqrt()).collect();
    let (sums, squares) = clipped(&limits);
    let dispersions_norm: Vec<f64> = (0..means.len())
        .map(|gene| {
            let deviation = n * means[gene].powi(2) + squares[gene] - 2.0 * sums[gene] * means[gene];
            deviation / ((n - 1.0) * expected_sd[gene].powi(2))
        })
        .collect();
    let mut order: Vec<usize> = (0..means.len()).collect();
    order.sort_by(|&a, &b| dispersions_norm[b].total_cmp(&dispersions_norm[a]));
    let mut selected = vec![false; means.len()];
    order.iter().take(n_top).for_each(|&gene| selected[gene] = true);
    Ok(HvgTable { means, dispersions: variances, dispersions_norm, selected })
}

pub fn seurat(normalised: &Counts, n_top: usize) -> HvgTable {
    let (means, variances) = moments(normalised);
    let means: Vec<f64> = means.iter().map(|&mean| if mean == 0.0 { LEAST_MEAN } else { mean }).collect();
    let dispersions: Vec<f64> = means
        .iter()
        .zip(&variances)
        .map(|(mean, &variance)| if variance == 0.0 { f64::NAN } else { (variance / mean).ln() })
        .collect();
    let means: Vec<f64> = means.iter().map(|mean| mean.ln_1p()).collect();

    let bins = bins(&means);
    let mut dispersions_norm = vec![f64::NAN; means.len()];
    for bin in 0..BINS {
        let genes: Vec<usize> =
            (0..means.len()).filter(|&gene| bins[gene] == bin && !dispersions[gene].is_nan()).collect();
        let n = genes.len() as f64;
        let mean = genes.iter().map(|&gene| dispersions[gene]).sum::<f64>() / n;
        let sd = (genes.iter().map(|&gene| (dispersions[gene] - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        for &gene in &genes {
            // A gene that is alone in its bin has nothing to be compared with.
            dispersions_norm[gene] = if genes.len() == 1 { 1.0 } else { (dispersions[gene] - mean) / sd };
        }
    }
    let mut sorted: Vec<f64> = dispersions_norm.iter().copied().filter(|norm| !norm.is_nan()).collect();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let limit = sorted.get(n_top.min(sorted.len()).wrapping_sub(1)).copied().unwrap_or(f64::INFINITY);
    let selected = dispersions_norm.iter().map(|&norm| norm >= limit).collect();
    HvgTable { means, dispersions, dispersions_norm, selected }
}

/// The bin of each value among [`BINS`] of equal width; a value on an edge belongs below it.
fn bins(values: &[f64]) -> Vec<usize> {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let edges: Vec<f64> = (1..BINS).map(|edge| low + (high - low) * edge as f64 / BINS as f64).collect();
    values.iter().map(|&value| edges.partition_point(|&edge| edge < value)).collect()
}
