//! The operations on sets of tokens that depend on the device: attention, pooling, FiLM, Fourier features, row look-up.
//!
//! The default methods of [`TokenOps`] compose dfdx's own operations; the CPU has fused ones. Every operation checks the
//! shapes of its arguments and returns an error of kind [`Shape`](crate::ErrorKind::Shape) that names it and the shapes.

use super::{AttentionSpec, Backend, Matrix, RowSets, Vector, composed, fused};
use crate::{Error, Result};
use dfdx::{
    prelude::{Cpu, HasShape, Tape, TryAdd},
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

    /// The mean of each set's rows, 0 of an empty set: `(rows, width)` to `(sets, width)`.
    ///
    /// # Errors
    /// Sets that are not the rows of x; a device that fails.
    fn set_mean<T: Tape<f32, Self>>(x: Matrix<Self, T>, sets: &RowSets) -> Result<Matrix<Self, T>>
    where
        Self: Backend,
    {
        check_sets("set_mean", x.shape().0, sets)?;
        composed::tokens::set_mean(x, sets)
    }

    /// `(1 + gamma) * x + beta`, gamma and beta those of each row's set: x `(rows, width)`, gamma_beta
    /// `(sets, 2 width)` with gamma in the first half of the columns.
    ///
    /// # Errors
    /// Shapes that do not fit; a device that fails.
    fn film<T: Tape<f32, Self>>(
        x: Matrix<Self, T>,
        gamma_beta: Matrix<Self, T>,
        sets: &RowSets,
    ) -> Result<Matrix<Self, T>>
    where
        Self: Backend,
    {
        check_film(*x.shape(), *gamma_beta.shape(), sets)?;
        composed::tokens::film(x, gamma_beta, sets)
    }

    /// Sines, then cosines, of `2 pi x f` for each frequency f `(k,)`: x `(rows, 1)` to `(rows, 2 k)`.
    ///
    /// # Errors
    /// An x of more than one column; a device that fails.
    fn fourier<T: Tape<f32, Self>>(x: Matrix<Self, T>, frequencies: &Vector<Self>) -> Result<Matrix<Self, T>>
    where
        Self: Backend,
    {
        check_column(*x.shape())?;
        composed::tokens::fourier(x, frequencies)
    }

    /// `x + update`, where x went into the update and its tape came along with it.
    ///
    /// # Errors
    /// Shapes that differ; a device that fails.
    fn residual<T: Tape<f32, Self>>(update: Matrix<Self, T>, x: Matrix<Self>) -> Result<Matrix<Self, T>>
    where
        Self: Backend,
    {
        check_same(*update.shape(), *x.shape())?;
        update.try_add(x.retaped::<T>()).map_err(|e| Error::device("residual", e))
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

    fn set_mean<T: Tape<f32, Self>>(x: Matrix<Self, T>, sets: &RowSets) -> Result<Matrix<Self, T>> {
        check_sets("set_mean", x.shape().0, sets)?;
        fused::rows::set_mean(x, sets)
    }

    fn film<T: Tape<f32, Self>>(
        x: Matrix<Self, T>,
        gamma_beta: Matrix<Self, T>,
        sets: &RowSets,
    ) -> Result<Matrix<Self, T>> {
        check_film(*x.shape(), *gamma_beta.shape(), sets)?;
        fused::film::film(x, gamma_beta, sets)
    }

    fn fourier<T: Tape<f32, Self>>(x: Matrix<Self, T>, frequencies: &Vector<Self>) -> Result<Matrix<Self, T>> {
        check_column(*x.shape())?;
        fused::fourier::fourier(x, frequencies)
    }

    fn residual<T: Tape<f32, Self>>(update: Matrix<Self, T>, x: Matrix<Self>) -> Result<Matrix<Self, T>> {
        check_same(*update.shape(), *x.shape())?;
        fused::rows::residual(update, x)
    }
}

#[cfg(feature = "cuda")]
impl TokenOps for dfdx::prelude::Cuda {}

/// q `(queries, width)`, kv `(keys, 2 width)`, and sets over them.
fn check_attention(q: (usize, usize), kv: (usize, usize), spec: &AttentionSpec) -> Result<()> {
    if kv.1 != 2 * q.1 {
        return Err(Error::shape("attention of queries and keys with values", q, kv));
    }
    if spec.heads == 0 || q.1 == 0 || !q.1.is_multiple_of(spec.heads) {
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

fn check_film(x: (usize, usize), gamma_beta: (usize, usize), sets: &RowSets) -> Result<()> {
    if gamma_beta != (sets.len(), 2 * x.1) {
        return Err(Error::shape("film of x and gamma with beta", x, gamma_beta));
    }
    check_sets("film", x.0, sets)
}

fn check_column(x: (usize, usize)) -> Result<()> {
    if x.1 == 1 { Ok(()) } else { Err(Error::shape("fourier", x, (x.0, 1))) }
}

fn check_same(update: (usize, usize), x: (usize, usize)) -> Result<()> {
    if update == x { Ok(()) } else { Err(Error::shape("residual", update, x)) }
}

fn check_rows(x: (usize, usize), rows: &[u32]) -> Result<()> {
    match rows.iter().max() {
        Some(&row) if row as usize >= x.0 => {
            Err(Error::config(format!("take_rows: row {row} is asked for, but there are {}", x.0)))
        }
        _ => Ok(()),
    }
}
