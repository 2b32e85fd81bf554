//! From a set of tokens to one vector: attention pooling, and the plain mean.
//!
//! Attention pooling: one learned query attends to the normed tokens of each set, `y = A(query, LN(x))` (the pooling by
//! multi-head attention of Lee et al. 2019, *Set Transformer*, with one seed and without its feed-forward layers). Mean:
//! `y_s = 1/n_s sum over set s of x`. x `(rows, width)` to y `(sets, width)`; [`RowSets`] say which rows count, so that
//! there is no mask. The mean of an empty set is 0; the query of an empty set finds nothing, and y is the output bias.
//!
//! ```
//! use genailab::{dfdx::prelude::*, nn::{AttentionConfig, AttentionPool, RowSets, mean_pool}};
//! use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
//!
//! let (dev, sets) = (Cpu::default(), RowSets::from_sizes([2, 1]));
//! let x = dev.tensor_from_vec(vec![1.0, 0.0, 3.0, 4.0, 5.0, 6.0], (3, 2));
//! assert_eq!(mean_pool(x.clone(), &sets)?.as_vec(), [2.0, 2.0, 5.0, 6.0]);
//! let config = AttentionConfig { heads: 1, dropout: 0.0 };
//! let pool = AttentionPool::new(&dev, 2, config, &mut ChaCha8Rng::seed_from_u64(0))?;
//! assert_eq!(*pool.forward(x, &sets)?.shape(), (2, 2));
//! # Ok::<(), genailab::Error>(())
//! ```

use super::{
    AttentionConfig, Backend, LayerNorm, Matrix, MultiHeadAttention, RowSets, attention::Attend, init,
    set_encoder::repeat_rows, walk_params,
};
use crate::Result;
use dfdx::prelude::Tape;
use rand_chacha::ChaCha8Rng;

/// The mean of each set's rows: `(rows, width)` to `(sets, width)`; 0 of an empty set.
///
/// # Errors
/// Sets that are not the rows of x.
pub fn mean_pool<D: Backend, T: Tape<f32, D>>(x: Matrix<D, T>, sets: &RowSets) -> Result<Matrix<D, T>> {
    D::set_mean(x, sets)
}

/// One learned query that attends to each set.
#[derive(Debug, Clone)]
pub struct AttentionPool<D: Backend> {
    /// The query, `(1, width)`; starts from N(0, 1 / width).
    pub query: Matrix<D>,
    /// Of the tokens.
    pub norm: LayerNorm<D>,
    /// From the query to the tokens.
    pub attention: MultiHeadAttention<D>,
}

walk_params!(AttentionPool { params: [query], buffers: [], layers: [norm, attention] });

impl<D: Backend> AttentionPool<D> {
    /// A layer over tokens of `width` features.
    ///
    /// # Errors
    /// As [`MultiHeadAttention::new`].
    pub fn new(device: &D, width: usize, config: AttentionConfig, rng: &mut ChaCha8Rng) -> Result<Self> {
        Ok(Self {
            query: init::normal(device, (1, width), init::kaiming_bound(width), rng)?,
            norm: LayerNorm::new(device, width)?,
            attention: MultiHeadAttention::new(device, width, width, config, rng)?,
        })
    }

    /// At inference: `(rows, width)` to `(sets, width)`.
    ///
    /// # Errors
    /// An x of another width, sets that are not its rows.
    pub fn forward<T: Tape<f32, D>>(&self, x: Matrix<D, T>, sets: &RowSets) -> Result<Matrix<D, T>> {
        self.run(x, sets, Attend::Inference)
    }

    /// While training: attention weights are dropped.
    ///
    /// # Errors
    /// An x of another width, sets that are not its rows.
    pub fn forward_training<T: Tape<f32, D>>(
        &self,
        x: Matrix<D, T>,
        sets: &RowSets,
        rng: &mut ChaCha8Rng,
    ) -> Result<Matrix<D, T>> {
        self.run(x, sets, Attend::Training(rng))
    }

    fn run<T: Tape<f32, D>>(&self, x: Matrix<D, T>, sets: &RowSets, mode: Attend<'_>) -> Result<Matrix<D, T>> {
        let queries = repeat_rows(&self.query, sets.len())?;
        self.attention.run(queries, self.norm.forward(x)?, &RowSets::uniform(sets.len(), 1), sets, mode)
    }
}
