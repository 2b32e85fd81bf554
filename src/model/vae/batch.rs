//! Batches of cells or of effects for a VAE, gathered on the host.

use super::{Likelihood, encoding::EncodedPerturbations, vocabulary::Vocabulary};
use crate::{
    Error, Result,
    data::{CellRows, Counts, Dataset, EffectTable, NORMALISED_TOTAL, Perturbation},
    nn::{DoseLevels, IndexSets},
    train::BatchSource,
};
use ndarray::{Array2, Axis};
use std::sync::Arc;

/// The conditions of a batch, on the host.
#[derive(Debug, Clone)]
pub struct ConditionBatch {
    /// Perturbed genes of each cell, as indices into [`Vocabulary::perturbed`], or into `levels` where there are doses.
    pub perturbed: Arc<IndexSets>,
    /// The doses that the sets name.
    pub levels: Option<Arc<DoseLevels>>,
    /// Lane of each cell, as an index into [`Vocabulary::lanes`].
    pub lanes: Vec<u32>,
    /// Standardised log library size of each cell.
    pub log_library: Vec<f32>,
    /// Its other covariates, `(cells, width)`: see [`Covariates::design`](super::Covariates::design).
    pub covariates: Array2<f32>,
}

impl ConditionBatch {
    /// The same cells, all of them under the first of these perturbations; without any, as control.
    pub(in crate::model) fn with_perturbed(&self, given: &EncodedPerturbations) -> Self {
        let perturbed = Arc::new(IndexSets::from_sets(self.lanes.iter().map(|_| given.first())));
        Self { perturbed, levels: given.levels.clone(), ..self.clone() }
    }

    /// The cells of these numbers, in that order.
    fn select(&self, rows: &[usize]) -> Self {
        Self {
            perturbed: Arc::new(IndexSets::from_sets(rows.iter().map(|&row| self.perturbed.set(row)))),
            levels: self.levels.clone(),
            lanes: rows.iter().map(|&row| self.lanes[row]).collect(),
            log_library: rows.iter().map(|&row| self.log_library[row]).collect(),
            covariates: self.covariates.select(Axis(0), rows),
        }
    }
}

/// The observed values of a batch.
#[derive(Debug, Clone)]
pub enum VaeInput {
    /// UMI counts, `(cells, genes)`.
    Counts(Arc<Counts>),
    /// Real values, `(rows, genes)`: log1p-normalised expression, or effects.
    Real(Array2<f32>),
}

/// One batch: observed values, conditions and size factors.
#[derive(Debug, Clone)]
pub struct VaeBatch {
    /// The encoder's input: counts (log1p is taken inside), or real values.
    pub input: VaeInput,
    /// What a Gaussian decoder must reconstruct; a count decoder reconstructs `input`.
    pub target: Option<Array2<f32>>,
    /// Perturbation, lane, library size, further covariates.
    pub condition: ConditionBatch,
    /// Size factor of each row (UMI counts); ones for real values.
    pub library_size: Arc<[f32]>,
}

impl VaeBatch {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.library_size.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.library_size.is_empty()
    }

    /// The rows of these numbers, in that order; a row may be taken many times.
    pub(super) fn select(&self, rows: &[usize]) -> Self {
        let input = match &self.input {
            VaeInput::Counts(counts) => VaeInput::Counts(Arc::new(counts.select_cells(rows))),
            VaeInput::Real(values) => VaeInput::Real(values.select(Axis(0), rows)),
        };
        Self {
            input,
            target: self.target.as_ref().map(|target| target.select(Axis(0), rows)),
            condition: self.condition.select(rows),
            library_size: rows.iter().map(|&row| self.library_size[row]).collect(),
        }
    }

    /// The same batch with every cell read as control.
    pub(super) fn as_control(&self) -> Self {
        Self { condition: self.condition.with_perturbed(&EncodedPerturbations::default()), ..self.clone() }
    }
}

/// How the cells of a dataset are turned into batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellView {
    /// Whether the size factor counts all genes that were measured, or only those modelled.
    pub total_library: bool,
    /// Whether batches hold a Gaussian target, log1p(counts / library * 1e4).
    pub with_target: bool,
}

