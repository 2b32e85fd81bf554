//! Batches of cells (or of effects) for a VAE, gathered on the host.

use super::condition::{ConditionBatch, Vocabulary};
use crate::data::NORMALISED_TOTAL;
use crate::{
    Error, Result,
    data::{Counts, Dataset, Effects},
    nn::IndexSets,
    train::BatchSource,
};
use ndarray::{Array2, Axis};
use std::sync::Arc;

/// What a batch observes of its rows.
#[derive(Debug, Clone)]
pub enum Observed {
    /// UMI counts, `(cells, genes)`.
    Counts(Arc<Counts>),
    /// Real values, `(rows, genes)`: log1p-normalised expression, or effects.
    Real(Array2<f32>),
}

/// One batch: what is observed, under which condition, at which size factor.
#[derive(Debug, Clone)]
pub struct VaeBatch {
    /// What the encoder sees: counts (log1p is taken inside), or real values.
    pub input: Observed,
    /// What a Gaussian decoder must give back; a count decoder gives `input` back.
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
}

/// How the cells of a dataset are turned into batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellView {
    /// Whether the size factor counts all genes that were measured, or only those modelled.
    pub total_library: bool,
    /// Whether a Gaussian target, log1p(counts / library * 1e4), goes along.
    pub with_target: bool,
}

/// The cells `rows` of a dataset.
pub struct CellSource<'a> {
    data: &'a Dataset,
    rows: &'a [usize],
    /// Embedding indices, one set a perturbation of the dataset that `rows` use.
    sets: Vec<Vec<u32>>,
    /// Index into the model's lanes, one a lane of the dataset.
    lanes: Vec<u32>,
    /// Size factor, one a row of `rows`.
    library_size: Vec<f32>,
    /// Standardised log library size, one a row of `rows`.
    log_library: Vec<f32>,
    with_target: bool,
}

impl<'a> CellSource<'a> {
    /// The cells `rows` of `data`, whose genes must be the model's.
    ///
    /// # Errors
    /// A perturbation or lane that the model does not know.
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
        let sets = data
            .perturbations
            .iter()
            .zip(used)
            .map(|(perturbation, used)| if used { vocabulary.encode(perturbation) } else { Ok(Vec::new()) })
            .collect::<Result<_>>()?;
        // A lane that the model has not seen is read as its first one: the effect of a new lane cannot be known.
        let lanes = data
            .lanes
            .iter()
            .map(|lane| vocabulary.lanes.iter().position(|known| known == lane).unwrap_or(0) as u32)
            .collect();
        let library_size = rows
            .iter()
            .map(|&row| {
                let kept: f32 = data.counts.row(row).1.iter().sum();
                // A library smaller than what it is made of cannot be; an empty cell still has a size factor.
                (if view.total_library { data.library_size[row].max(kept) } else { kept }).max(1.0)
            })
            .collect();
        let log_library = rows.iter().map(|&row| vocabulary.standardise(data.library_size[row])).collect();
        Ok(Self { data, rows, sets, lanes, library_size, log_library, with_target: view.with_target })
    }
}

impl BatchSource for CellSource<'_> {
    type Batch = VaeBatch;

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn batch(&self, rows: &[usize]) -> Result<VaeBatch> {
        let cells: Vec<usize> = rows.iter().map(|&row| self.rows[row]).collect();
        let counts = self.data.counts.select_cells(&cells);
        let library_size: Arc<[f32]> = rows.iter().map(|&row| self.library_size[row]).collect();
        let target = self.with_target.then(|| {
            let mut dense = counts.to_dense();
            for (mut cell, &row) in dense.axis_iter_mut(Axis(0)).zip(&cells) {
                let scale = NORMALISED_TOTAL / self.data.library_size[row].max(1.0);
                cell.mapv_inplace(|count| (count * scale).ln_1p());
            }
            dense
        });
        let condition = ConditionBatch {
            perturbed: Arc::new(IndexSets::from_sets(
                cells.iter().map(|&cell| &self.sets[self.data.labels[cell] as usize]),
            )),
            lanes: cells.iter().map(|&cell| self.lanes[self.data.lane_of[cell] as usize]).collect(),
            log_library: rows.iter().map(|&row| self.log_library[row]).collect(),
        };
        Ok(VaeBatch { input: Observed::Counts(Arc::new(counts)), target, condition, library_size })
    }

    fn name(&self, row: usize) -> String {
        self.data.cells.names[self.rows[row]].clone()
    }
}

/// The perturbations `rows` of an effects dataset.
pub struct EffectSource<'a> {
    data: &'a Effects,
    rows: &'a [usize],
    sets: Vec<Vec<u32>>,
}

impl<'a> EffectSource<'a> {
    /// The perturbations `rows` of `data`.
    ///
    /// # Errors
    /// A gene that the model does not know as perturbed.
    pub fn new(data: &'a Effects, rows: &'a [usize], vocabulary: &Vocabulary) -> Result<Self> {
        let sets = rows.iter().map(|&row| vocabulary.encode(&data.perturbations[row])).collect::<Result<_>>()?;
        Ok(Self { data, rows, sets })
    }
}

impl BatchSource for EffectSource<'_> {
    type Batch = VaeBatch;

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn batch(&self, rows: &[usize]) -> Result<VaeBatch> {
        let chosen: Vec<usize> = rows.iter().map(|&row| self.rows[row]).collect();
        let values = self.data.values.select(Axis(0), &chosen);
        Ok(VaeBatch {
            input: Observed::Real(values.clone()),
            target: Some(values),
            condition: ConditionBatch {
                perturbed: Arc::new(IndexSets::from_sets(rows.iter().map(|&row| &self.sets[row]))),
                lanes: vec![0; rows.len()],
                log_library: vec![0.0; rows.len()],
            },
            library_size: vec![1.0; rows.len()].into(),
        })
    }

    fn name(&self, row: usize) -> String {
        self.data.perturbations[self.rows[row]].to_string()
    }
}
