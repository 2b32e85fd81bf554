//! Rows taken by number, added and averaged, on the CPU; backward, each row's gradient is added where it came from.
//!
//! How the rows of a matrix divide into sets: a batch of token sets of any sizes, without padding.
//!
//! A batch of sets of d-wide tokens is one matrix `(sum of sizes, d)`, the rows of the first set first; this type says
//! where each set starts. [`Linear`](super::Linear) and [`LayerNorm`](super::LayerNorm) work on the rows as they are,
//! and only what mixes tokens (attention, pooling, FiLM) needs to know which rows belong together. A set may be empty: a control
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

use super::Matrix;
use crate::{
    Error, Result,
    nn::{raw, simd::dispatch},
};
use dfdx::prelude::{Cpu, HasShape, PutTape, Tape};
use rayon::prelude::*;
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

/// Fewest rows that one task copies.
const ROW_BLOCK: usize = 64;

/// See [`TokenOps::take_rows`](crate::nn::Backend::take_rows).
pub(crate) fn take_rows<T: Tape<f32, Cpu>>(x: Matrix<Cpu, T>, rows: &Arc<[u32]>) -> Result<Matrix<Cpu, T>> {
    check_rows(*x.shape(), rows)?;
    let (x, mut tape) = super::input("take_rows", x)?;
    let width = x.shape().1;
    let mut y = vec![0.0; rows.len() * width];
    let values = raw::slice(&x);
    // Without columns there is nothing to copy: no chunk at all.
    let copies = y.par_chunks_exact_mut(width.max(1)).zip(&**rows).with_min_len(ROW_BLOCK);
    copies.for_each(|(y, &row)| y.copy_from_slice(&values[row as usize * width..][..width]));
    drop(values);
    let y = super::tensor("take_rows", y, (rows.len(), width), x.device())?;
    if T::OWNS_TAPE {
        let (x, y, rows) = (x.ghost(), y.ghost(), Arc::clone(rows));
        tape.add_backward_op(move |grads| {
            let dy = std::mem::take(&mut **grads.get_or_alloc_mut(&y)?);
            let dx = grads.get_or_alloc_mut(&x)?;
            dispatch!(for (at, &row) in rows.iter().enumerate() {
                let dy = &dy[at * width..][..width];
                dx[row as usize * width..][..width].iter_mut().zip(dy).for_each(|(dx, dy)| *dx += dy);
            });
            **grads.get_or_alloc_mut(&y)? = dy;
            Ok(())
        });
    }
    Ok(y.put_tape(tape))
}

/// See [`TokenOps::set_mean`](crate::nn::Backend::set_mean).
pub(crate) fn set_mean<T: Tape<f32, Cpu>>(x: Matrix<Cpu, T>, sets: &RowSets) -> Result<Matrix<Cpu, T>> {
    check_sets("set_mean", x.shape().0, sets)?;
    let (x, mut tape) = super::input("set_mean", x)?;
    let shape @ (_, width) = (sets.len(), x.shape().1);
    let mut y = vec![0.0; shape.0 * width];
    let values = raw::slice(&x);
    if width > 0 {
        y.par_chunks_exact_mut(width).enumerate().for_each(|(set, y)| {
            let rows = sets.range(set);
            let share = 1.0 / rows.len() as f32; // of an empty set: not used
            dispatch!({
                for row in values[rows.start * width..rows.end * width].chunks_exact(width) {
                    y.iter_mut().zip(row).for_each(|(y, x)| *y += x * share);
                }
            });
        });
    }
    drop(values);
    let y = super::tensor("set_mean", y, shape, x.device())?;
    if T::OWNS_TAPE {
        let (x, y, sets) = (x.ghost(), y.ghost(), sets.clone());
        tape.add_backward_op(move |grads| {
            let dy = std::mem::take(&mut **grads.get_or_alloc_mut(&y)?);
            let dx = grads.get_or_alloc_mut(&x)?;
            for (set, rows) in sets.ranges().enumerate().filter(|_| width > 0) {
                let (dy, share) = (&dy[set * width..][..width], 1.0 / rows.len() as f32);
                for dx in dx[rows.start * width..rows.end * width].chunks_exact_mut(width) {
                    dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += dy * share);
                }
            }
            **grads.get_or_alloc_mut(&y)? = dy;
            Ok(())
        });
    }
    Ok(y.put_tape(tape))
}

