//! Cells drawn from a model.

use crate::data::NORMALISED_TOTAL;
use ndarray::{Array2, Axis};

/// Cells drawn from a model.
#[derive(Debug, Clone, Default)]
pub struct Generated {
    /// `(cells, genes)`: counts, or log1p-normalised expression from a Gaussian decoder.
    pub values: Array2<f32>,
    /// Library size of each cell over all measured genes (UMI counts), taken from the control cell it started from.
    pub library_size: Vec<f32>,
    /// Whether `values` are counts.
    pub are_counts: bool,
}

impl Generated {
    /// `log1p(counts / library_size * 1e4)`, `(cells, genes)`; a Gaussian decoder's values are that already.
    pub fn log_normalised(&self) -> Array2<f32> {
        let mut values = self.values.clone();
        if self.are_counts {
            for (mut cell, &library) in values.axis_iter_mut(Axis(0)).zip(&self.library_size) {
                let scale = NORMALISED_TOTAL / library.max(1.0);
                cell.mapv_inplace(|count| (count * scale).ln_1p());
            }
        }
        values
    }
}
