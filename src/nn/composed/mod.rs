//! The fused operations composed of dfdx's own: what any dfdx device runs, and the fused ones are tested against.

mod count_nll;
mod lgamma;
pub mod losses;
pub mod set_distance;
pub mod tokens;

pub use count_nll::count_nll;

use super::{
    Activation, Backend, BatchMoments, IndexSets, Matrix, Vector,
    activation::{ERFC_COEFFICIENTS, ERFC_SCALE},
};
use crate::{Error, Result, data::Counts};
use dfdx::prelude::*;

/// Names the operation in a device's error.
fn failed<E: std::fmt::Debug>(operation: &'static str) -> impl Fn(E) -> Error {
    move |e| Error::device(operation, e)
}

/// `x W + b`.
pub fn linear<D: Backend, T: Tape<f32, D>>(x: Matrix<D, T>, w: &Matrix<D>, b: &Vector<D>) -> Result<Matrix<D, T>> {
    let shape = (x.shape().0, w.shape().1);
    let y = x.try_matmul(w.clone()).map_err(failed("linear"))?; // (rows, out)
    let b = b.retaped::<T>().try_broadcast_like::<_, Axis<0>>(&shape).map_err(failed("linear"))?;
    y.try_add(b).map_err(failed("linear"))
}

/// `log1p(x) W + b` with a dense copy of x.
pub fn sparse_linear<D: Backend, T: Tape<f32, D>>(
    x: &Counts,
    w: &Matrix<D>,
    b: &Vector<D>,
    tape: T,
) -> Result<Matrix<D, T>> {
    let shape = (x.n_cells(), x.n_genes());
    let dense = x.to_dense().mapv_into(f32::ln_1p).into_raw_vec_and_offset().0;
    let x = w.device().try_tensor_from_vec(dense, shape).map_err(failed("sparse_linear"))?;
    linear(x.put_tape(tape), w, b)
}

/// `V W` with a dense 0/1 matrix V, `(sets, entries)`.
pub fn embedding_sum<D: Backend, T: Tape<f32, D>>(w: &Matrix<D>, sets: &IndexSets, tape: T) -> Result<Matrix<D, T>> {
    let entries = w.shape().0;
    let mut dense = vec![0.0; sets.len() * entries];
    for row in 0..sets.len() {
        sets.set(row).iter().for_each(|&index| dense[row * entries + index as usize] = 1.0);
    }
    let v = w.device().try_tensor_from_vec(dense, (sets.len(), entries)).map_err(failed("embedding"))?;
    v.put_tape(tape).try_matmul(w.clone()).map_err(failed("embedding"))
}

/// The activation of each element.
pub fn activation<D: Backend, T: Tape<f32, D>>(x: Matrix<D, T>, activation: Activation) -> Result<Matrix<D, T>> {
    match activation {
        Activation::Silu => {
            let gate = x.with_empty_tape().try_sigmoid().map_err(failed("SiLU"))?;
            x.try_mul(gate).map_err(failed("SiLU"))
        }
        Activation::Gelu => gelu(x).map_err(failed("GELU")),
        Activation::Relu => x.try_relu().map_err(failed("ReLU")),
    }
}

/// `x Phi(x)` with erf by Abramowitz and Stegun 7.1.26 (absolute error 1.5e-7). dfdx 0.13 has an exact GELU, but its
/// derivative lacks a factor 1/sqrt(2).
fn gelu<D: Backend, T: Tape<f32, D>>(x: Matrix<D, T>) -> Result<Matrix<D, T>, D::Err> {
    let negative = x.retaped::<NoneTape>().try_lt(0.0)?;
    let z = x.with_empty_tape().try_abs()?.try_mul(std::f32::consts::FRAC_1_SQRT_2)?;
    let t = z.with_empty_tape().try_mul(ERFC_SCALE)?.try_add(1.0)?.try_recip()?;
    let (t, tape) = t.split_tape();
    let [last, rest @ ..] = ERFC_COEFFICIENTS;
    let mut poly = t.clone().put_tape(tape).try_mul(last)?;
    for coefficient in rest {
        poly = poly.try_add(coefficient)?.try_mul(t.retaped::<T>())?;
    }
    let tail = poly.try_mul(z.try_square()?.try_negate()?.try_exp()?)?.try_mul(0.5)?; // Phi(-|x|)
    let body = tail.with_empty_tape().try_negate()?.try_add(1.0)?;
    negative.try_choose(tail, body)?.try_mul(x)
}

