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

use super::{Backend, Matrix, init, walk_params};
use crate::Result;
use dfdx::prelude::Tape;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// A batch of sets of indices, as offsets into one list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexSets {
    offsets: Vec<usize>,
    indices: Vec<u32>,
}

impl IndexSets {
    /// One set a row. An index that stands twice in a set counts once; the order within a set does not matter.
    pub fn from_sets<S: AsRef<[u32]>>(sets: impl IntoIterator<Item = S>) -> Self {
        let (mut offsets, mut indices) = (vec![0], Vec::new());
        for set in sets {
            let mut set = set.as_ref().to_vec();
            set.sort_unstable();
            set.dedup();
            indices.append(&mut set);
            offsets.push(indices.len());
        }
        Self { offsets, indices }
    }

    /// Sets of one index each: a plain look-up.
    pub fn from_indices(indices: Vec<u32>) -> Self {
        Self { offsets: (0..=indices.len()).collect(), indices }
    }

    /// Number of sets.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there are no sets.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The indices of one set, ascending.
    pub fn set(&self, row: usize) -> &[u32] {
        &self.indices[self.offsets[row]..self.offsets[row + 1]]
    }

    /// Where each set starts and ends in [`indices`](Self::indices): `len + 1` offsets.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// The indices of all sets, one after the other.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }
}

/// A table of learned vectors.
#[derive(Debug, Clone)]
pub struct Embedding<D: Backend> {
    /// One vector a row, `(entries, width)`.
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
