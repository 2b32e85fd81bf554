//! Initial weights: uniform and normal draws from an explicit generator, in row-major order.

use super::Backend;
use crate::{Error, Result};
use dfdx::prelude::{Shape, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// A generator of random numbers from a seed: for notebooks, which have no dependency of their own.
pub fn seeded(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// `1 / sqrt(inputs)`: PyTorch's default bound for the weights and the bias of a linear layer.
pub fn kaiming_bound(inputs: usize) -> f32 {
    1.0 / (inputs.max(1) as f32).sqrt()
}

/// Values uniform in `[-bound, bound)`.
///
/// # Errors
/// A device without memory for it.
pub fn uniform<D: Backend, S: Shape>(
    device: &D,
    shape: S,
    bound: f32,
    rng: &mut ChaCha8Rng,
) -> Result<Tensor<S, f32, D>> {
    fill(device, shape, || bound * (2.0 * rng.random::<f32>() - 1.0))
}

/// Values of a normal distribution with mean 0.
///
/// # Errors
/// A device without memory for it.
pub fn normal<D: Backend, S: Shape>(
    device: &D,
    shape: S,
    standard_deviation: f32,
    rng: &mut ChaCha8Rng,
) -> Result<Tensor<S, f32, D>> {
    fill(device, shape, || standard_deviation * rng.sample::<f32, _>(StandardNormal))
}

/// The same value everywhere.
///
/// # Errors
/// A device without memory for it.
pub fn constant<D: Backend, S: Shape>(device: &D, shape: S, value: f32) -> Result<Tensor<S, f32, D>> {
    fill(device, shape, || value)
}

fn fill<D: Backend, S: Shape>(device: &D, shape: S, mut draw: impl FnMut() -> f32) -> Result<Tensor<S, f32, D>> {
    let values = (0..shape.num_elements()).map(|_| draw()).collect();
    device.try_tensor_from_vec(values, shape).map_err(|e| Error::device("allocation of a weight", e))
}