/// The cells `rows` of a dataset.
pub struct CellSource<'a> {
    data: &'a Dataset,
    counts: &'a dyn CellRows,
    rows: &'a [usize],
    /// Each perturbation of the dataset that `rows` use.
    encoded: EncodedPerturbations,
    /// Index into the model's lanes, one per lane of the dataset.
    lanes: Vec<u32>,
    /// Standardised log library size, one per row of `rows`.
    log_library: Vec<f32>,
    /// One row per row of `rows`.
    covariates: Array2<f32>,
    view: CellView,
}

impl<'a> CellSource<'a> {
    /// The cells `rows` of `data`, whose genes must be the model's.
    ///
    /// # Errors
    /// Other genes; a perturbation or a covariate that the model does not know.
    pub fn new(data: &'a Dataset, rows: &'a [usize], vocabulary: &Vocabulary, view: CellView) -> Result<Self> {
        if data.genes.names != vocabulary.genes {
            return Err(Error::data(format!(
                "the data has {} genes and the model {}, or their order differs; align them by name first",
                data.genes.names.len(),
                vocabulary.genes.len()
            )));
        }
        let mut used = vec![false; data.perturbations.len()];
        rows.iter().for_each(|&row| used[data.labels[row] as usize] = true);
        let control = Perturbation::control();
        let of_rows =
            data.perturbations.iter().zip(used).map(|(perturbation, used)| if used { perturbation } else { &control });
        let encoded = vocabulary.encode_all(of_rows)?;
        // A lane that the model has not seen is read as its first one: the effect of a new lane cannot be known.
        let lanes = data
            .lanes
            .iter()
            .map(|lane| vocabulary.lanes.iter().position(|known| known == lane).unwrap_or(0) as u32)
            .collect();
        let log_library = rows.iter().map(|&row| vocabulary.standardise(data.library_size[row])).collect();
        let covariates = vocabulary.covariates.design(data, rows)?;
        Ok(Self { data, counts: &data.counts, rows, encoded, lanes, log_library, covariates, view })
    }

    /// The size factor of a cell whose modelled genes have `kept` counts together.
    fn size_factor(&self, cell: usize, kept: f32) -> f32 {
        // A library cannot be smaller than its parts; an empty cell has a size factor too.
        (if self.view.total_library { self.data.library_size[cell].max(kept) } else { kept }).max(1.0)
    }
}

impl BatchSource for CellSource<'_> {
    type Batch = VaeBatch;

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn batch(&self, rows: &[usize]) -> Result<VaeBatch> {
        let cells: Vec<usize> = rows.iter().map(|&row| self.rows[row]).collect();
        let counts = self.counts.gather(&cells)?;
        let kept = |place: usize| counts.row(place).1.iter().sum::<f32>();
        let library_size = cells.iter().enumerate().map(|(place, &cell)| self.size_factor(cell, kept(place))).collect();
        let target = self.view.with_target.then(|| {
            let mut dense = counts.to_dense();
            for (mut cell, &row) in dense.axis_iter_mut(Axis(0)).zip(&cells) {
                let scale = NORMALISED_TOTAL / self.data.library_size[row].max(1.0);
                cell.mapv_inplace(|count| (count * scale).ln_1p());
            }
            dense
        });
        let condition = ConditionBatch {
            perturbed: Arc::new(IndexSets::from_sets(
                cells.iter().map(|&cell| &self.encoded.sets[self.data.labels[cell] as usize]),
            )),
            levels: self.encoded.levels.clone(),
            lanes: cells.iter().map(|&cell| self.lanes[self.data.lane_of[cell] as usize]).collect(),
            log_library: rows.iter().map(|&row| self.log_library[row]).collect(),
            covariates: self.covariates.select(Axis(0), rows),
        };
        Ok(VaeBatch { input: VaeInput::Counts(Arc::new(counts)), target, condition, library_size })
    }

    fn name(&self, row: usize) -> String {
        self.data.cells.names[self.rows[row]].clone()
    }
}

/// The effects of a table.
pub struct EffectSource<'a> {
    table: &'a EffectTable,
    encoded: EncodedPerturbations,
}

impl<'a> EffectSource<'a> {
    /// The effects of `table`, whose genes must be the model's.
    ///
    /// # Errors
    /// A gene that the model does not know as perturbed.
    pub fn new(table: &'a EffectTable, vocabulary: &Vocabulary) -> Result<Self> {
        let encoded = vocabulary.encode_all(table.conditions.iter().map(|condition| &condition.perturbation))?;
        Ok(Self { table, encoded })
    }
}

