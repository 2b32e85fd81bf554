//! Rows taken by number on the CPU; backward, each row's gradient is added where it came from.

use crate::{
    Result,
    nn::{Matrix, raw, simd::dispatch},
};
use dfdx::prelude::{Cpu, HasShape, PutTape, Tape};
use std::sync::Arc;

/// See [`TokenOps::take_rows`](crate::nn::TokenOps::take_rows); the rows are checked there.
pub(crate) fn take_rows<T: Tape<f32, Cpu>>(x: Matrix<Cpu, T>, rows: &Arc<[u32]>) -> Result<Matrix<Cpu, T>> {
    let (x, mut tape) = super::input("take_rows", x)?;
    let width = x.shape().1;
    let mut y = Vec::with_capacity(rows.len() * width);
    let values = raw::slice(&x);
    rows.iter().for_each(|&row| y.extend_from_slice(&values[row as usize * width..][..width]));
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
