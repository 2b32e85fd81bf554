//! Library-size normalisation, log1p, and the mean effect of each perturbation.
//!
//! With counts `x` `(cells, genes)` and the library size `L_c` of each cell over *all* measured genes,
//!
//! ```text
//! y_cg = ln(1 + x_cg * T / L_c)                 log-normalised expression, T the target sum
//! m_pg = mean of y_cg over the cells of p       profile, (perturbations, genes)
//! d_pg = m_pg - m_control,g                     effect, (perturbations, genes)
//! ```
//!
//! These are scanpy's `pp.normalize_total` and `pp.log1p` (Wolf et al., Genome Biology 2018), except that `L_c` is
//! given rather than summed over the genes at hand: a file may hold a panel of a few hundred genes only.

use super::{Counts, Dataset, LargeFile};
use crate::{Error, Result};
use ndarray::{Array2, Axis};

/// Counts per cell that expression is normalised to before `log1p`, unless said otherwise: the field's habit.
pub const NORMALISED_TOTAL: f32 = 1e4;

/// What every cell's library size is scaled to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TargetSum {
    /// A fixed number of counts a cell; 1e4 is the field's habit, 1e6 gives CPM.
    Fixed(f32),
    /// The median library size of the cells that have any count, as scanpy's `target_sum=None`.
    Median,
}

impl Default for TargetSum {
    fn default() -> Self {
        Self::Fixed(NORMALISED_TOTAL)
    }
}

impl TargetSum {
    /// The target in counts a cell, for cells of these library sizes.
    ///
    /// # Errors
    /// A fixed target that is not positive and finite; a median of no counts at all.
    pub fn resolve(self, library_size: &[f32]) -> Result<f32> {
        match self {
            Self::Fixed(target) if target.is_finite() && target > 0.0 => Ok(target),
            Self::Fixed(target) => {
                Err(Error::config(format!("the target sum is {target}; it must be a positive number of counts")))
            }
            Self::Median => {
                let mut positive: Vec<f32> = library_size.iter().copied().filter(|&size| size > 0.0).collect();
                if positive.is_empty() {
                    return Err(Error::data("no cell has a count, so there is no median library size to scale to"));
                }
                positive.sort_unstable_by(f32::total_cmp);
                let middle = positive.len() / 2;
                Ok(match positive.len() % 2 {
                    1 => positive[middle],
                    _ => f32::midpoint(positive[middle - 1], positive[middle]),
                })
            }
        }
    }
}

/// The power of ten that samples of these library sizes are usually normalised to: the largest that is not above their median, between
/// [`NORMALISED_TOTAL`] (single cells) and a million (bulk samples: counts per million).
pub fn usual_total(library_size: &[f32]) -> f32 {
    let median = TargetSum::Median.resolve(library_size).unwrap_or(NORMALISED_TOTAL);
    10_f32.powf(median.max(1.0).log10().floor()).clamp(NORMALISED_TOTAL, 1e6)
}

/// Scales each cell of `counts` so that its library size becomes the target: `x * T / L`, in counts.
/// A cell of library size 0 is left as it is.
///
/// # Errors
/// `library_size` of another length than there are cells, a size that is negative or not finite, or a bad target.
pub fn normalize_total(counts: &Counts, library_size: &[f32], target: TargetSum) -> Result<Counts> {
    let scale = scales(counts, library_size, target)?;
    let mut values = Vec::with_capacity(counts.nnz());
    for (cell, scale) in scale.into_iter().enumerate() {
        values.extend(counts.row(cell).1.iter().map(|&x| scaled(x, scale)));
    }
    Ok(counts.with_values(values))
}

fn scaled(x: f32, scale: f64) -> f32 {
    (f64::from(x) * scale) as f32
}

/// What the counts of each cell are multiplied with.
fn scales(counts: &Counts, library_size: &[f32], target: TargetSum) -> Result<Vec<f64>> {
    if library_size.len() != counts.n_cells() {
        return Err(Error::shape("normalize_total", (counts.n_cells(), counts.n_genes()), library_size.len()));
    }
    if let Some(cell) = library_size.iter().position(|size| !size.is_finite() || *size < 0.0) {
        return Err(Error::data(format!(
            "the library size of cell {cell} is {}; it must be a finite number of counts, 0 or more",
            library_size[cell]
        )));
    }
    let target = f64::from(target.resolve(library_size)?);
    Ok(library_size.iter().map(|&size| if size > 0.0 { target / f64::from(size) } else { 1.0 }).collect())
}

/// `ln(1 + x)` of every value.
#[must_use]
pub fn log1p(counts: Counts) -> Counts {
    counts.map_values(f32::ln_1p)
}

