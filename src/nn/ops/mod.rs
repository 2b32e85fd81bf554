//! The mathematics on the device: one operation per file, with its equation, its CPU kernel and its composed form.
//!
//! A CPU kernel is fused: the forward pass is plain Rust, and the backward pass is a closure on dfdx's open tape. That
//! closure takes the output's gradient out of the store, so that it can be read while the gradients of the inputs are
//! written, and puts it back. Sums run in an order that does not depend on the number of threads. The same operation
//! composed of dfdx's own runs on any device, and the kernels are tested against it. [`Backend`](super::Backend) chooses.
//!
//! This file holds what all of them use, and small differentiable operations that need no kernel.

mod activation;
mod adam;
mod attention;
mod batch_norm;
mod count_cells;
mod count_nll;
mod count_nll_composed;
mod dropout;
mod film;
#[doc(hidden)]
pub mod fourier;
#[doc(hidden)]
pub mod gemm;
mod hsic;
mod layer_norm;
mod linear;
mod losses;
#[doc(hidden)]
pub mod nb;
mod nb_cell;
mod output_head;
mod posterior;
mod rows;
mod set_distance;
mod set_distance_cpu;
mod sparse;
#[doc(hidden)]
pub mod vicreg;
#[doc(hidden)]
pub mod vmath;

/// The fused operations for any device, composed of dfdx's own.
#[doc(hidden)]
pub mod composed {
    pub use super::{
        activation::composed::*, adam::composed::*, attention::composed::*, batch_norm::composed::*,
        count_nll_composed::*, dropout::composed::*, film::composed::*, fourier::composed::*, layer_norm::composed::*,
        linear::composed::*, losses::composed::*, output_head::composed::*, posterior::composed::*, rows::composed::*,
        set_distance::composed::*, sparse::composed::*, vicreg::composed::*,
    };
}
pub use {
    activation::Activation,
    adam::{AdamStep, Moments, OptimStep},
    attention::{AttentionSpec, WeightDropout},
    batch_norm::BatchMoments,
    count_nll::{CountTarget, Dispersion, LOG_THETA_MAX, LOG_THETA_MIN},
    hsic::{gaussian_gram, hsic, hsic_beyond_chance, set_gram},
    losses::EmbeddingLoss,
    output_head::LinearLogits,
    posterior::{gaussian_log_ratio, log_mean_exp},
    rows::RowSets,
    set_distance::{SetDistance, median_gamma},
    sparse::IndexSets,
};
/// What the same operations on a GPU check and prepare.
#[cfg(any(feature = "metal", target_os = "macos"))]
pub(in crate::nn) use {
    attention::check_attention,
    count_nll::{check_count_nll, join_tape},
    linear::check_linear,
    sparse::{Rows, check_embedding, transpose},
};

/// The fused kernels of the CPU.
pub(super) mod cpu {
    pub(crate) use super::{
        activation::activation,
        attention::attention,
        batch_norm::batch_norm,
        count_nll::count_nll,
        dropout::multiply,
        film::film,
        fourier::fourier,
        layer_norm::layer_norm,
        linear::linear,
        losses::embedding_loss,
        output_head::output_head,
        posterior::total_correlation,
        rows::{residual, set_mean, take_rows},
        set_distance_cpu::set_distance,
        sparse::{embedding_sum, sparse_linear},
        vicreg::{vicreg_covariance, vicreg_variance},
    };
}

use super::raw;
use crate::{Error, Result};
use dfdx::{prelude::*, tensor_ops::Device};
use ndarray::Array2;

/// A scalar, such as a loss.
pub type Scalar<D, T = NoneTape> = Tensor<Rank0, f32, D, T>;
/// A vector of run-time length.
pub type Vector<D, T = NoneTape> = Tensor<(usize,), f32, D, T>;
/// A matrix of run-time shape, rows x columns; a batch is cells x features.
pub type Matrix<D, T = NoneTape> = Tensor<(usize, usize), f32, D, T>;

/// Puts a host array on the device.
pub fn upload<D: Device<f32>>(device: &D, values: &Array2<f32>) -> Result<Matrix<D>> {
    let data = values.iter().copied().collect();
    device.try_tensor_from_vec(data, values.dim()).map_err(|e| Error::device("copying an array to the device", e))
}

