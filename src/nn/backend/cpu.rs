//! The operations on the CPU: its fused kernels, or, while a thread trains on a GPU, those of the GPU on the CPU's tensors.

use super::Backend;
#[cfg(any(feature = "metal", target_os = "macos"))]
use crate::nn::{Params, gpu};
use crate::{
    Error, ErrorKind, Result,
    data::Counts,
    device::Device,
    nn::{
        Activation, AttentionSpec, BatchMoments, CountTarget, Dispersion, EmbeddingLoss, IndexSets, LinearLogits,
        Matrix, RowSets, Scalar, SetDistance, Vector, gpu::Entered, ops::cpu,
    },
};
use dfdx::prelude::{Cpu, Tape};
use std::sync::Arc;

/// The operation of the CPU; or, while this thread is on a GPU, the GPU's.
macro_rules! here_or_on_gpu {
    ($operation:ident($($argument:expr),*)) => {{
        #[cfg(any(feature = "metal", target_os = "macos"))]
        if gpu::is_active() {
            return gpu::ops::$operation($($argument),*);
        }
        cpu::$operation($($argument),*)
    }};
}

impl Backend for Cpu {
    fn enter(device: Device) -> Result<Option<Entered>> {
        if let Device::Cuda(_) = device {
            let message =
                format!("these weights lie in host memory, and were to be trained on {device}: `fit_on` moves them");
            return Err(Error::new(ErrorKind::Device, message));
        }
        let on = device.enter()?;
        #[cfg(any(feature = "metal", target_os = "macos"))]
        gpu::ops::start_afresh();
        Ok(on)
    }

    #[cfg(any(feature = "metal", target_os = "macos"))]
    fn refresh<M: Params<Self>>(model: &mut M) -> Result<()> {
        if gpu::is_active() { gpu::ops::refresh(model) } else { Ok(()) }
    }

    fn linear<T: Tape<f32, Self>>(x: Matrix<Self, T>, w: &Matrix<Self>, b: &Vector<Self>) -> Result<Matrix<Self, T>> {
        here_or_on_gpu!(linear(x, w, b))
    }

    fn sparse_linear<T: Tape<f32, Self>>(
        x: &Arc<Counts>,
        w: &Matrix<Self>,
        b: &Vector<Self>,
        tape: T,
    ) -> Result<Matrix<Self, T>> {
        here_or_on_gpu!(sparse_linear(x, w, b, tape))
    }

    fn embedding_sum<T: Tape<f32, Self>>(w: &Matrix<Self>, sets: &Arc<IndexSets>, tape: T) -> Result<Matrix<Self, T>> {
        here_or_on_gpu!(embedding_sum(w, sets, tape))
    }

    fn activation<T: Tape<f32, Self>>(x: Matrix<Self, T>, activation: Activation) -> Result<Matrix<Self, T>> {
        here_or_on_gpu!(activation(x, activation))
    }

    fn layer_norm<T: Tape<f32, Self>>(
        x: Matrix<Self, T>,
        weight: &Vector<Self>,
        bias: &Vector<Self>,
        epsilon: f32,
    ) -> Result<Matrix<Self, T>> {
        here_or_on_gpu!(layer_norm(x, weight, bias, epsilon))
    }

    fn batch_norm<T: Tape<f32, Self>>(
        x: Matrix<Self, T>,
        weight: &Vector<Self>,
        bias: &Vector<Self>,
        epsilon: f32,
    ) -> Result<(Matrix<Self, T>, BatchMoments)> {
        here_or_on_gpu!(batch_norm(x, weight, bias, epsilon))
    }

    fn multiply<T: Tape<f32, Self>>(x: Matrix<Self, T>, factors: Vec<f32>) -> Result<Matrix<Self, T>> {
        cpu::multiply(x, factors)
    }

    fn count_nll<T: Tape<f32, Self>>(
        logits: Matrix<Self, T>,
        log_theta: Dispersion<'_, Self, T>,
        zero_logits: Option<Matrix<Self, T>>,
        target: &CountTarget,
    ) -> Result<Vector<Self, T>> {
        here_or_on_gpu!(count_nll(logits, log_theta, zero_logits, target))
    }

    fn output_head<T: Tape<f32, Self>>(
        logits: LinearLogits<'_, Self, T>,
        log_theta: Dispersion<'_, Self, T>,
        zero_logits: Option<Matrix<Self, T>>,
        target: &CountTarget,
    ) -> Result<Scalar<Self, T>> {
        here_or_on_gpu!(output_head(logits, log_theta, zero_logits, target))
    }

    fn attention<T: Tape<f32, Self>>(
        q: Matrix<Self, T>,
        kv: Matrix<Self, T>,
        spec: &AttentionSpec,
    ) -> Result<Matrix<Self, T>> {
        here_or_on_gpu!(attention(q, kv, spec))
    }

    fn take_rows<T: Tape<f32, Self>>(x: Matrix<Self, T>, rows: &Arc<[u32]>) -> Result<Matrix<Self, T>> {
        cpu::take_rows(x, rows)
    }

    fn set_mean<T: Tape<f32, Self>>(x: Matrix<Self, T>, sets: &RowSets) -> Result<Matrix<Self, T>> {
        cpu::set_mean(x, sets)
    }

    fn film<T: Tape<f32, Self>>(
        x: Matrix<Self, T>,
        gamma_beta: Matrix<Self, T>,
        sets: &RowSets,
    ) -> Result<Matrix<Self, T>> {
        cpu::film(x, gamma_beta, sets)
    }

    fn fourier<T: Tape<f32, Self>>(x: Matrix<Self, T>, frequencies: &Vector<Self>) -> Result<Matrix<Self, T>> {
        cpu::fourier(x, frequencies)
    }

    fn residual<T: Tape<f32, Self>>(update: Matrix<Self, T>, x: Matrix<Self>) -> Result<Matrix<Self, T>> {
        cpu::residual(update, x)
    }

    fn embedding_loss<T: Tape<f32, Self>>(
        prediction: Matrix<Self, T>,
        target: &Matrix<Self>,
        loss: EmbeddingLoss,
    ) -> Result<Scalar<Self, T>> {
        cpu::embedding_loss(prediction, target, loss)
    }

    fn vicreg_variance<T: Tape<f32, Self>>(z: Matrix<Self, T>) -> Result<Scalar<Self, T>> {
        cpu::vicreg_variance(z)
    }

    fn vicreg_covariance<T: Tape<f32, Self>>(z: Matrix<Self, T>) -> Result<Scalar<Self, T>> {
        cpu::vicreg_covariance(z)
    }

    fn total_correlation<T: Tape<f32, Self>>(
        z: Matrix<Self, T>,
        mu: Matrix<Self, T>,
        logvar: Matrix<Self, T>,
    ) -> Result<Scalar<Self, T>> {
        cpu::total_correlation(z, mu, logvar)
    }

    fn set_distance<T: Tape<f32, Self>>(
        x: Matrix<Self, T>,
        x_sets: &RowSets,
        y: &Matrix<Self>,
        y_sets: &RowSets,
        distance: &SetDistance,
    ) -> Result<Vector<Self, T>> {
        cpu::set_distance(x, x_sets, y, y_sets, distance)
    }
}
