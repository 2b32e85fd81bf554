//! Layer and batch normalisation, each followed by a scale and a shift per feature.

use super::{Backend, Matrix, Vector, init, walk_params};
use crate::{Error, Result};
use dfdx::prelude::{HasShape, Tape};

/// Added to the variance; PyTorch's default.
const EPSILON: f32 = 1e-5;

/// Layer normalisation: each row to mean 0 and variance 1, then scaled and shifted by feature.
///
/// `y = (x - mean) / sqrt(variance + epsilon) * weight + bias`, moments over the row; x `(rows, width)`, weight and
/// bias `(width,)`. Ba et al. 2016, *Layer Normalization*; epsilon as in PyTorch.
///
/// ```
/// use genailab::{dfdx::prelude::*, nn::LayerNorm};
///
/// let dev = Cpu::default();
/// let layer = LayerNorm::new(&dev, 2)?;
/// let y = layer.forward(dev.tensor_from_vec(vec![1.0, 3.0], (1, 2)))?;
/// assert!((y[[0, 1]] - 1.0).abs() < 1e-4 && (y[[0, 0]] + 1.0).abs() < 1e-4);
/// # Ok::<(), genailab::Error>(())
/// ```
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

/// Share of the batch's moments in the running ones; PyTorch's default.
const MOMENTUM: f32 = 0.1;

/// Batch normalisation: each feature to mean 0 and variance 1 over the batch, then scaled and shifted.
///
/// `y = (x - mean) / sqrt(variance + epsilon) * weight + bias`; x `(rows, width)`, the rest `(width,)`. While training
/// the moments are those of the batch, and the running ones move: `running = 0.9 running + 0.1 batch` (variance
/// unbiased); at inference the running ones are used. Ioffe and Szegedy 2015, *Batch Normalization*; epsilon and
/// momentum as in PyTorch.
///
/// ```
/// use genailab::{dfdx::prelude::*, nn::BatchNorm};
///
/// let dev = Cpu::default();
/// let mut layer = BatchNorm::new(&dev, 1)?;
/// let x = dev.tensor_from_vec(vec![1.0, 3.0], (2, 1));
/// let y = layer.forward_training(x.clone())?; // by the batch: -1, 1
/// assert!((y[[1, 0]] - 1.0).abs() < 1e-4);
/// assert!((layer.running_mean[[0]] - 0.2).abs() < 1e-6); // 0.9 * 0 + 0.1 * 2
/// let y = layer.forward(x)?; // by the running moments
/// assert!(y[[0, 0]] > 0.0);
/// # Ok::<(), genailab::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct BatchNorm<D: Backend> {
    /// Scale of each feature, `(width,)`; starts at 1.
    pub weight: Vector<D>,
    /// Shift of each feature, `(width,)`; starts at 0.
    pub bias: Vector<D>,
    /// Moving average of the batches' means, `(width,)`; starts at 0.
    pub running_mean: Vector<D>,
    /// Moving average of the batches' unbiased variances, `(width,)`; starts at 1.
    pub running_var: Vector<D>,
}

walk_params!(BatchNorm { params: [weight, bias], buffers: [running_mean, running_var], layers: [] });

impl<D: Backend> BatchNorm<D> {
    /// A layer over `width` features. It draws nothing at random.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn new(device: &D, width: usize) -> Result<Self> {
        let vector = |value| init::constant(device, (width,), value);
        Ok(Self { weight: vector(1.0)?, bias: vector(0.0)?, running_mean: vector(0.0)?, running_var: vector(1.0)? })
    }

    /// By the running moments: `(rows, width)` to the same shape.
    ///
    /// # Errors
    /// An x of another width.
    pub fn forward<T: Tape<f32, D>>(&self, x: Matrix<D, T>) -> Result<Matrix<D, T>> {
        D::standardize(x, &self.running_mean, &self.running_var, &self.weight, &self.bias, EPSILON)
    }

    /// By the moments of this batch, which also move the running ones: `(rows, width)` to the same shape.
    ///
    /// # Errors
    /// An x of another width, or of a single row, which has no variance.
    pub fn forward_training<T: Tape<f32, D>>(&mut self, x: Matrix<D, T>) -> Result<Matrix<D, T>> {
        let rows = x.shape().0;
        if rows < 2 {
            return Err(Error::config(format!(
                "batch_norm: a batch of {rows} has no variance to train on; take at least 2 rows per batch"
            )));
        }
        let (y, moments) = D::batch_norm(x, &self.weight, &self.bias, EPSILON)?;
        let unbiased = rows as f32 / (rows - 1) as f32;
        move_towards(&mut self.running_mean, moments.mean.iter().copied());
        move_towards(&mut self.running_var, moments.variance.iter().map(|v| v * unbiased));
        Ok(y)
    }
}

/// `running = (1 - MOMENTUM) running + MOMENTUM batch`. The tensor keeps its identity.
fn move_towards<D: Backend>(running: &mut Vector<D>, batch: impl Iterator<Item = f32>) {
    let moved: Vec<f32> =
        running.as_vec().into_iter().zip(batch).map(|(old, new)| old + MOMENTUM * (new - old)).collect();
    running.copy_from(&moved);
}
