//! Layer normalisation: each row to mean 0 and variance 1, then scaled and shifted by feature.
//!
//! `y = (x - mean) / sqrt(variance + epsilon) * weight + bias`, moments over the row; x `(rows, width)`, weight and
//! bias `(width,)`. Ba et al. 2016, *Layer Normalization*; epsilon as in PyTorch.
//!
//! ```
//! use genailab::{dfdx::prelude::*, nn::LayerNorm};
//!
//! let dev = Cpu::default();
//! let layer = LayerNorm::new(&dev, 2)?;
//! let y = layer.forward(dev.tensor_from_vec(vec![1.0, 3.0], (1, 2)))?;
//! assert!((y[[0, 1]] - 1.0).abs() < 1e-4 && (y[[0, 0]] + 1.0).abs() < 1e-4);
//! # Ok::<(), genailab::Error>(())
//! ```

use super::{Backend, Matrix, Vector, init, walk_params};
use crate::Result;
use dfdx::prelude::Tape;

/// Added to the variance; PyTorch's default.
const EPSILON: f32 = 1e-5;

/// Rows to mean 0 and variance 1, then an affine map by feature.
#[derive(Debug, Clone)]
pub struct LayerNorm<D: Backend> {
    /// Scale of each feature, `(width,)`; starts at 1.
    pub weight: Vector<D>,
    /// Shift of each feature, `(width,)`; starts at 0.
    pub bias: Vector<D>,
}

walk_params!(LayerNorm { params: [weight, bias], buffers: [], layers: [] });

impl<D: Backend> LayerNorm<D> {
    /// A layer over rows of `width` features. It draws nothing at random.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn new(device: &D, width: usize) -> Result<Self> {
        Ok(Self { weight: init::constant(device, (width,), 1.0)?, bias: init::constant(device, (width,), 0.0)? })
    }

    /// `(rows, width)` to the same shape.
    ///
    /// # Errors
    /// An x of another width.
    pub fn forward<T: Tape<f32, D>>(&self, x: Matrix<D, T>) -> Result<Matrix<D, T>> {
        D::layer_norm(x, &self.weight, &self.bias, EPSILON)
    }
}
