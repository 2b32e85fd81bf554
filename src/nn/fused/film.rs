//! `y = (1 + gamma) * x + beta` on the CPU, a set a task.
//!
//! Backward: `dx = (1 + gamma) dy`, and over the rows of each set `dgamma = sum x dy`, `dbeta = sum dy`.

use crate::{
    Result,
    nn::{Matrix, RowSets, raw, simd::dispatch},
};
use dfdx::prelude::{Cpu, HasShape, PutTape, Tape};
use rayon::prelude::*;

/// See [`TokenOps::film`](crate::nn::TokenOps::film); the shapes are checked there.
pub(crate) fn film<T: Tape<f32, Cpu>>(
    x: Matrix<Cpu, T>,
    gamma_beta: Matrix<Cpu, T>,
    sets: &RowSets,
) -> Result<Matrix<Cpu, T>> {
    let (x, tape) = super::input("film", x)?;
    let (gamma_beta, other) = super::input("film", gamma_beta)?;
    let mut tape = tape.merge(other);
    let shape @ (rows, width) = *x.shape();
    let mut y = vec![0.0; rows * width];
    {
        let (x, gamma_beta) = (raw::slice(&x), raw::slice(&gamma_beta));
        let tasks = split_sets(&mut y, sets, width).into_par_iter().zip(gamma_beta.par_chunks_exact(2 * width.max(1)));
        tasks.for_each(|((start, y), gamma_beta)| {
            let (gamma, beta) = gamma_beta.split_at(width);
            dispatch!(for (y, x) in y.chunks_exact_mut(width).zip(x[start..].chunks_exact(width)) {
                for ((y, x), (gamma, beta)) in y.iter_mut().zip(x).zip(gamma.iter().zip(beta)) {
                    *y = (1.0 + gamma) * x + beta;
                }
            });
        });
    }
    let y = super::tensor("film", y, shape, x.device())?;
    if T::OWNS_TAPE {
        let (y, sets) = (y.ghost(), sets.clone());
        tape.add_backward_op(move |grads| {
            let dy = std::mem::take(&mut **grads.get_or_alloc_mut(&y)?);
            // Both gradients are written at once: take one out of the store too.
            let mut dx = std::mem::take(&mut **grads.get_or_alloc_mut(&x)?);
            let d_gamma_beta = grads.get_or_alloc_mut(&gamma_beta)?;
            if width > 0 {
                let (x, gamma_beta) = (raw::slice(&x), raw::slice(&gamma_beta));
                let conditions = gamma_beta.par_chunks_exact(2 * width);
                split_sets(&mut dx, &sets, width)
                    .into_par_iter()
                    .zip(conditions.zip(d_gamma_beta.par_chunks_exact_mut(2 * width)))
                    .for_each(|((start, dx), (gamma_beta, gradient))| {
                        let (dgamma, dbeta) = gradient.split_at_mut(width);
                        let rows = x[start..].chunks_exact(width).zip(dy[start..].chunks_exact(width));
                        for (dx, (x, dy)) in dx.chunks_exact_mut(width).zip(rows) {
                            dispatch!(backward_row(dx, dgamma, dbeta, x, dy, gamma_beta));
                        }
                    });
            }
            **grads.get_or_alloc_mut(&x)? = dx;
            **grads.get_or_alloc_mut(&y)? = dy;
            Ok(())
        });
    }
    Ok(y.put_tape(tape))
}

/// Adds to the three gradients.
#[inline(always)]
fn backward_row(dx: &mut [f32], dgamma: &mut [f32], dbeta: &mut [f32], x: &[f32], dy: &[f32], gamma_beta: &[f32]) {
    let gradients = dx.iter_mut().zip(dgamma.iter_mut().zip(dbeta));
    for ((dx, (dgamma, dbeta)), ((x, dy), gamma)) in gradients.zip(x.iter().zip(dy).zip(gamma_beta)) {
        *dx += (1.0 + gamma) * dy;
        *dgamma += x * dy;
        *dbeta += dy;
    }
}

/// The elements of each set, and where they start.
fn split_sets<'a>(values: &'a mut [f32], sets: &RowSets, width: usize) -> Vec<(usize, &'a mut [f32])> {
    let pieces = super::pieces(values, sets.ranges().map(|rows| rows.len() * width));
    sets.ranges().map(|rows| rows.start * width).zip(pieces).collect()
}
