//! How far a predicted embedding is from its target.
//!
//! | name | loss |
//! |---|---|
//! | smooth L1 | mean over elements of `e^2 / (2 beta)` where `abs(e) < beta`, else `abs(e) - beta / 2`; e = p - t (Huber 1964; I-JEPA, beta 1) |
//! | L2 | mean over elements of `e^2` |
//! | cosine | mean over rows of `1 - p.t / (abs(p) abs(t))`, each norm at least 1e-8, as in PyTorch |
//!
//! p and t `(rows, width)`. The targets come from a teacher and get no gradient. [`layer_normed`] brings each target row
//! to mean 0 and variance 1 first, as I-JEPA (Assran et al. 2023) and data2vec do, so that no target can win by its
//! scale.
//!
//! ```
//! use genailab::{dfdx::prelude::*, nn::{EmbeddingLoss, layer_normed, ops::to_f32}};
//!
//! let dev = Cpu::default();
//! let target = layer_normed(&dev.tensor_from_vec(vec![2.0, 4.0], (1, 2)))?; // -1, 1
//! let prediction = dev.tensor_from_vec(vec![-1.0, 3.0], (1, 2));
//! let loss = EmbeddingLoss::SmoothL1 { beta: 1.0 }.forward(prediction, &target)?;
//! assert!((to_f32(&loss) - 0.75).abs() < 1e-4); // (0 + 2 - 1/2) / 2
//! # Ok::<(), genailab::Error>(())
//! ```

use super::{Backend, EmbeddingLoss, Matrix, RowSets, Scalar, SetDistance, Vector, init};
use crate::Result;
use dfdx::prelude::{HasShape, NoneTape, Tape};

/// Added to a row's variance; PyTorch's default for a layer norm.
const EPSILON: f32 = 1e-5;

impl EmbeddingLoss {
    /// The loss of predictions `(rows, width)` against targets of the same shape, of which no gradient is taken.
    ///
    /// # Errors
    /// Shapes that differ, no row at all, a beta that is not positive.
    pub fn forward<D: Backend, T: Tape<f32, D>>(
        self,
        prediction: Matrix<D, T>,
        target: &Matrix<D>,
    ) -> Result<Scalar<D, T>> {
        D::embedding_loss(prediction, target, self)
    }
}

/// Each row to mean 0 and variance 1, without a gradient: `(rows, width)` to the same shape.
///
/// # Errors
/// A device without memory for it.
pub fn layer_normed<D: Backend>(target: &Matrix<D>) -> Result<Matrix<D>> {
    let (device, width) = (target.device(), (target.shape().1,));
    let (one, zero) = (init::constant(device, width, 1.0)?, init::constant(device, width, 0.0)?);
    D::layer_norm(target.retaped::<NoneTape>(), &one, &zero, EPSILON)
}

impl SetDistance {
    /// The distance of each predicted set, rows of x `(rows, width)`, to the set of the same number among the rows of
    /// y, `(sets,)`.
    ///
    /// # Errors
    /// Widths or sets that do not fit, an empty set; a gamma that is not positive, or no gamma or direction at all.
    pub fn forward<D: Backend, T: Tape<f32, D>>(
        &self,
        x: Matrix<D, T>,
        x_sets: &RowSets,
        y: &Matrix<D>,
        y_sets: &RowSets,
    ) -> Result<Vector<D, T>> {
        D::set_distance(x, x_sets, y, y_sets, self)
    }
}
