//! Learned vectors, looked up by index or summed over a set of indices.
//!
//! W `(entries, width)`; row r of the result is `sum over i in set_r of W[i]`, `(sets, width)`. A perturbation is a set
//! of genes: a double gets the sum of its two genes' vectors, so a pair that was never seen together still has one. The
//! empty set, the control, is the zero vector: the vectors are effects relative to it, and it has no weight of its own.
//! Vectors start from N(0, 1), as PyTorch's `nn.Embedding`.
//!
//! ```
//! use genailab::{dfdx::prelude::*, nn::{Embedding, IndexSets}};
//! use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
//! use std::sync::Arc;
//!
//! let table = Embedding::new(&Cpu::default(), 5, 2, &mut ChaCha8Rng::seed_from_u64(0))?;
//! let sets = Arc::new(IndexSets::from_sets([&[][..], &[3], &[3, 1]])); // control, a single, a double
//! let y = table.forward(&sets, NoneTape)?; // (sets, width)
//! let w = &table.weight;
//! assert_eq!((y[[0, 0]], y[[1, 0]], y[[2, 0]]), (0.0, w[[3, 0]], w[[1, 0]] + w[[3, 0]]));
//! # Ok::<(), genailab::Error>(())
//! ```

use super::{Backend, IndexSets, Matrix, init, walk_params};
use crate::Result;
use dfdx::prelude::Tape;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// A table of learned vectors.
#[derive(Debug, Clone)]
pub struct Embedding<D: Backend> {
    /// One vector per row, `(entries, width)`.
    pub weight: Matrix<D>,
}

walk_params!(Embedding { params: [weight], buffers: [], layers: [] });

impl<D: Backend> Embedding<D> {
    /// `entries` vectors of `width` numbers.
    ///
    /// # Errors
    /// A device without memory for it.
    pub fn new(device: &D, entries: usize, width: usize, rng: &mut ChaCha8Rng) -> Result<Self> {
        Ok(Self { weight: init::normal(device, (entries, width), 1.0, rng)? })
    }

    /// The sum of each set's vectors, `(sets, width)`; starts a tape. See [`IndexSets::from_indices`] for a plain
    /// look-up.
    ///
    /// # Errors
    /// An index that is not below the number of entries.
    pub fn forward<T: Tape<f32, D>>(&self, sets: &Arc<IndexSets>, tape: T) -> Result<Matrix<D, T>> {
        D::embedding_sum(&self.weight, sets, tape)
    }
}
