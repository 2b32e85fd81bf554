//! `y = (1 + gamma) * x + beta` ; on the CPU, one task per set.
//!
//! Backward: `dx = (1 + gamma) dy`, and over the rows of each set `dgamma = sum x dy`, `dbeta = sum dy`.

use super::{Matrix, RowSets, rows::check_sets};
use crate::{
    Error, Result,
    nn::{raw, simd::dispatch},
};
use dfdx::prelude::{Cpu, HasShape, PutTape, Tape};
use rayon::prelude::*;

/// See [`TokenOps::film`](crate::nn::Backend::film).
pub(crate) fn film<T: Tape<f32, Cpu>>(
    x: Matrix<Cpu, T>,
    gamma_beta: Matrix<Cpu, T>,
    sets: &RowSets,
) -> Result<Matrix<Cpu, T>> {
    check_film(*x.shape(), *gamma_beta.shape(), sets)?;
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

fn check_film(x: (usize, usize), gamma_beta: (usize, usize), sets: &RowSets) -> Result<()> {
    if gamma_beta != (sets.len(), 2 * x.1) {
        return Err(Error::shape("film of x and gamma with beta", x, gamma_beta));
    }
    check_sets("film", x.0, sets)
}

/// Composed of dfdx's own operations: for any device, and the oracle of the CPU's kernel.
pub mod composed {
    use super::*;
    use crate::nn::ops::failed;
    use crate::nn::ops::rows::composed::take_rows;
    use dfdx::{prelude::*, tensor_ops::Device};

    /// `(1 + gamma) * x + beta`, each row with the gamma and beta of its set.
    pub fn film<D: Device<f32>, T: Tape<f32, D>>(
        x: Matrix<D, T>,
        gamma_beta: Matrix<D, T>,
        sets: &RowSets,
    ) -> Result<Matrix<D, T>> {
        check_film(*x.shape(), *gamma_beta.shape(), sets)?;
        let (rows, width) = *x.shape();
        let gamma_beta = take_rows(gamma_beta, &sets.owners())?; // (rows, 2 width)
        let run = || -> Result<Matrix<D, T>, D::Err> {
            let gamma = gamma_beta.with_empty_tape().try_slice((0..rows, 0..width))?;
            let beta = gamma_beta.try_slice((0..rows, width..2 * width))?;
            gamma.try_add(1.0)?.try_mul(x)?.try_add(beta)
        };
        run().map_err(failed("film"))
    }
}