/// Brings a matrix to the host, whatever tape it carries.
pub fn download<D: Device<f32>, T: Tape<f32, D>>(matrix: &Matrix<D, T>) -> Array2<f32> {
    Array2::from_shape_vec(*matrix.shape(), matrix.as_vec()).expect("a tensor has as many values as its shape says")
}

/// The value of a scalar.
pub fn to_f32<D: Device<f32>, T: Tape<f32, D>>(scalar: &Scalar<D, T>) -> f32 {
    scalar.as_vec()[0]
}

/// `a + b`, same shapes.
pub fn add<D: Device<f32>, T: Tape<f32, D>>(a: Matrix<D, T>, b: Matrix<D, T>) -> Result<Matrix<D, T>> {
    if a.shape() != b.shape() {
        return Err(Error::shape("add", a.shape(), b.shape()));
    }
    a.try_add(b).map_err(|e| Error::device("add", e))
}

/// `a + weight * b`.
pub fn add_scaled<D: Device<f32>, T: Tape<f32, D>>(
    a: Scalar<D, T>,
    b: Scalar<D, T>,
    weight: f32,
) -> Result<Scalar<D, T>> {
    a.try_add(scaled(b, weight)?).map_err(|e| Error::device("add", e))
}

/// `weight * a`.
pub fn scaled<D: Device<f32>, T: Tape<f32, D>>(a: Scalar<D, T>, weight: f32) -> Result<Scalar<D, T>> {
    a.try_mul(weight).map_err(|e| Error::device("scale", e))
}

/// `max(a, floor)`: below `floor` a constant, through which no gradient flows.
pub fn at_least<D: Device<f32>, T: Tape<f32, D>>(a: Scalar<D, T>, floor: f32) -> Result<Scalar<D, T>> {
    match to_f32(&a) < floor {
        true => scaled(a, 0.0)?.try_add(floor).map_err(|e| Error::device("at_least", e)),
        false => Ok(a),
    }
}

/// `abs(a - target)`
pub fn distance_to<D: Device<f32>, T: Tape<f32, D>>(a: Scalar<D, T>, target: f32) -> Result<Scalar<D, T>> {
    let run = || a.try_sub(target)?.try_abs();
    run().map_err(|e: D::Err| Error::device("distance_to", e))
}

/// Joins the tape of `z`, of which every use so far was a copy without it, to that of `total`.
pub fn keep_tape<D: Device<f32>, T: Tape<f32, D>>(total: Scalar<D, T>, z: Matrix<D, T>) -> Result<Scalar<D, T>> {
    let (_, tape) = z.split_tape();
    let nothing: Scalar<D> = total.device().try_zeros().map_err(|e| Error::device("joining tapes", e))?;
    total.try_add(nothing.put_tape(tape)).map_err(|e| Error::device("joining tapes", e))
}

/// The columns of `a`, then those of `b`: `(n, i)`, `(n, j)` -> `(n, i + j)`.
pub fn concat_columns<D: Device<f32>, T: Tape<f32, D>>(a: Matrix<D, T>, b: Matrix<D, T>) -> Result<Matrix<D, T>> {
    if a.shape().0 != b.shape().0 {
        return Err(Error::shape("concat_columns", a.shape(), b.shape()));
    }
    (a, b).try_concat_along(Axis::<1>).map_err(|e| Error::device("concat_columns", e))
}

/// The mean of a vector.
pub fn mean<D: Device<f32>, T: Tape<f32, D>>(vector: Vector<D, T>) -> Result<Scalar<D, T>> {
    vector.try_mean().map_err(|e| Error::device("mean", e))
}

/// `z = mu + exp(logvar / 2) * noise` (Kingma & Welling 2014), all `(n, latent)`.
pub fn reparameterise<D: Device<f32>, T: Tape<f32, D>>(
    mu: Matrix<D, T>,
    logvar: Matrix<D, T>,
    noise: Matrix<D>,
) -> Result<Matrix<D, T>> {
    let spread = || logvar.try_mul(0.5)?.try_exp()?.try_mul(noise);
    let spread = spread().map_err(|e: D::Err| Error::device("reparameterise", e))?;
    add(mu, spread)
}

