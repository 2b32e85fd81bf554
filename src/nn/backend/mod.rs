//! The device that a model runs on: dfdx's operations, and those of [`ops`](super::ops).

mod cpu;

use super::{
    Activation, AttentionSpec, BatchMoments, CountTarget, Dispersion, EmbeddingLoss, IndexSets, LinearLogits, Matrix,
    OptimStep, Params, RowSets, Scalar, SetDistance, Vector, ops::composed,
};
use crate::{Result, data::Counts};
use dfdx::{prelude::Tape, tensor_ops::Device};
use std::sync::Arc;

/// A dfdx device with the operations that a model needs. By default they are composed of dfdx's own operations, so that
/// any dfdx device runs every model; the CPU has fused kernels.
///
/// Every operation checks the shapes of its arguments and returns an error of kind
/// [`Shape`](crate::ErrorKind::Shape) that names it and the shapes.
pub trait Backend: Device<f32> + OptimStep {
    /// Lets the operations of this thread run on `device` for a training, for as long as the result lives, where that is
    /// another device than the tensors': see [`gpu`](super::gpu).
    ///
    /// # Errors
    /// A device that is not there.
    fn enter(device: crate::device::Device) -> Result<Option<super::gpu::Entered>> {
        let _ = device;
        Ok(None)
    }

    /// Brings the weights of a model up to date where a device has updated them apart from their tensors.
    ///
    /// # Errors
    /// A device that fails.
    fn refresh<M: Params<Self>>(model: &mut M) -> Result<()> {
        let _ = model;
        Ok(())
    }

    /// `x W + b`; x `(rows, in)`, W `(in, out)`, b `(out,)`.
    ///
    /// # Errors
    /// Shapes that do not fit; a device that fails.
    fn linear<T: Tape<f32, Self>>(x: Matrix<Self, T>, w: &Matrix<Self>, b: &Vector<Self>) -> Result<Matrix<Self, T>> {
        composed::linear(x, w, b)
    }

    /// `log1p(x) W + b` for a sparse x `(cells, in)` of raw counts; starts a tape. No gradient of x.
    ///
    /// # Errors
    /// Shapes that do not fit; a device that fails.
    fn sparse_linear<T: Tape<f32, Self>>(
        x: &Arc<Counts>,
        w: &Matrix<Self>,
        b: &Vector<Self>,
        tape: T,
    ) -> Result<Matrix<Self, T>> {
        composed::sparse_linear(x, w, b, tape)
    }

    /// Row r of the result is the sum of the rows of W `(entries, width)` that set r names, zero for an empty set:
    /// `(sets, width)`; starts a tape.
    ///
    /// # Errors
    /// An index that W has no row for; a device that fails.
    fn embedding_sum<T: Tape<f32, Self>>(w: &Matrix<Self>, sets: &Arc<IndexSets>, tape: T) -> Result<Matrix<Self, T>> {
        composed::embedding_sum(w, sets, tape)
    }

    /// The activation of each element.
    ///
    /// # Errors
    /// A device that fails.
    fn activation<T: Tape<f32, Self>>(x: Matrix<Self, T>, activation: Activation) -> Result<Matrix<Self, T>> {
        composed::activation(x, activation)
    }

    /// Each row minus its mean, over its standard deviation `sqrt(variance + epsilon)`, times `weight` plus `bias`;
    /// x `(rows, width)`, weight and bias `(width,)`.
    ///
    /// # Errors
    /// Shapes that do not fit; a device that fails.
    fn layer_norm<T: Tape<f32, Self>>(
        x: Matrix<Self, T>,
        weight: &Vector<Self>,
        bias: &Vector<Self>,
        epsilon: f32,
    ) -> Result<Matrix<Self, T>> {
        composed::layer_norm(x, weight, bias, epsilon)
    }

    /// Each column minus its mean, over its standard deviation `sqrt(variance + epsilon)`, times `weight` plus `bias`,
    /// and the moments; x `(rows, width)`, weight and bias `(width,)`.
    ///
    /// # Errors
    /// Shapes that do not fit; a device that fails.
    fn batch_norm<T: Tape<f32, Self>>(
        x: Matrix<Self, T>,
        weight: &Vector<Self>,
        bias: &Vector<Self>,
        epsilon: f32,
    ) -> Result<(Matrix<Self, T>, BatchMoments)> {
        composed::batch_norm(x, weight, bias, epsilon)
    }

    /// `(x - mean) / sqrt(variance + epsilon) * weight + bias` by column, moments given; x `(rows, width)`, the others
    /// `(width,)`.
    ///
    /// # Errors
    /// Shapes that do not fit; a device that fails.
    fn standardize<T: Tape<f32, Self>>(
        x: Matrix<Self, T>,
        mean: &Vector<Self>,
        variance: &Vector<Self>,
        weight: &Vector<Self>,
        bias: &Vector<Self>,
        epsilon: f32,
    ) -> Result<Matrix<Self, T>> {
        composed::standardize(x, mean, variance, weight, bias, epsilon)
    }

    /// Each element times a constant, `factors` in row-major order.
    ///
    /// # Errors
    /// Another number of factors; a device that fails.
    fn multiply<T: Tape<f32, Self>>(x: Matrix<Self, T>, factors: Vec<f32>) -> Result<Matrix<Self, T>> {
        composed::multiply(x, factors)
    }

