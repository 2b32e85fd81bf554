//! The operations on sets of tokens that depend on the device: attention, pooling, FiLM, Fourier features, row look-up.
//!
//! The default methods of [`TokenOps`] compose dfdx's own operations; the CPU has fused ones. Every operation checks the
//! shapes of its arguments and returns an error of kind [`Shape`](crate::ErrorKind::Shape) that names it and the shapes.

use super::{AttentionSpec, Backend, Matrix, RowSets, composed, fused};
use crate::{Error, Result};
use dfdx::{
    prelude::{Cpu, HasShape, Tape},
    tensor_ops::Device,
};
use std::sync::Arc;

/// Operations on rows that form sets. A part of [`Backend`].
pub trait TokenOps: Device<f32> {
    /// Scaled dot-product attention of each head: q `(queries, width)`; kv `(keys, 2 width)`, keys in the first half of
    /// the columns and values in the second; to `(queries, width)`. See [`MultiHeadAttention`](super::MultiHeadAttention).
    ///
    /// # Errors
    /// Shapes that do not fit; a device that fails.
    fn attention<T: Tape<f32, Self>>(
        q: Matrix<Self, T>,
        kv: Matrix<Self, T>,
        spec: &AttentionSpec,
    ) -> Result<Matrix<Self, T>>
    where
        Self: Backend,
    {
        check_attention(*q.shape(), *kv.shape(), spec)?;
        composed::tokens::attention(q, kv, spec)
    }

    /// Row r of the result is row `rows[r]` of x; a row may be taken many times.
    ///
    /// # Errors
    /// A row that x does not have; a device that fails.
    fn take_rows<T: Tape<f32, Self>>(x: Matrix<Self, T>, rows: &Arc<[u32]>) -> Result<Matrix<Self, T>>
    where
        Self: Backend,
    {
        check_rows(*x.shape(), rows)?;
        composed::tokens::take_rows(x, rows)
    }
}

impl TokenOps for Cpu {
    fn attention<T: Tape<f32, Self>>(
        q: Matrix<Self, T>,
        kv: Matrix<Self, T>,
        spec: &AttentionSpec,
    ) -> Result<Matrix<Self, T>> {
        check_attention(*q.shape(), *kv.shape(), spec)?;
        fused::attention::attention(q, kv, spec)
    }

    fn take_rows<T: Tape<f32, Self>>(x: Matrix<Self, T>, rows: &Arc<[u32]>) -> Result<Matrix<Self, T>> {
        check_rows(*x.shape(), rows)?;
        fused::rows::take_rows(x, rows)
    }
}

#[cfg(feature = "cuda")]
impl TokenOps for dfdx::prelude::Cuda {}

/// q `(queries, width)`, kv `(keys, 2 width)`, and sets over them.
fn check_attention(q: (usize, usize), kv: (usize, usize), spec: &AttentionSpec) -> Result<()> {
    if kv.1 != 2 * q.1 {
        return Err(Error::shape("attention of queries and keys with values", q, kv));
    }
    if spec.heads == 0 || !q.1.is_multiple_of(spec.heads) {
        return Err(Error::config(format!("attention: {} heads do not divide a width of {}", spec.heads, q.1)));
    }
    check_sets("attention: queries", q.0, &spec.queries)?;
    check_sets("attention: keys", kv.0, &spec.keys)?;
    if spec.queries.len() != spec.keys.len() {
        let (queries, keys) = (spec.queries.len(), spec.keys.len());
        return Err(Error::config(format!("attention: {queries} sets of queries, but {keys} sets of keys")));
    }
    Ok(())
}

/// The sets divide all rows.
pub(super) fn check_sets(operation: &str, rows: usize, sets: &RowSets) -> Result<()> {
    if sets.rows() == rows {
        return Ok(());
    }
    Err(Error::config(format!("{operation}: the sets have {} rows in all, the matrix {rows}", sets.rows())))
}

fn check_rows(x: (usize, usize), rows: &[u32]) -> Result<()> {
    match rows.iter().max() {
        Some(&row) if row as usize >= x.0 => {
            Err(Error::config(format!("take_rows: row {row} is asked for, but there are {}", x.0)))
        }
        _ => Ok(()),
    }
}
