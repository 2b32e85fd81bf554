//! Control cells of the training that a model of sets carries with it, so that it predicts without the data.

use crate::{
    Result,
    data::{Condition, Counts, Dataset, Perturbation, Table, shuffle},
};
use ndarray::Array2;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::collections::BTreeMap;

/// Control cells kept of each context, as many as the count VAE keeps.
const KEPT: usize = crate::model::REFERENCE_CELLS;

/// Some control cells.
#[derive(Debug, Clone)]
pub struct Reference {
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
