//! The distance of predicted and observed sets of embeddings as a loss.

use crate::{
    Result,
    nn::{Backend, Matrix, RowSets, Scalar, SetDistance, median_gamma, ops},
};
use dfdx::prelude::{HasShape, Tape};
use ndarray::s;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// The Gaussian kernels of the MMD: one over twice the median squared distance of the observed cells, times each of these. A
/// narrow kernel tells near cells apart, and a wide one still has a gradient far away.
const GAMMA_FACTORS: [f32; 3] = [0.25, 1.0, 4.0];
/// Observed cells that the median is of, at most.
const MEDIAN_CELLS: usize = 128;
/// Directions of the sliced Wasserstein distance, drawn anew in each step.
const DIRECTIONS: usize = 64;

/// By which distance the predicted and the observed embeddings of a condition are compared: see [`SetDistance`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetLoss {
    /// Energy distance (Szekely and Rizzo 2013).
    #[default]
    Energy,
    /// Squared maximum mean discrepancy (Gretton et al. 2012). It is 2 at most, and flat where the sets are far apart.
    Mmd,
    /// Squared sliced Wasserstein distance (Bonneel et al. 2015).
    SlicedWasserstein,
}

impl SetLoss {
    /// What its part of the loss is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Energy => "energy",
            Self::Mmd => "mmd",
            Self::SlicedWasserstein => "sliced_wasserstein",
        }
    }

    /// The mean over sets of the distance of the predicted embeddings `moved` `(cells, width)` to the observed ones. Gradients go
    /// to `moved`. Random numbers are drawn by the sliced Wasserstein distance alone.
    ///
    /// # Errors
    /// Sets that do not fit.
    pub(super) fn forward<D: Backend, T: Tape<f32, D>>(
        self,
        moved: Matrix<D, T>,
        sets: &RowSets,
        (target, target_sets): (&Matrix<D>, &RowSets),
        rng: &mut ChaCha8Rng,
    ) -> Result<Scalar<D, T>> {
        let distance = match self {
            Self::Energy => SetDistance::Energy,
            Self::Mmd => SetDistance::Mmd { gammas: gammas(target).into() },
            Self::SlicedWasserstein => SetDistance::sliced(target.shape().1, DIRECTIONS, rng),
        };
        ops::mean(distance.forward(moved, sets, target, target_sets)?)
    }
}

/// The gammas of the MMD to these observed embeddings.
fn gammas<D: Backend>(target: &Matrix<D>) -> Vec<f32> {
    let cells = ops::download(target);
    let some = cells.slice(s![..;cells.nrows().div_ceil(MEDIAN_CELLS).max(1), ..]);
    // Where all are the same, that of standardised features, two cells of which are at a mean squared distance of twice the width.
    let gamma = median_gamma(some).unwrap_or_else(|| 0.25 / cells.ncols().max(1) as f32);
    GAMMA_FACTORS.map(|factor| factor * gamma).to_vec()
}
