//! How the rows of a matrix divide into sets: a batch of token sets of any sizes, without padding.
//!
//! A batch of sets of d-wide tokens is one matrix `(sum of sizes, d)`, the rows of the first set first; this type says
//! where each set starts. [`Linear`](super::Linear) and [`LayerNorm`](super::LayerNorm) work on the rows as they are,
//! and only what mixes tokens (attention, pooling, FiLM) asks which rows belong together. A set may be empty: a control
//! has no perturbed gene.
//!
//! ```
//! use genailab::nn::RowSets;
//!
//! let sets = RowSets::from_sizes([3, 0, 2]);
//! assert_eq!((sets.len(), sets.rows(), sets.longest()), (3, 5, 3));
//! assert_eq!(sets.range(2), 3..5);
//! assert_eq!(RowSets::uniform(4, 64).size(1), 64); // 4 sets of 64 tokens
//! ```

use std::{ops::Range, sync::Arc};

/// Sizes of consecutive sets of rows. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowSets {
    offsets: Arc<[usize]>,
}

impl RowSets {
    /// Sets of these sizes, one after the other.
    pub fn from_sizes(sizes: impl IntoIterator<Item = usize>) -> Self {
        let ends = sizes.into_iter().scan(0, |end, size| {
            *end += size;
            Some(*end)
        });
        Self { offsets: std::iter::once(0).chain(ends).collect() }
    }

    /// `sets` sets of `size` rows each.
    pub fn uniform(sets: usize, size: usize) -> Self {
        Self { offsets: (0..=sets).map(|set| set * size).collect() }
    }

    /// Number of sets.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there are no sets.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of rows of all sets.
    pub fn rows(&self) -> usize {
        self.offsets[self.len()]
    }

    /// The rows of one set.
    pub fn range(&self, set: usize) -> Range<usize> {
        self.offsets[set]..self.offsets[set + 1]
    }

    /// The rows of each set.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = Range<usize>> + '_ {
        self.offsets.windows(2).map(|ends| ends[0]..ends[1])
    }

    /// Number of rows of one set.
    pub fn size(&self, set: usize) -> usize {
        self.range(set).len()
    }

    /// Number of rows of the largest set; 0 if there is none.
    pub fn longest(&self) -> usize {
        self.ranges().map(|range| range.len()).max().unwrap_or(0)
    }

    /// The set of each row, `(rows,)`.
    pub fn owners(&self) -> Vec<u32> {
        self.ranges().enumerate().flat_map(|(set, range)| range.map(move |_| set as u32)).collect()
    }
}