/// Log-normalised expression of every cell of a dataset: [`normalize_total`] with the dataset's library sizes, then
/// [`log1p`]. `(cells, genes)`, sparse. Values that are no counts ([`Expression`](super::Expression)) are expression as they
/// are.
///
/// # Errors
/// As [`normalize_total`].
pub fn log_normalize(dataset: &Dataset, target: TargetSum) -> Result<Counts> {
    if !dataset.expression.is_counts() {
        return Ok(dataset.counts.clone());
    }
    normalize_total(&dataset.counts, &dataset.library_size, target).map(log1p)
}

/// As [`log_normalize`], of counts that are not needed any more: they are overwritten, so that no second copy is made.
///
/// # Errors
/// As [`normalize_total`].
pub fn into_log_normalized(dataset: Dataset, target: TargetSum) -> Result<Counts> {
    if !dataset.expression.is_counts() {
        return Ok(dataset.counts);
    }
    let scale = scales(&dataset.counts, &dataset.library_size, target)?;
    Ok(dataset.counts.map_rows(|cell, x| scaled(x, scale[cell]).ln_1p()))
}

/// Mean of the rows of each group: `(groups, genes)`. `labels` holds the group of each cell; a group without cells
/// gets NaN, so that it cannot pass for an unexpressed one.
///
/// # Errors
/// Labels of another length than there are cells, or a label that is not below `n_groups`.
pub fn group_means(values: &Counts, labels: &[u32], n_groups: usize) -> Result<Array2<f32>> {
    if labels.len() != values.n_cells() {
        return Err(Error::shape("group_means", (values.n_cells(), values.n_genes()), labels.len()));
    }
    let mut sums = Array2::<f64>::zeros((n_groups, values.n_genes()));
    let mut sizes = vec![0_usize; n_groups];
    for (cell, &label) in labels.iter().enumerate() {
        let group = label as usize;
        if group >= n_groups {
            return Err(Error::data(format!("cell {cell} has the label {group}, but there are {n_groups} groups")));
        }
        sizes[group] += 1;
        let (genes, row) = values.row(cell);
        for (&gene, &value) in genes.iter().zip(row) {
            sums[[group, gene as usize]] += f64::from(value);
        }
    }
    Ok(divided(sums, &sizes))
}

/// Means from the sums of each group, NaN for a group without cells.
fn divided(mut sums: Array2<f64>, sizes: &[usize]) -> Array2<f32> {
    for (mut row, &size) in sums.axis_iter_mut(Axis(0)).zip(sizes) {
        let size = if size == 0 { f64::NAN } else { size as f64 };
        row.mapv_inplace(|sum| sum / size);
    }
    sums.mapv(|mean| mean as f32)
}

/// As [`mean_profiles`], of counts that pass by.
///
/// # Errors
/// As [`normalize_total`]; a damaged file.
pub fn mean_profiles_of(file: &LargeFile, target: TargetSum) -> Result<Array2<f32>> {
    let cells = file.cells();
    let scale = scales(&cells.counts, &cells.library_size, target)?;
    let mut sums = Array2::<f64>::zeros((cells.perturbations.len(), file.genes().len()));
    file.for_each_count(|cell, gene, count| {
        sums[[cells.labels[cell] as usize, gene]] += f64::from(scaled(count, scale[cell]).ln_1p());
    })?;
    Ok(divided(sums, &cells.cells_per_perturbation()))
}

/// Mean log-normalised profile of each perturbation of a dataset, `(perturbations, genes)`, rows as in
/// `dataset.perturbations`.
///
/// # Errors
/// As [`normalize_total`] and [`group_means`].
pub fn mean_profiles(dataset: &Dataset, target: TargetSum) -> Result<Array2<f32>> {
    group_means(&log_normalize(dataset, target)?, &dataset.labels, dataset.perturbations.len())
}

/// Mean effect of each perturbation, `(perturbations, genes)`: its mean log-normalised profile less control's, in
/// `ln(1 + normalised counts)`. The control's own row is zero.
///
/// # Errors
/// A dataset without control cells, and as [`mean_profiles`].
pub fn mean_effects(dataset: &Dataset, target: TargetSum) -> Result<Array2<f32>> {
    to_control(dataset, || mean_profiles(dataset, target))
}

/// As [`mean_effects`], of counts that pass by.
///
/// # Errors
/// As [`mean_effects`]; a damaged file.
pub fn mean_effects_of(file: &LargeFile, target: TargetSum) -> Result<Array2<f32>> {
    to_control(file.cells(), || mean_profiles_of(file, target))
}

fn to_control(dataset: &Dataset, profiles: impl FnOnce() -> Result<Array2<f32>>) -> Result<Array2<f32>> {
    let control = dataset.perturbations.iter().position(super::Perturbation::is_control).ok_or_else(|| {
        Error::data("there are no control cells, so effects (differences to control) cannot be computed")
    })?;
    let mut profiles = profiles()?;
    let reference = profiles.row(control).to_owned();
    profiles.axis_iter_mut(Axis(0)).for_each(|mut row| row -= &reference);
    Ok(profiles)
}