/// See [`TokenOps::residual`](crate::nn::Backend::residual).
pub(crate) fn residual<T: Tape<f32, Cpu>>(update: Matrix<Cpu, T>, x: Matrix<Cpu>) -> Result<Matrix<Cpu, T>> {
    check_same(*update.shape(), *x.shape())?;
    /// Values that one task takes: 64 KiB.
    const BLOCK: usize = 1 << 14;
    let (update, mut tape) = super::input("residual", update)?;
    let x = super::weight("residual", &x, &mut tape)?;
    let mut y = raw::slice(&update).into_owned();
    let values = raw::slice(&x);
    y.par_chunks_mut(BLOCK).zip(values.par_chunks(BLOCK)).for_each(|(y, x)| {
        dispatch!(y.iter_mut().zip(x).for_each(|(y, x)| *y += x));
    });
    drop(values);
    let y = super::tensor("residual", y, *x.shape(), x.device())?;
    if T::OWNS_TAPE {
        let (update, x, y) = (update.ghost(), x.ghost(), y.ghost());
        tape.add_backward_op(move |grads| {
            let dy = std::mem::take(&mut **grads.get_or_alloc_mut(&y)?);
            add(grads.get_or_alloc_mut(&update)?, &dy, BLOCK);
            add(grads.get_or_alloc_mut(&x)?, &dy, BLOCK);
            **grads.get_or_alloc_mut(&y)? = dy;
            Ok(())
        });
    }
    Ok(y.put_tape(tape))
}

/// `to += from`, `block` values per task.
fn add(to: &mut [f32], from: &[f32], block: usize) {
    to.par_chunks_mut(block).zip(from.par_chunks(block)).for_each(|(to, from)| {
        dispatch!(to.iter_mut().zip(from).for_each(|(to, from)| *to += from));
    });
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
            Err(Error::config(format!("take_rows: there is no row {row}; the matrix has {} rows", x.0)))
        }
        _ => Ok(()),
    }
}

fn check_same(update: (usize, usize), x: (usize, usize)) -> Result<()> {
    if update == x { Ok(()) } else { Err(Error::shape("residual", update, x)) }
}

/// Composed of dfdx's own operations: for any device, and the oracle of the CPU's kernel.
pub mod composed {
    use super::*;
    use crate::nn::ops::failed;
    use dfdx::{prelude::*, tensor_ops::Device};

    /// Row r of the result is row `rows[r]` of x.
    pub fn take_rows<D: Device<f32>, T: Tape<f32, D>>(x: Matrix<D, T>, rows: &[u32]) -> Result<Matrix<D, T>> {
        check_rows(*x.shape(), rows)?;
        let rows: Vec<usize> = rows.iter().map(|&row| row as usize).collect();
        let index: Tensor<(usize,), usize, D> =
            x.device().try_tensor_from_vec(rows.clone(), (rows.len(),)).map_err(failed("take_rows"))?;
        x.try_gather::<(usize, usize), (usize,)>(index).map_err(failed("take_rows"))
    }

    /// The mean of each set's rows, as a product with a dense matrix of shares.
    pub fn set_mean<D: Device<f32>, T: Tape<f32, D>>(x: Matrix<D, T>, sets: &RowSets) -> Result<Matrix<D, T>> {
        check_sets("set_mean", x.shape().0, sets)?;
        let rows = x.shape().0;
        let mut shares = vec![0.0; sets.len() * rows];
        for (set, range) in sets.ranges().enumerate() {
            let share = 1.0 / range.len() as f32;
            shares[set * rows..][range].fill(share);
        }
        let run = || -> Result<Matrix<D, T>, D::Err> {
            let (x, tape) = x.split_tape();
            let shares = x.device().try_tensor_from_vec(shares, (sets.len(), rows))?;
            shares.put_tape(tape).try_matmul(x)
        };
        run().map_err(failed("set_mean"))
    }

    /// `x + update`.
    pub fn residual<D: Device<f32>, T: Tape<f32, D>>(update: Matrix<D, T>, x: Matrix<D>) -> Result<Matrix<D, T>> {
        check_same(*update.shape(), *x.shape())?;
        update.try_add(x.retaped::<T>()).map_err(failed("residual"))
    }
}
