//! Counts as values of a density and back, and the condition of a cell: see the equations of the module.

use crate::{
    Error, Result,
    data::{Dataset, Perturbation},
};
use ndarray::Array2;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// What counts are scaled to, and which genes are modelled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Encoding {
    /// T, the median library size of the training cells.
    pub total: f32,
    /// Whether u is drawn.
    pub dequantize: bool,
    /// Number of genes of a cell.
    pub n_genes: usize,
    /// The genes with a count in some training cell: columns, rising. The others are drawn as 0.
    pub columns: Vec<usize>,
}

impl Encoding {
    /// Of the training cells `rows`.
    ///
    /// # Errors
    /// Training cells without any count.
    pub fn of(data: &Dataset, rows: &[usize], dequantize: bool) -> Result<Self> {
        let mut libraries: Vec<f32> = rows.iter().map(|&row| data.library_size[row]).collect();
        libraries.sort_unstable_by(f32::total_cmp);
        let mut counted = vec![false; data.n_genes()];
        for &row in rows {
            let (genes, values) = data.counts.row(row);
            genes
                .iter()
                .zip(values)
                .filter(|(_, value)| **value > 0.0)
                .for_each(|(&gene, _)| counted[gene as usize] = true);
        }
        let columns: Vec<usize> = (0..counted.len()).filter(|&gene| counted[gene]).collect();
        if columns.is_empty() {
            return Err(Error::data("the training cells have no counts at all; there is nothing to learn"));
        }
        let total = libraries[libraries.len() / 2].max(1.0);
        Ok(Self { total, dequantize, n_genes: counted.len(), columns })
    }

    /// y of the cells `rows`, `(rows, modelled genes)`.
    pub fn encode(&self, data: &Dataset, rows: &[usize], rng: &mut ChaCha8Rng) -> Array2<f32> {
        let counts = data.counts.select_cells(rows).to_dense();
        let mut y = counts.select(ndarray::Axis(1), &self.columns);
        for (mut cell, &row) in y.rows_mut().into_iter().zip(rows) {
            let scale = self.total / data.library_size[row].max(1.0);
            cell.mapv_inplace(|count| {
                let u = if self.dequantize { rng.random::<f32>() } else { 0.0 };
                ((count + u) * scale).ln_1p()
            });
        }
        y
    }

    /// Counts of draws y `(cells, modelled genes)` at these library sizes, `(cells, genes)`.
    pub fn decode(&self, y: &Array2<f32>, libraries: &[f32]) -> Array2<f32> {
        let mut counts = Array2::zeros((y.nrows(), self.n_genes));
        for ((cell, mut counts), &library) in y.rows().into_iter().zip(counts.rows_mut()).zip(libraries) {
            // No gene has more molecules than the cell.
            let (scale, most) = (library.max(1.0) / self.total, library.max(1.0));
            for (&column, &y) in self.columns.iter().zip(cell) {
                let molecules = (y.exp_m1() * scale).clamp(0.0, most);
                counts[column] = if self.dequantize { molecules.floor() } else { molecules.round() };
            }
        }
        counts
    }
}

/// The condition of cells, `(cells, perturbed genes + 1)`: 1 for each gene that is perturbed, and ln of the library size.
///
/// # Errors
/// A gene that was not perturbed in training.
pub(super) fn conditions<'a>(
    perturbed: &[String],
    cells: impl ExactSizeIterator<Item = (&'a Perturbation, f32)>,
) -> Result<Array2<f32>> {
    let mut all = Array2::zeros((cells.len(), perturbed.len() + 1));
    for ((perturbation, library), mut row) in cells.zip(all.rows_mut()) {
        for gene in perturbation.genes() {
            let place = perturbed
                .binary_search(gene)
                .map_err(|_| Error::inapplicable(format!("{gene} was not perturbed in training")))?;
            row[place] = 1.0;
        }
        row[perturbed.len()] = library.max(1.0).ln();
    }
    Ok(all)
}
