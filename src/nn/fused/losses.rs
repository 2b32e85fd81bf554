//! Losses of predicted embeddings on the CPU: one pass forward, and one backward that computes the errors again.

use super::vmath::LANES;
use crate::{
    Result,
    nn::{EmbeddingLoss, Matrix, Scalar, raw, simd::dispatch},
};
use dfdx::prelude::{Cpu, HasShape, PutTape, Tape};
use rayon::prelude::*;

/// Rows that one task takes; sums run block by block, so that they do not depend on the number of threads.
const ROW_BLOCK: usize = 32;
/// Smallest norm of the cosine; PyTorch's default.
pub(crate) const SMALLEST_NORM: f32 = 1e-8;

/// See [`EmbeddingLoss`]; the shapes are checked by the caller.
pub(crate) fn embedding_loss<T: Tape<f32, Cpu>>(
    prediction: Matrix<Cpu, T>,
    target: &Matrix<Cpu>,
    loss: EmbeddingLoss,
) -> Result<Scalar<Cpu, T>> {
    let (prediction, mut tape) = super::input("loss", prediction)?;
    let target = super::weight("loss", target, &mut tape)?;
    let (rows, width) = *prediction.shape();
    let count = if loss == EmbeddingLoss::Cosine { rows } else { rows * width } as f32;
    let total: f64 = {
        let (p, t) = (raw::slice(&prediction), raw::slice(&target));
        let blocks = p.par_chunks(ROW_BLOCK * width).zip(t.par_chunks(ROW_BLOCK * width));
        let sums: Vec<f64> = blocks.map(|(p, t)| dispatch!(block_loss(loss, p, t, width))).collect();
        sums.iter().sum()
    };
    let value = super::tensor("loss", vec![(total / f64::from(count)) as f32], (), prediction.device())?;
    if T::OWNS_TAPE {
        let value = value.ghost();
        tape.add_backward_op(move |grads| {
            let upstream = grads.get_or_alloc_mut(&value)?[0] / count;
            let dp = grads.get_or_alloc_mut(&prediction)?;
            let (p, t) = (raw::slice(&prediction), raw::slice(&target));
            dp.par_chunks_mut(ROW_BLOCK * width)
                .zip(p.par_chunks(ROW_BLOCK * width).zip(t.par_chunks(ROW_BLOCK * width)))
                .for_each(|(dp, (p, t))| dispatch!(block_gradient(loss, dp, p, t, width, upstream)));
            Ok(())
        });
    }
    Ok(value.put_tape(tape))
}

#[inline(always)]
fn block_loss(loss: EmbeddingLoss, p: &[f32], t: &[f32], width: usize) -> f64 {
    match loss {
        EmbeddingLoss::L2 => sum_of(p, t, |e| e * e),
        EmbeddingLoss::SmoothL1 { beta } => sum_of(p, t, |e| {
            let size = e.abs();
            if size < beta { 0.5 * e * e / beta } else { size - 0.5 * beta }
        }),
        EmbeddingLoss::Cosine => {
            let cosines = p.chunks_exact(width).zip(t.chunks_exact(width)).map(|(p, t)| {
                let (dot, p_norm, t_norm) = products(p, t);
                1.0 - f64::from(dot / (p_norm * t_norm))
            });
            cosines.sum()
        }
    }
}

/// Adds `upstream` times the derivative of each element.
#[inline(always)]
fn block_gradient(loss: EmbeddingLoss, dp: &mut [f32], p: &[f32], t: &[f32], width: usize, upstream: f32) {
    let errors = dp.iter_mut().zip(p.iter().zip(t)).map(|(dp, (p, t))| (dp, p - t));
    match loss {
        EmbeddingLoss::L2 => errors.for_each(|(dp, e)| *dp += 2.0 * upstream * e),
        EmbeddingLoss::SmoothL1 { beta } => {
            errors.for_each(|(dp, e)| *dp += upstream * if e.abs() < beta { e / beta } else { e.signum() });
        }
        EmbeddingLoss::Cosine => {
            for (dp, (p, t)) in dp.chunks_exact_mut(width).zip(p.chunks_exact(width).zip(t.chunks_exact(width))) {
                let (dot, p_norm, t_norm) = products(p, t);
                let along_t = upstream / (p_norm * t_norm);
                // A norm at its bound does not change with p.
                let along_p = if p_norm > SMALLEST_NORM { along_t * dot / (p_norm * p_norm) } else { 0.0 };
                for (dp, (p, t)) in dp.iter_mut().zip(p.iter().zip(t)) {
                    *dp += along_p * p - along_t * t;
                }
            }
        }
    }
}

/// Sum of f(p - t), in f64 in lanes.
#[inline(always)]
fn sum_of(p: &[f32], t: &[f32], f: impl Fn(f32) -> f32) -> f64 {
    let mut lanes = [0.0f64; LANES];
    for (p, t) in p.chunks(LANES).zip(t.chunks(LANES)) {
        for (lane, (p, t)) in lanes.iter_mut().zip(p.iter().zip(t)) {
            *lane += f64::from(f(p - t));
        }
    }
    lanes.iter().sum()
}

/// p.t, and both norms, at least [`SMALLEST_NORM`].
#[inline(always)]
fn products(p: &[f32], t: &[f32]) -> (f32, f32, f32) {
    let mut lanes = [[0.0f64; LANES]; 3];
    for (p, t) in p.chunks(LANES).zip(t.chunks(LANES)) {
        for (i, (&p, &t)) in p.iter().zip(t).enumerate() {
            let (p, t) = (f64::from(p), f64::from(t));
            lanes[0][i] += p * t;
            lanes[1][i] += p * p;
            lanes[2][i] += t * t;
        }
    }
    let [dot, p, t] = lanes.map(|lanes| lanes.iter().sum::<f64>());
    (dot as f32, (p.sqrt() as f32).max(SMALLEST_NORM), (t.sqrt() as f32).max(SMALLEST_NORM))
}