/// `KL(N(mu, exp(logvar)) || N(0, I))` of each row in nats, `(n,)`, summed over the latents:
/// `1/2 sum (mu^2 + exp(logvar) - 1 - logvar)` (Kingma & Welling 2014, appendix B).
pub fn gaussian_kl<D: Device<f32>, T: Tape<f32, D>>(mu: Matrix<D, T>, logvar: Matrix<D, T>) -> Result<Vector<D, T>> {
    let kl = || {
        let variance = logvar.retaped::<T>().try_exp()?;
        let sum = mu.try_square()?.try_add(variance)?.try_sub(logvar)?.try_sub(1.0)?;
        sum.try_sum::<(usize,), Axis<1>>()?.try_mul(0.5)
    };
    kl().map_err(|e: D::Err| Error::device("gaussian_kl", e))
}

/// `-log N(target; mean, sigma^2)` of each row in nats, `(n,)`, summed over the columns; `log_sigma` is `(columns,)`.
pub fn gaussian_nll<D: Device<f32>, T: Tape<f32, D>>(
    mean: Matrix<D, T>,
    target: Matrix<D>,
    log_sigma: &Vector<D>,
) -> Result<Vector<D, T>> {
    let shape = *mean.shape();
    if shape != *target.shape() || shape.1 != log_sigma.shape().0 {
        return Err(Error::shape("gaussian_nll", shape, (target.shape(), log_sigma.shape())));
    }
    let half_log_two_pi = 0.5 * (2.0 * std::f32::consts::PI).ln();
    let nll = || {
        let log_sigma: Matrix<D, T> = log_sigma.retaped::<T>().try_broadcast_like::<_, Axis<0>>(&shape)?;
        let precision = log_sigma.retaped::<T>().try_negate()?.try_exp()?;
        let scaled = mean.try_sub(target)?.try_mul(precision)?.try_square()?.try_mul(0.5)?;
        scaled.try_add(log_sigma)?.try_add(half_log_two_pi)?.try_sum::<(usize,), Axis<1>>()
    };
    nll().map_err(|e: D::Err| Error::device("gaussian_nll", e))
}

/// Names the operation in a device's error.
fn failed<E: std::fmt::Debug>(operation: &'static str) -> impl Fn(E) -> Error {
    move |e| Error::device(operation, e)
}

/// A tensor that takes over `values`.
pub(in crate::nn) fn tensor<S: Shape>(
    operation: &str,
    values: Vec<f32>,
    shape: S,
    device: &Cpu,
) -> Result<Tensor<S, f32, Cpu>> {
    device.try_tensor_from_vec(values, shape).map_err(|e| Error::device(operation, e))
}

/// `values` cut into consecutive pieces of these sizes.
fn pieces(mut values: &mut [f32], sizes: impl Iterator<Item = usize>) -> Vec<&mut [f32]> {
    sizes
        .map(|size| {
            let (piece, rest) = std::mem::take(&mut values).split_at_mut(size);
            values = rest;
            piece
        })
        .collect()
}

/// `x` in row-major order, apart from its tape. A broadcast or permuted tensor is copied on the tape: dfdx keeps its
/// gradient in the layout of the storage, which a fused operation cannot add to.
pub(in crate::nn) fn input<S: Shape, T: Tape<f32, Cpu>>(
    operation: &str,
    x: Tensor<S, f32, Cpu, T>,
) -> Result<(Tensor<S, f32, Cpu>, T)> {
    if raw::is_row_major(&x) {
        return Ok(x.split_tape());
    }
    let zeros = x.device().try_zeros_like(x.shape()).map_err(|e| Error::device(operation, e))?;
    Ok(x.try_add(zeros).map_err(|e| Error::device(operation, e))?.split_tape())
}

/// The same for a weight, whose part of the tape, if any, joins `tape`.
fn weight<S: Shape, T: Tape<f32, Cpu>>(
    operation: &str,
    weight: &Tensor<S, f32, Cpu>,
    tape: &mut T,
) -> Result<Tensor<S, f32, Cpu>> {
    if raw::is_row_major(weight) {
        return Ok(weight.clone());
    }
    let (weight, copied) = input(operation, weight.clone().put_tape(T::default()))?;
    *tape = std::mem::take(tape).merge(copied);
    Ok(weight)
}

/// Each of `vectors` is as long as a row of x.
pub(in crate::nn) fn check_widths<D: Device<f32>>(
    operation: &str,
    x: (usize, usize),
    vectors: &[&Vector<D>],
) -> Result<()> {
    match vectors.iter().find(|v| v.shape().0 != x.1) {
        Some(v) => Err(Error::shape(operation, x, v.shape())),
        None => Ok(()),
    }
}