impl BatchSource for EffectSource<'_> {
    type Batch = VaeBatch;

    fn len(&self) -> usize {
        self.table.len()
    }

    fn batch(&self, rows: &[usize]) -> Result<VaeBatch> {
        let values = self.table.effects.select(Axis(0), rows);
        Ok(VaeBatch {
            input: VaeInput::Real(values.clone()),
            target: Some(values),
            condition: ConditionBatch {
                perturbed: Arc::new(IndexSets::from_sets(rows.iter().map(|&row| &self.encoded.sets[row]))),
                levels: self.encoded.levels.clone(),
                lanes: vec![0; rows.len()],
                log_library: vec![0.0; rows.len()],
                covariates: Array2::zeros((rows.len(), 0)),
            },
            library_size: vec![1.0; rows.len()].into(),
        })
    }

    fn name(&self, row: usize) -> String {
        self.table.conditions[row].to_string()
    }
}

/// Whether the library sizes of the cells `rows` count more genes than `data` holds.
pub(in crate::model) fn counts_more_genes(data: &Dataset, rows: &[usize]) -> bool {
    rows.iter().any(|&row| data.library_size[row] > data.counts.row(row).1.iter().sum::<f32>() * 1.001)
}

/// Where the output bias starts: the log mean share of each gene (relative to the remainder's, if there is one), or the
/// mean log1p-normalised expression for a Gaussian decoder. `(genes,)`.
pub(in crate::model) fn output_bias(
    data: &Dataset,
    rows: &[usize],
    likelihood: Likelihood,
    with_remainder: bool,
) -> Vec<f32> {
    let mut sums = vec![0f64; data.genes.len()];
    let mut total = 0f64;
    for &row in rows {
        let (genes, values) = data.counts.row(row);
        let scale = NORMALISED_TOTAL / data.library_size[row].max(1.0);
        for (&gene, &value) in genes.iter().zip(values) {
            sums[gene as usize] +=
                f64::from(if likelihood == Likelihood::Gaussian { (value * scale).ln_1p() } else { value });
        }
        total += f64::from(data.library_size[row]);
    }
    if likelihood == Likelihood::Gaussian {
        return sums.iter().map(|sum| (sum / rows.len() as f64) as f32).collect();
    }
    let kept: f64 = sums.iter().sum();
    let rest = if with_remainder { (total - kept).max(1.0) } else { 1.0 };
    // Half a count for genes never seen, so that their logarithm exists.
    sums.iter().map(|sum| ((sum + 0.5) / rest).ln() as f32).collect()
}

/// Where log theta of each gene starts with few cells, `(genes,)`: the estimate by moments, with the gene's share of each
/// library as its mean, `theta = sum m^2 / sum ((x - m)^2 - m)`, for genes of more than 50 counts per cell, and theta 1
/// for the others. A few hundred steps at the usual learning rate move a logarithm by less than one, so that with few cells theta
/// stays about where it starts; for molecules 1 is a fair start, for reads in the thousands it is off by orders of magnitude.
pub(super) fn log_dispersions(data: &Dataset, rows: &[usize]) -> Vec<f32> {
    const MANY_COUNTS: f64 = 50.0;
    const LARGEST: f64 = 100.0;
    const SMALLEST: f64 = 0.01;
    let n = data.genes.len();
    let (mut sums, mut squares, mut crossed) = (vec![0f64; n], vec![0f64; n], vec![0f64; n]);
    let (mut total, mut total_squares) = (0f64, 0f64);
    for &row in rows {
        let size = f64::from(data.library_size[row]);
        (total, total_squares) = (total + size, total_squares + size * size);
        let (genes, values) = data.counts.row(row);
        for (&gene, &value) in genes.iter().zip(values) {
            let (gene, value) = (gene as usize, f64::from(value));
            sums[gene] += value;
            squares[gene] += value * value;
            crossed[gene] += value * size;
        }
    }
    let of_gene = |gene: usize| {
        let share = sums[gene] / total.max(1.0);
        let means_squared = share * share * total_squares;
        let excess = squares[gene] - 2.0 * share * crossed[gene] + means_squared - sums[gene];
        let theta = if excess > 0.0 { means_squared / excess } else { LARGEST };
        if sums[gene] > MANY_COUNTS * rows.len() as f64 { theta.clamp(SMALLEST, LARGEST).ln() as f32 } else { 0.0 }
    };
    (0..n).map(of_gene).collect()
}
