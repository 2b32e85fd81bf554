//! Batches of cells or of effects for a VAE, gathered on the host, and the names behind them.

use super::{
    Likelihood,
    encoding::{DoseRange, EncodedPerturbations, perturbed_names},
};
use crate::{
    Error, Result,
    data::{CellRows, Counts, Dataset, EffectTable, NORMALISED_TOTAL, Perturbation, dose::name_and_dose},
    nn::{DoseLevels, IndexSets},
    train::BatchSource,
};
use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// The names behind a model's inputs and outputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Vocabulary {
    /// Genes that are modelled: the columns, in order.
    pub genes: Vec<String>,
    /// Genes that were perturbed in training, without doses, sorted.
    pub perturbed: Vec<String>,
    /// The training doses of each of them; empty where all were 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doses: Vec<DoseRange>,
    /// Lanes seen in training, sorted.
    pub lanes: Vec<String>,
    /// Mean and standard deviation of the natural log of the library size in training.
    pub log_library: (f32, f32),
}

impl Vocabulary {
    /// The vocabulary of the cells `rows` of a dataset.
    pub fn of_cells(data: &Dataset, rows: &[usize]) -> Self {
        let seen: BTreeSet<u32> = rows.iter().map(|&row| data.labels[row]).collect();
        let logs = || rows.iter().map(|&row| f64::from(data.library_size[row].max(1.0)).ln());
        let n = rows.len().max(1) as f64;
        let mean = logs().sum::<f64>() / n;
        let deviation = (logs().map(|log| (log - mean).powi(2)).sum::<f64>() / n).sqrt();
        let (perturbed, doses) = perturbed_names(seen.iter().map(|&label| &data.perturbations[label as usize]));
        Self {
            genes: data.genes.names.clone(),
            perturbed,
            doses,
            lanes: data.lanes.clone(),
            // Where all cells have the same size, there is no deviation to divide by.
            log_library: (mean as f32, if deviation > 1e-6 { deviation as f32 } else { 1.0 }),
        }
    }

    /// The vocabulary of effects.
    pub fn of_effects(table: &EffectTable) -> Self {
        let (perturbed, doses) = perturbed_names(table.conditions.iter().map(|condition| &condition.perturbation));
        Self { genes: table.genes.to_vec(), perturbed, doses, lanes: Vec::new(), log_library: (0.0, 1.0) }
    }

    /// The embedding indices of a perturbation.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn encode(&self, perturbation: &Perturbation) -> Result<EncodedPerturbations> {
        self.encode_all([perturbation])
    }

    /// Checks that every gene of `perturbations` was perturbed in training.
    ///
    /// # Errors
    /// Those that were not, all named: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn check<'a>(&self, perturbations: impl IntoIterator<Item = &'a Perturbation>) -> Result<()> {
        let asked: BTreeSet<&str> =
            perturbations.into_iter().flat_map(Perturbation::genes).map(String::as_str).collect();
        let unknown: Vec<&str> = asked.into_iter().filter(|gene| !self.perturbs(gene)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        if let Some(dosed) = unknown.iter().find(|name| self.place_of(name_and_dose(name).0).is_some()) {
            return Err(Error::inapplicable(format!(
                "{dosed} has a dose, and this model was trained without doses; leave the dose out, or train on names with doses \
                 (--dose-column)"
            )));
        }
        let meant: Vec<&str> = unknown
            .iter()
            .filter_map(|gene| self.perturbed.iter().find(|known| known.eq_ignore_ascii_case(gene)))
            .map(String::as_str)
            .collect();
        let hint = match meant.is_empty() {
            true => String::new(),
            false => format!("; did you mean {}?", meant.join(", ")),
        };
        let examples: Vec<&str> = self.perturbed.iter().take(8).map(String::as_str).collect();
        Err(Error::inapplicable(format!(
            "unknown perturbed genes: {}; this model was trained on {} perturbed genes ({}{}){hint}",
            unknown.join(", "),
            self.perturbed.len(),
            examples.join(", "),
            if self.perturbed.len() > examples.len() { ", …" } else { "" }
        )))
    }

    /// Whether `gene` was perturbed in training, at whatever dose where there were doses.
    pub fn perturbs(&self, gene: &str) -> bool {
        let (base, dose) = name_and_dose(gene);
        self.place_of(base).is_some() && (dose == 1.0 || self.knows_doses())
    }

    /// The standardised log library size of a cell with this library size (UMI counts).
    pub fn standardise(&self, library_size: f32) -> f32 {
        (library_size.max(1.0).ln() - self.log_library.0) / self.log_library.1
    }

    /// Where each of the model's genes stands in `names`.
    ///
    /// # Errors
    /// Genes of the model that are not in `names`: how many, and the first of them.
    pub fn align(&self, names: &[String]) -> Result<Vec<usize>> {
        let place: HashMap<&str, usize> = names.iter().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
        let missing: Vec<&str> =
            self.genes.iter().map(String::as_str).filter(|gene| !place.contains_key(gene)).collect();
        if let Some(first) = missing.first() {
            return Err(Error::data(format!(
                "the data lacks {} of the {} genes that the model was trained on, {first} among them; use data with \
                 the same gene names",
                missing.len(),
                self.genes.len()
            )));
        }
        Ok(self.genes.iter().map(|gene| place[gene.as_str()]).collect())
    }
}

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
        }
    }
}

/// The observed values of a batch.
#[derive(Debug, Clone)]
pub enum Observed {
    /// UMI counts, `(cells, genes)`.
    Counts(Arc<Counts>),
    /// Real values, `(rows, genes)`: log1p-normalised expression, or effects.
    Real(Array2<f32>),
}

/// One batch: observed values, conditions and size factors.
#[derive(Debug, Clone)]
pub struct VaeBatch {
    /// The encoder's input: counts (log1p is taken inside), or real values.
    pub input: Observed,
    /// What a Gaussian decoder must reconstruct; a count decoder reconstructs `input`.
    pub target: Option<Array2<f32>>,
    /// Perturbation, lane, library size.
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
            Observed::Counts(counts) => Observed::Counts(Arc::new(counts.select_cells(rows))),
            Observed::Real(values) => Observed::Real(values.select(Axis(0), rows)),
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

/// The cells/// The cells `rows` of a dataset.
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
    view: CellView,
}

impl<'a> CellSource<'a> {
    /// The cells `rows` of `data`, whose genes must be the model's.
    ///
    /// # Errors
    /// Other genes; a perturbation that the model does not know.
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
        Ok(Self { data, counts: &data.counts, rows, encoded, lanes, log_library, view })
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
        };
        Ok(VaeBatch { input: Observed::Counts(Arc::new(counts)), target, condition, library_size })
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
            input: Observed::Real(values.clone()),
            target: Some(values),
            condition: ConditionBatch {
                perturbed: Arc::new(IndexSets::from_sets(rows.iter().map(|&row| &self.encoded.sets[row]))),
                levels: self.encoded.levels.clone(),
                lanes: vec![0; rows.len()],
                log_library: vec![0.0; rows.len()],
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
