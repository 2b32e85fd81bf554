//! The first layer over counts: `y = log1p(x) W + b` for a sparse x.
//!
//! x are raw counts `(cells, genes)` in CSR, W `(genes, out)`, b `(out,)`, y `(cells, out)`. Single-cell counts are
//! 5-20 % dense; the product touches only the rows of W whose gene was seen, and the gradient likewise. No gradient is
//! taken of the counts. Weight and bias start as those of [`Linear`](super::Linear).
//!
//! ```
//! use genailab::{data::Counts, dfdx::prelude::*, nn::SparseLinear};
//! use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
//! use std::sync::Arc;
//!
//! let layer = SparseLinear::new(&Cpu::default(), 3, 2, &mut ChaCha8Rng::seed_from_u64(0))?;
//! let counts = Arc::new(Counts::new(3, vec![0, 1, 3], vec![2, 0, 1], vec![5.0, 1.0, 7.0])?); // two cells
//! let y = layer.forward(&counts, NoneTape)?;
//! assert_eq!(*y.shape(), (2, 2)); // (cells, out)
//! # Ok::<(), genailab::Error>(())
//! ```

use super::{Backend, Matrix, Vector, init, walk_params};
use crate::{Result, data::Counts};
use dfdx::prelude::Tape;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// `y = log1p(x) W + b` for sparse counts x.
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