/// `(x - mean) / sqrt(variance + epsilon) * weight + bias`, moments over each row.
pub fn layer_norm<D: Backend, T: Tape<f32, D>>(
    x: Matrix<D, T>,
    weight: &Vector<D>,
    bias: &Vector<D>,
    epsilon: f32,
) -> Result<Matrix<D, T>> {
    let shape = *x.shape();
    let run = || -> Result<Matrix<D, T>, D::Err> {
        let normal = x.try_normalize::<Axis<1>>(epsilon)?;
        let weight = weight.retaped::<T>().try_broadcast_like::<_, Axis<0>>(&shape)?;
        let bias = bias.retaped::<T>().try_broadcast_like::<_, Axis<0>>(&shape)?;
        normal.try_mul(weight)?.try_add(bias)
    };
    run().map_err(failed("layer_norm"))
}

/// `(x - mean) / sqrt(variance + epsilon) * weight + bias`, moments over each column.
pub fn batch_norm<D: Backend, T: Tape<f32, D>>(
    x: Matrix<D, T>,
    weight: &Vector<D>,
    bias: &Vector<D>,
    epsilon: f32,
) -> Result<(Matrix<D, T>, BatchMoments)> {
    let run = || -> Result<_, D::Err> {
        let shape = *x.shape();
        let mean = x.with_empty_tape().try_mean::<(usize,), Axis<0>>()?;
        let means = mean.as_vec();
        let centred = x.try_sub(mean.try_broadcast_like::<_, Axis<0>>(&shape)?)?;
        let variance = centred.with_empty_tape().try_square()?.try_mean::<(usize,), Axis<0>>()?;
        let moments = BatchMoments { mean: means, variance: variance.as_vec() };
        let deviation = variance.try_add(epsilon)?.try_sqrt()?;
        let h = centred.try_div(deviation.try_broadcast_like::<_, Axis<0>>(&shape)?)?;
        let weight = weight.retaped::<T>().try_broadcast_like::<_, Axis<0>>(&shape)?;
        let bias = bias.retaped::<T>().try_broadcast_like::<_, Axis<0>>(&shape)?;
        Ok((h.try_mul(weight)?.try_add(bias)?, moments))
    };
    run().map_err(failed("batch_norm"))
}

/// The same by given moments, of which no gradient is taken.
pub fn standardize<D: Backend, T: Tape<f32, D>>(
    x: Matrix<D, T>,
    mean: &Vector<D>,
    variance: &Vector<D>,
    weight: &Vector<D>,
    bias: &Vector<D>,
    epsilon: f32,
) -> Result<Matrix<D, T>> {
    let run = || -> Result<_, D::Err> {
        let shape = *x.shape();
        let deviation = variance.clone().try_add(epsilon)?.try_sqrt()?;
        let weight = weight.retaped::<T>().try_div(deviation)?; // (width,)
        let shift = bias.retaped::<T>().try_sub(weight.with_empty_tape().try_mul(mean.clone())?)?;
        let weight = weight.try_broadcast_like::<_, Axis<0>>(&shape)?;
        x.try_mul(weight)?.try_add(shift.try_broadcast_like::<_, Axis<0>>(&shape)?)
    };
    run().map_err(failed("batch_norm"))
}

/// Each element times a constant.
pub fn multiply<D: Backend, T: Tape<f32, D>>(x: Matrix<D, T>, factors: Vec<f32>) -> Result<Matrix<D, T>> {
    let factors = x.device().try_tensor_from_vec(factors, *x.shape()).map_err(failed("multiply"))?;
    x.try_mul(factors).map_err(failed("multiply"))
}
