//! Control cells of the training that a model of sets carries with it, so that it predicts without the data.

use super::SetsJepa;
use crate::{
    Error, Result,
    data::{Condition, Counts, Dataset, Perturbation, Table, shuffle},
    model::Generated,
};
use ndarray::Array2;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use std::collections::BTreeMap;

/// Control cells kept of each context, as many as the count VAE keeps.
const KEPT: usize = crate::model::REFERENCE_CELLS;

/// Some control cells.
pub(super) struct Reference {
    /// Their counts and library sizes.
    pub data: Dataset,
    /// The context of each.
    pub contexts: Vec<Option<String>>,
}

impl Reference {
    /// A seeded sample of the training controls of each context.
    ///
    /// # Errors
    /// None that counts of a dataset can have.
    pub fn of(data: &Dataset, conditions: &[Condition], train: &[usize], seed: u64) -> Result<Self> {
        let mut rows_of: BTreeMap<&Option<String>, Vec<usize>> = BTreeMap::new();
        for &row in train.iter().filter(|&&row| conditions[row].perturbation.is_control()) {
            rows_of.entry(&conditions[row].context).or_default().push(row);
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut rows, mut contexts) = (Vec::new(), Vec::new());
        for (context, mut of) in rows_of {
            shuffle(&mut of, &mut rng);
            of.truncate(KEPT);
            contexts.extend(of.iter().map(|_| context.clone()));
            rows.extend(of);
        }
        let library = rows.iter().map(|&row| data.library_size[row]).collect();
        Self::from_parts(&data.counts.select_cells(&rows).to_dense(), data.gene_names(), library, contexts)
    }

    /// From `counts` `(cells, genes)`, and the library size and context of each cell.
    ///
    /// # Errors
    /// Parts of different lengths.
    pub fn from_parts(
        counts: &Array2<f32>,
        genes: &[String],
        library: Vec<f32>,
        contexts: Vec<Option<String>>,
    ) -> Result<Self> {
        let names = (0..counts.nrows()).map(|cell| format!("control {cell}")).collect();
        let data = Dataset::new(
            Counts::from_dense(counts),
            Table::from_names(genes.to_vec()),
            Table::from_names(names),
            &vec![Perturbation::control(); counts.nrows()],
            None,
            Some(library),
        )?;
        Ok(Self { data, contexts })
    }
}

impl SetsJepa {
    /// Whether a gene was perturbed alone in training, so that combinations with it can be predicted.
    pub fn perturbs(&self, gene: &str) -> bool {
        self.shifts.table().knows(gene)
    }

    /// Gene names, one a column of a predicted cell.
    pub fn gene_names(&self) -> &[String] {
        &self.latent.jepa.genes
    }

    /// Counts of `n` cells of a condition, each from a control cell of the training that the model keeps, with its library
    /// size; each of these is taken once before any is taken again.
    ///
    /// # Errors
    /// Genes that were never perturbed alone in training, all named, or a context without control cells:
    /// [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn sample(&self, condition: &Condition, n: usize, seed: u64) -> Result<Generated> {
        let here = |row: &usize| self.reference.contexts[*row] == condition.context;
        let mut rows: Vec<usize> = (0..self.reference.contexts.len()).filter(here).collect();
        if rows.is_empty() {
            return Err(Error::inapplicable(format!("{condition}: no control cell of its context was trained on")));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        shuffle(&mut rows, &mut rng);
        let rows: Vec<usize> = rows.into_iter().cycle().take(n).collect();
        let data = &self.reference.data;
        let values = self.counts(data, &rows, condition, rng.next_u64())?;
        let library_size = rows.iter().map(|&row| data.library_size[row]).collect();
        Ok(Generated { values, library_size, are_counts: true })
    }
}
