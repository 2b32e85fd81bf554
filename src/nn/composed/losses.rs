//! Losses of embeddings composed of dfdx's own operations.

use super::failed;
use crate::{
    Result,
    nn::{
        Backend, EmbeddingLoss, Matrix, Scalar, Vector,
        fused::losses::SMALLEST_NORM,
        vicreg::{EPSILON, GAMMA},
    },
};
use dfdx::prelude::*;

/// See [`EmbeddingLoss`].
pub fn embedding_loss<D: Backend, T: Tape<f32, D>>(
    prediction: Matrix<D, T>,
    target: &Matrix<D>,
    loss: EmbeddingLoss,
) -> Result<Scalar<D, T>> {
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

/// See [`vicreg::variance`](crate::nn::vicreg::variance).
pub fn vicreg_variance<D: Backend, T: Tape<f32, D>>(z: Matrix<D, T>) -> Result<Scalar<D, T>> {
    let unbiased = z.shape().0 as f32 / (z.shape().0 - 1) as f32;
    let run = || -> Result<Scalar<D, T>, D::Err> {
        let square = centred(z)?.try_square()?;
        let variance: Vector<D, T> = square.try_mean::<_, Axis<0>>()?.try_mul(unbiased)?;
        let missing = variance.try_add(EPSILON)?.try_sqrt()?.try_negate()?.try_add(GAMMA)?;
        missing.try_relu()?.try_mean()
    };
    run().map_err(failed("vicreg"))
}

/// See [`vicreg::covariance`](crate::nn::vicreg::covariance).
pub fn vicreg_covariance<D: Backend, T: Tape<f32, D>>(z: Matrix<D, T>) -> Result<Scalar<D, T>> {
    let (rows, width) = *z.shape();
    let off_diagonal = (0..width * width).map(|at| if at % (width + 1) == 0 { 0.0 } else { 1.0 }).collect();
    let run = || -> Result<Scalar<D, T>, D::Err> {
        let off_diagonal = z.device().try_tensor_from_vec(off_diagonal, (width, width))?;
        let c = centred(z)?;
        // Scaled first: a permuted tensor keeps its id, and dfdx multiplies no tensor by itself.
        let scaled = c.with_empty_tape().try_div((rows - 1) as f32)?;
        let transposed = scaled.try_permute::<(usize, usize), Axes2<1, 0>>()?;
        let products = transposed.try_matmul(c)?.try_mul(off_diagonal)?;
        products.try_square()?.try_sum::<Rank0, _>()?.try_div(width as f32)
    };
    run().map_err(failed("vicreg"))
}

fn centred<D: Backend, T: Tape<f32, D>>(z: Matrix<D, T>) -> Result<Matrix<D, T>, D::Err> {
    let shape = *z.shape();
    let mean: Vector<D, T> = z.with_empty_tape().try_mean::<_, Axis<0>>()?;
    z.try_sub(mean.try_broadcast_like::<_, Axis<0>>(&shape)?)
}