    /// Negative log-likelihood of each cell in nats, `(cells,)`, summed over genes: NB with mean
    /// `softmax(logits) * library_size`, or ZINB if `zero_logits` (logit of the extra-zero probability) are given.
    ///
    /// # Errors
    /// Shapes that do not fit; a device that fails.
    fn count_nll<T: Tape<f32, Self>>(
        logits: Matrix<Self, T>,
        log_theta: Dispersion<'_, Self, T>,
        zero_logits: Option<Matrix<Self, T>>,
        target: &CountTarget,
    ) -> Result<Vector<Self, T>> {
        composed::count_nll(logits, log_theta, zero_logits, target)
    }

    /// The mean over the cells of [`count_nll`](Self::count_nll), in nats, of the logits that a decoder's last layer
    /// gives: the loss of a batch without the matrix of its logits.
    ///
    /// # Errors
    /// Shapes that do not fit; a device that fails.
    fn output_head<T: Tape<f32, Self>>(
        logits: LinearLogits<'_, Self, T>,
        log_theta: Dispersion<'_, Self, T>,
        zero_logits: Option<Matrix<Self, T>>,
        target: &CountTarget,
    ) -> Result<Scalar<Self, T>> {
        composed::output_head(logits, log_theta, zero_logits, target)
    }

    /// Scaled dot-product attention of each head: q `(queries, width)`; kv `(keys, 2 width)`, keys in the first half of
    /// the columns and values in the second; to `(queries, width)`. See [`MultiHeadAttention`](super::MultiHeadAttention).
    ///
    /// # Errors
    /// Shapes that do not fit; a device that fails.
    fn attention<T: Tape<f32, Self>>(
        q: Matrix<Self, T>,
        kv: Matrix<Self, T>,
        spec: &AttentionSpec,
    ) -> Result<Matrix<Self, T>> {
        composed::attention(q, kv, spec)
    }

    /// Row r of the result is row `rows[r]` of x; a row may be taken many times.
    ///
    /// # Errors
    /// A row that x does not have; a device that fails.
    fn take_rows<T: Tape<f32, Self>>(x: Matrix<Self, T>, rows: &Arc<[u32]>) -> Result<Matrix<Self, T>> {
        composed::take_rows(x, rows)
    }

    /// The mean of each set's rows, 0 of an empty set: `(rows, width)` to `(sets, width)`.
    ///
    /// # Errors
    /// Sets that are not the rows of x; a device that fails.
    fn set_mean<T: Tape<f32, Self>>(x: Matrix<Self, T>, sets: &RowSets) -> Result<Matrix<Self, T>> {
        composed::set_mean(x, sets)
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
    ) -> Result<Matrix<Self, T>> {
        composed::film(x, gamma_beta, sets)
    }

    /// Sines, then cosines, of `2 pi x f` for each frequency f `(k,)`: x `(rows, 1)` to `(rows, 2 k)`.
    ///
    /// # Errors
    /// An x of more than one column; a device that fails.
    fn fourier<T: Tape<f32, Self>>(x: Matrix<Self, T>, frequencies: &Vector<Self>) -> Result<Matrix<Self, T>> {
        composed::fourier(x, frequencies)
    }

    /// `x + update`, where x went into the update and its tape came along with it.
    ///
    /// # Errors
    /// Shapes that differ; a device that fails.
    fn residual<T: Tape<f32, Self>>(update: Matrix<Self, T>, x: Matrix<Self>) -> Result<Matrix<Self, T>> {
        composed::residual(update, x)
    }

    /// See [`EmbeddingLoss::forward`].
    ///
    /// # Errors
    /// As there.
    fn embedding_loss<T: Tape<f32, Self>>(
        prediction: Matrix<Self, T>,
        target: &Matrix<Self>,
        loss: EmbeddingLoss,
    ) -> Result<Scalar<Self, T>> {
        composed::embedding_loss(prediction, target, loss)
    }

    /// See [`vicreg::variance`](super::vicreg::variance).
    ///
    /// # Errors
    /// As there.
    fn vicreg_variance<T: Tape<f32, Self>>(z: Matrix<Self, T>) -> Result<Scalar<Self, T>> {
        composed::vicreg_variance(z)
    }

    /// See [`vicreg::covariance`](super::vicreg::covariance).
    ///
    /// # Errors
    /// As there.
    fn vicreg_covariance<T: Tape<f32, Self>>(z: Matrix<Self, T>) -> Result<Scalar<Self, T>> {
        composed::vicreg_covariance(z)
    }

    /// How much the latents of a batch depend on each other, in nats: `mean_i [ ln q(z_i) - sum_k ln q(z_ik) ]` with
    /// `q(z) = 1/M sum_j N(z; mu_j, exp(logvar_j))`; z, mu, logvar `(M rows, latents)`. The minibatch-weighted estimate of
    /// Chen et al. 2018, eq. 5, without its constant `(latents - 1) ln N`, N the number of training cells.
    ///
    /// # Errors
    /// Shapes that differ, an empty batch; a device that fails.
    fn total_correlation<T: Tape<f32, Self>>(
        z: Matrix<Self, T>,
        mu: Matrix<Self, T>,
        logvar: Matrix<Self, T>,
    ) -> Result<Scalar<Self, T>> {
        composed::total_correlation(z, mu, logvar)
    }

    /// See [`SetDistance::forward`].
    ///
    /// # Errors
    /// As there.
    fn set_distance<T: Tape<f32, Self>>(
        x: Matrix<Self, T>,
        x_sets: &RowSets,
        y: &Matrix<Self>,
        y_sets: &RowSets,
        distance: &SetDistance,
    ) -> Result<Vector<Self, T>> {
        composed::set_distance(x, x_sets, y, y_sets, distance)
    }
}

#[cfg(feature = "cuda")]
impl Backend for dfdx::prelude::Cuda {}
