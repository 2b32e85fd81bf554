//! Losses of predicted embeddings on the CPU: one pass forward, and one backward that computes the errors again.

use super::{Matrix, Scalar, vmath::LANES};
use crate::{
    Error, Result,
    nn::{raw, simd::dispatch},
};
use dfdx::prelude::{Cpu, HasShape, PutTape, Tape};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Which loss between predicted and target embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum EmbeddingLoss {
    /// Quadratic up to an error of `beta`, linear beyond.
    SmoothL1 {
        /// Above 0.
        beta: f32,
    },
    /// Mean squared error.
    L2,
    /// One minus the cosine of the angle.
    Cosine,
}

impl Default for EmbeddingLoss {
    /// I-JEPA's: smooth L1 with beta 1.
    fn default() -> Self {
        Self::SmoothL1 { beta: 1.0 }
    }
}

impl EmbeddingLoss {
    /// Shapes are the same and not empty, beta is positive.
    pub(super) fn check(self, prediction: (usize, usize), target: (usize, usize)) -> Result<()> {
        if prediction != target {
            return Err(Error::shape("loss of predictions and targets", prediction, target));
        }
        if prediction.0 * prediction.1 == 0 {
            return Err(Error::config(format!("loss: there is nothing to compare in a {prediction:?} matrix")));
        }
        match self {
            Self::SmoothL1 { beta } if !(beta > 0.0 && beta.is_finite()) => {
                Err(Error::config(format!("smooth L1: beta is {beta}; it must be a positive number")))
            }
            _ => Ok(()),
        }
    }
}

/// Rows that one task takes; sums run block by block, so that they do not depend on the number of threads.
const ROW_BLOCK: usize = 32;
/// Smallest norm of the cosine; PyTorch's default.
pub(crate) const SMALLEST_NORM: f32 = 1e-8;

/// See [`EmbeddingLoss`].
pub(crate) fn embedding_loss<T: Tape<f32, Cpu>>(
    prediction: Matrix<Cpu, T>,
    target: &Matrix<Cpu>,
    loss: EmbeddingLoss,
) -> Result<Scalar<Cpu, T>> {
    loss.check(*prediction.shape(), *target.shape())?;
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

/// Composed of dfdx's own operations: for any device, and the oracle of the CPU's kernel.
pub mod composed {
    use super::*;
    use crate::nn::ops::{Vector, failed};
    use dfdx::{prelude::*, tensor_ops::Device};

    /// See [`EmbeddingLoss`].
    pub fn embedding_loss<D: Device<f32>, T: Tape<f32, D>>(
        prediction: Matrix<D, T>,
        target: &Matrix<D>,
        loss: EmbeddingLoss,
    ) -> Result<Scalar<D, T>> {
        loss.check(*prediction.shape(), *target.shape())?;
        let run = || -> Result<Scalar<D, T>, D::Err> {
            match loss {
                EmbeddingLoss::L2 => prediction.try_sub(target.clone())?.try_square()?.try_mean(),
                // beta times dfdx's smooth L1 is its Huber error
                EmbeddingLoss::SmoothL1 { beta } => {
                    prediction.try_huber_error(target.clone(), beta)?.try_mean()?.try_div(beta)
                }
                EmbeddingLoss::Cosine => {
                    let norm = |x: Matrix<D, T>| -> Result<Vector<D, T>, D::Err> {
                        let square: Vector<D, T> = x.try_square()?.try_sum::<_, Axis<1>>()?;
                        square.try_clamp(SMALLEST_NORM * SMALLEST_NORM, f32::MAX)?.try_sqrt()
                    };
                    let norms = norm(prediction.with_empty_tape())?.try_mul(norm(target.retaped::<T>())?)?;
                    let dots: Vector<D, T> = prediction.try_mul(target.clone())?.try_sum::<_, Axis<1>>()?;
                    dots.try_div(norms)?.try_mean()?.try_negate()?.try_add(1.0)
                }
            }
        };
        run().map_err(failed("loss"))
    }
}
