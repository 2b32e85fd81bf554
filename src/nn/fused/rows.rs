//! Rows taken by number, added and averaged, on the CPU; backward, each row's gradient is added where it came from.

use crate::{
    Result,
    nn::{Matrix, RowSets, raw, simd::dispatch},
};
use dfdx::prelude::{Cpu, HasShape, PutTape, Tape};
use rayon::prelude::*;
use std::sync::Arc;

/// Rows that one task copies, or more.
const ROW_BLOCK: usize = 64;

/// See [`TokenOps::take_rows`](crate::nn::TokenOps::take_rows); the rows are checked there.
pub(crate) fn take_rows<T: Tape<f32, Cpu>>(x: Matrix<Cpu, T>, rows: &Arc<[u32]>) -> Result<Matrix<Cpu, T>> {
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

/// See [`TokenOps::set_mean`](crate::nn::TokenOps::set_mean); the sets are checked there.
pub(crate) fn set_mean<T: Tape<f32, Cpu>>(x: Matrix<Cpu, T>, sets: &RowSets) -> Result<Matrix<Cpu, T>> {
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

/// See [`TokenOps::residual`](crate::nn::TokenOps::residual); the shapes are checked there.
pub(crate) fn residual<T: Tape<f32, Cpu>>(update: Matrix<Cpu, T>, x: Matrix<Cpu>) -> Result<Matrix<Cpu, T>> {
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

/// `to += from`, `block` values a task.
fn add(to: &mut [f32], from: &[f32], block: usize) {
    to.par_chunks_mut(block).zip(from.par_chunks(block)).for_each(|(to, from)| {
        dispatch!(to.iter_mut().zip(from).for_each(|(to, from)| *to += from));
    });
}
