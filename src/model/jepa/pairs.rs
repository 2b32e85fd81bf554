//! Pseudo-pairs: which perturbed cells a control cell would have been, by optimal transport.
//!
//! No cell is measured both before and after. Control cells, moved by what is known already (the scaled sum of shifts),
//! are coupled with the perturbed cells at the least squared distance, with an entropy; a control cell's target is the mean
//! of the cells that it is coupled with. A coupling reads the cells it learns from, so test cells are refused.

use crate::{
    Error, Result,
    data::Split,
    math::{SinkhornConfig, sinkhorn, squared_distances},
    nn::EmbeddingLoss,
};
use ndarray::{Array1, Array2, ArrayView2};
use serde::{Deserialize, Serialize};

/// Settings of the pseudo-pairs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PairConfig {
    /// eps, as a share of the mean cost of a pair. A large one makes every target the mean of all perturbed cells.
    pub regularisation: f64,
    /// When the iterations end.
    pub sinkhorn: SinkhornConfig,
    /// Loss between a predicted embedding and its target.
    pub loss: EmbeddingLoss,
}

impl Default for PairConfig {
    fn default() -> Self {
        Self {
            regularisation: 0.02,
            // A target needs no more than a few digits of its weights.
            sinkhorn: SinkhornConfig { iterations: 200, tolerance: 1e-3 },
            loss: EmbeddingLoss::default(),
        }
    }
}

impl PairConfig {
    pub(super) fn validate(&self) -> Result<()> {
        let positive = |value: f64| value > 0.0 && value.is_finite();
        if !positive(self.regularisation) || !positive(self.sinkhorn.tolerance) || self.sinkhorn.iterations == 0 {
            return Err(Error::config(
                "model configuration: coupling.regularisation, sinkhorn.tolerance and sinkhorn.iterations must be above 0",
            ));
        }
        Ok(())
    }
}

/// The target of each moved control cell, `(controls, width)`: the mean of the perturbed cells that it is coupled with.
/// `moved` and `perturbed` are embeddings `(cells, width)`, `rows` the rows of the dataset that both are of.
///
/// # Errors
/// A test cell of the split among `rows`; no cells, or embeddings that do not fit each other.
pub fn pseudo_pairs(
    moved: ArrayView2<'_, f32>,
    perturbed: ArrayView2<'_, f32>,
    rows: &[usize],
    split: &Split,
    config: &PairConfig,
) -> Result<Array2<f32>> {
    split.refuse_test_cells("pseudo-pairs by optimal transport", rows)?;
    if moved.ncols() != perturbed.ncols() || moved.is_empty() || perturbed.is_empty() {
        return Err(Error::shape("pseudo-pairs", moved.dim(), perturbed.dim()));
    }
    let cost = squared_distances(moved, perturbed);
    let mean = cost.mean().unwrap_or(0.0);
    let uniform = |n: usize| Array1::from_elem(n, 1.0 / n as f64);
    // Cells that are all the same are coupled anyhow.
    let epsilon = if mean > 0.0 { config.regularisation * mean } else { 1.0 };
    let (a, b) = (uniform(moved.nrows()), uniform(perturbed.nrows()));
    Ok(sinkhorn(cost.view(), &a, &b, epsilon, &config.sinkhorn)?.barycentres(perturbed))
}
