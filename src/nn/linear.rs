//! Linear layers: over dense rows, and over sparse counts.

use super::{Backend, Matrix, Vector, init, walk_params};
use crate::{Result, data::Counts};
use dfdx::prelude::Tape;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// A dense layer: `y = x W + b`.
///
/// x `(rows, in)`, W `(in, out)`, b `(out,)`, y `(rows, out)`. Weight and bias start uniform in
/// `[-1/sqrt(in), 1/sqrt(in)]`, which is what PyTorch's `nn.Linear` does: He et al. 2015, *Delving Deep into
/// Rectifiers*, with the slope sqrt(5).
///
/// ```
/// use genailab::{dfdx::prelude::*, nn::Linear};
/// use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
///
/// let dev = Cpu::default();
/// let layer = Linear::new(&dev, 3, 2, &mut ChaCha8Rng::seed_from_u64(0))?;
/// let x = dev.zeros_like(&(4, 3)); // (rows, in)
/// let y = layer.forward(x)?;
/// assert_eq!(*y.shape(), (4, 2)); // (rows, out)
/// # Ok::<(), genailab::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Linear<D: Backend> {
    /// W, `(in, out)`.
    pub weight: Matrix<D>,
    /// b, `(out,)`.
    pub bias: Vector<D>,
}

walk_params!(Linear { params: [weight, bias], buffers: [], layers: [] });

impl<D: Backend> Linear<D> {
    /// A layer from `inputs` to `outputs` features.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn new(device: &D, inputs: usize, outputs: usize, rng: &mut ChaCha8Rng) -> Result<Self> {
        let bound = init::kaiming_bound(inputs);
        Ok(Self {
            weight: init::uniform(device, (inputs, outputs), bound, rng)?,
            bias: init::uniform(device, (outputs,), bound, rng)?,
        })
    }

    /// `x W + b`: `(rows, in)` to `(rows, out)`.
    ///
    /// # Errors
    /// An x of another width.
    pub fn forward<T: Tape<f32, D>>(&self, x: Matrix<D, T>) -> Result<Matrix<D, T>> {
        D::linear(x, &self.weight, &self.bias)
    }
}

/// The first layer over counts: `y = log1p(x) W + b` for a sparse x.
///
/// x are raw counts `(cells, genes)` in CSR, W `(genes, out)`, b `(out,)`, y `(cells, out)`. Single-cell counts are
/// 5-20 % dense; the product touches only the rows of W whose gene was seen, and the gradient likewise. No gradient is
/// taken of the counts. Weight and bias start as those of [`Linear`](super::Linear).
///
/// ```
/// use genailab::{data::Counts, dfdx::prelude::*, nn::SparseLinear};
/// use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
/// use std::sync::Arc;
///
/// let layer = SparseLinear::new(&Cpu::default(), 3, 2, &mut ChaCha8Rng::seed_from_u64(0))?;
/// let counts = Arc::new(Counts::new(3, vec![0, 1, 3], vec![2, 0, 1], vec![5.0, 1.0, 7.0])?); // two cells
/// let y = layer.forward(&counts, NoneTape)?;
/// assert_eq!(*y.shape(), (2, 2)); // (cells, out)
/// # Ok::<(), genailab::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SparseLinear<D: Backend> {
    /// W, `(genes, out)`.
    pub weight: Matrix<D>,
    /// b, `(out,)`.
    pub bias: Vector<D>,
}

walk_params!(SparseLinear { params: [weight, bias], buffers: [], layers: [] });

impl<D: Backend> SparseLinear<D> {
    /// A layer from `genes` counts to `outputs` features.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn new(device: &D, genes: usize, outputs: usize, rng: &mut ChaCha8Rng) -> Result<Self> {
        let bound = init::kaiming_bound(genes);
        Ok(Self {
            weight: init::uniform(device, (genes, outputs), bound, rng)?,
            bias: init::uniform(device, (outputs,), bound, rng)?,
        })
    }

    /// `log1p(x) W + b`: `(cells, genes)` to `(cells, out)`; the tape of a forward pass starts here.
    ///
    /// # Errors
    /// Counts of another number of genes.
    pub fn forward<T: Tape<f32, D>>(&self, x: &Arc<Counts>, tape: T) -> Result<Matrix<D, T>> {
        D::sparse_linear(x, &self.weight, &self.bias, tape)
    }
}
