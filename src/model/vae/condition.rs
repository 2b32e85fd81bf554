//! What a cell was given and where it was measured, as one vector.
//!
//! `c = sum_{g in perturbation} e_g + l_lane + s * w`, with an embedding `e_g` for each perturbed gene, `l` for each
//! lane and `w` for the standardised log library size `s`. The perturbation enters as a *set*: control is the empty
//! sum, a double is the sum of its genes, so that an unseen double of known genes has a condition too. What the two
//! genes do together is left to the non-linear network behind.

use crate::{
    Error, Result,
    data::{Dataset, Effects, Perturbation},
    nn::{Backend, Embedding, IndexSets, Linear, Matrix, ops, walk_params},
};
use dfdx::prelude::{PutTape, Tape};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// The names behind a model's rows and columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Vocabulary {
    /// Genes that are modelled: the columns, in order.
    pub genes: Vec<String>,
    /// Genes that were perturbed in training, sorted.
    pub perturbed: Vec<String>,
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
        Self {
            genes: data.genes.names.clone(),
            perturbed: perturbed_genes(seen.iter().map(|&label| &data.perturbations[label as usize])),
            lanes: data.lanes.clone(),
            // Cells of one size have no spread to divide by.
            log_library: (mean as f32, if deviation > 1e-6 { deviation as f32 } else { 1.0 }),
        }
    }

    /// The vocabulary of the perturbations `rows` of an effects dataset.
    pub fn of_effects(data: &Effects, rows: &[usize]) -> Self {
        Self {
            genes: data.genes.names.clone(),
            perturbed: perturbed_genes(rows.iter().map(|&row| &data.perturbations[row])),
            lanes: Vec::new(),
            log_library: (0.0, 1.0),
        }
    }

    /// The embedding indices of a perturbation.
    ///
    /// # Errors
    /// Genes that were never perturbed in training, all named.
    pub fn encode(&self, perturbation: &Perturbation) -> Result<Vec<u32>> {
        self.check([perturbation])?;
        let known = |gene: &String| self.perturbed.binary_search(gene).expect("it was just checked") as u32;
        Ok(perturbation.genes().iter().map(known).collect())
    }

    /// Checks that every gene of `perturbations` was perturbed in training.
    ///
    /// # Errors
    /// Those that were not, all named.
    pub fn check<'a>(&self, perturbations: impl IntoIterator<Item = &'a Perturbation>) -> Result<()> {
        let asked: BTreeSet<&str> =
            perturbations.into_iter().flat_map(Perturbation::genes).map(String::as_str).collect();
        let unknown: Vec<&str> = asked.into_iter().filter(|gene| !self.perturbs(gene)).collect();
        if unknown.is_empty() {
            return Ok(());
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
        Err(Error::config(format!(
            "unknown perturbed genes: {}; this model was trained on {} perturbed genes ({}{}){hint}",
            unknown.join(", "),
            self.perturbed.len(),
            examples.join(", "),
            if self.perturbed.len() > examples.len() { ", …" } else { "" }
        )))
    }

    /// Whether `gene` was perturbed in training.
    pub fn perturbs(&self, gene: &str) -> bool {
        self.perturbed.binary_search_by(|known| known.as_str().cmp(gene)).is_ok()
    }

    /// The standardised log library size.
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

fn perturbed_genes<'a>(perturbations: impl Iterator<Item = &'a Perturbation>) -> Vec<String> {
    let genes: BTreeSet<&String> = perturbations.flat_map(Perturbation::genes).collect();
    genes.into_iter().cloned().collect()
}

/// The conditions of a batch, on the host.
#[derive(Debug, Clone)]
pub struct ConditionBatch {
    /// Perturbed genes of each cell.
    pub perturbed: Arc<IndexSets>,
    /// Lane of each cell.
    pub lanes: Vec<u32>,
    /// Standardised log library size of each cell.
    pub log_library: Vec<f32>,
}

/// Turns a [`ConditionBatch`] into the condition `c`, `(cells, width)`.
#[derive(Debug, Clone)]
pub struct ConditionEncoder<D: Backend> {
    perturbation: Embedding<D>,
    lane: Option<Embedding<D>>,
    library: Option<Linear<D>>,
}

walk_params!(ConditionEncoder { params: [], buffers: [], layers: [perturbation, lane, library] });

impl<D: Backend> ConditionEncoder<D> {
    /// An encoder for `vocabulary`, `width` wide. A single lane carries no information and gets no embedding.
    pub fn new(
        device: &D,
        vocabulary: &Vocabulary,
        width: usize,
        with_lane: bool,
        with_library: bool,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let lanes = vocabulary.lanes.len();
        Ok(Self {
            perturbation: Embedding::new(device, vocabulary.perturbed.len().max(1), width, rng)?,
            lane: (with_lane && lanes > 1).then(|| Embedding::new(device, lanes, width, rng)).transpose()?,
            library: with_library.then(|| Linear::new(device, 1, width, rng)).transpose()?,
        })
    }

    /// `(cells, width)`; goes on with `tape`.
    ///
    /// # Errors
    /// A batch that does not fit the vocabulary.
    pub fn forward<T: Tape<f32, D>>(&self, device: &D, batch: &ConditionBatch, tape: T) -> Result<Matrix<D, T>> {
        let mut condition = self.perturbation.forward(&batch.perturbed, tape)?;
        if let Some(lane) = &self.lane {
            let lanes = Arc::new(IndexSets::from_indices(batch.lanes.clone()));
            condition = ops::add(condition, lane.forward(&lanes, T::default())?)?;
        }
        if let Some(library) = &self.library {
            let column = device
                .try_tensor_from_vec(batch.log_library.clone(), (batch.log_library.len(), 1))
                .map_err(|e| Error::device("log library size", e))?;
            condition = ops::add(condition, library.forward(column.put_tape(T::default()))?)?;
        }
        Ok(condition)
    }
}
