//! What an optimizer does to one tensor: the squared norm of its gradient, Adam's update, an average's update.
//!
//! [`OptimStep`] holds the three for every device; its default methods are composed of dfdx's own operations, and the
//! CPU has one fused pass over weight, gradient and both moments. That pass is bound by memory: 36 bytes go to and fro
//! for each weight, so it touches each of them once, on all cores, with the SIMD that the machine has at run time.

#[cfg(any(feature = "metal", target_os = "macos"))]
use crate::nn::gpu;
use crate::{
    Error, ErrorKind, Result,
    nn::{Vector, raw, simd::dispatch},
};
use dfdx::{
    prelude::{Axis, Cpu, Gradients, HasShape, Rank0, ReshapeTo, Shape, SumTo, Tensor, TryAdd, TryDiv, TryMul},
    tensor_ops::Device,
};
use rayon::prelude::*;

/// Elements that one task of the CPU kernels works on: four arrays of it (512 KiB) fit a core's second-level cache.
/// Sums are taken per chunk and the chunks added in order, so no figure depends on the number of threads.
const CHUNK: usize = 1 << 15;
/// Partial sums within a chunk; fixed, so that no figure depends on the width of the machine's SIMD registers.
const LANES: usize = 16;

/// Running means of a weight's gradient and of its square.
#[derive(Debug, Clone)]
pub struct Moments<D: Device<f32>> {
    /// Mean of the gradient, m; as many elements as the weight.
    pub first: Vector<D>,
    /// Mean of the squared gradient, v; as many elements as the weight.
    pub second: Vector<D>,
    /// Updates of this weight so far, t.
    pub steps: u64,
}

/// The numbers of one update of one tensor, in the notation of [`Adam`](crate::nn::Adam).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamStep {
    /// The gradient is multiplied by this first (1 where nothing is clipped).
    pub clip: f64,
    /// Added to the gradient: this times the weight (L2 penalty).
    pub l2: f64,
    /// The weight is multiplied by this first (decoupled weight decay).
    pub shrink: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the denominator.
    pub epsilon: f64,
    /// Learning rate over the first bias correction, `lr / (1 - beta1^t)`.
    pub step_size: f64,
    /// Second bias correction, `1 / sqrt(1 - beta2^t)`.
    pub scale: f64,
}

/// The part of an optimizer step that depends on the device. The defaults compose dfdx's own operations.
pub trait OptimStep: Device<f32> {
    /// Sum of the squares of a weight's gradient; 0 if it has none.
    ///
    /// # Errors
    /// A device that has no memory left.
    fn squared_norm<S: Shape>(weight: &Tensor<S, f32, Self>, gradients: &mut Gradients<f32, Self>) -> Result<f64> {
        composed::squared_norm(weight, gradients)
    }

    /// One update of a weight and of its moments; leaves the gradient at zero.
    ///
    /// # Errors
    /// A device that has no memory left; a weight that is not contiguous.
    fn adam<S: Shape>(
        weight: &mut Tensor<S, f32, Self>,
        gradients: &mut Gradients<f32, Self>,
        moments: &mut Moments<Self>,
        by: &AdamStep,
    ) -> Result<()> {
        composed::adam(weight, gradients, moments, by)
    }

    /// `average = momentum * average + (1 - momentum) * value`; both have as many elements.
    ///
    /// # Errors
    /// A device that has no memory left; an average that is not contiguous.
    fn blend<S: Shape>(average: &mut Tensor<S, f32, Self>, value: &Vector<Self>, momentum: f64) -> Result<()> {
        composed::blend(average, value, momentum)
    }

    /// The values of a tensor of the optimizer, which a device may keep apart from it.
    ///
    /// # Errors
    /// A device that fails.
    fn values<S: Shape>(tensor: &Tensor<S, f32, Self>) -> Result<Vec<f32>> {
        Ok(tensor.as_vec())
    }

    /// To be told that a weight was overwritten by other means than [`Self::adam`], for a device that keeps copies.
    fn overwritten<S: Shape>(weight: &Tensor<S, f32, Self>) {
        let _ = weight;
    }

    /// To be told that the tape of the step before is gone.
    fn begin_step() {}

    /// What went wrong where dfdx reported `source`.
    fn failure(operation: &str, source: impl std::fmt::Debug) -> Error {
        Error::device(operation, source)
    }
}

#[cfg(feature = "cuda")]
impl OptimStep for dfdx::prelude::Cuda {}

/// The three of [`OptimStep`] for any device, of dfdx's operations; on the CPU they are the fused kernels' oracle.
pub mod composed {
    use super::*;

    /// See [`OptimStep::squared_norm`].
    ///
    /// # Errors
    /// A device that has no memory left.
    pub fn squared_norm<D: Device<f32>, S: Shape>(
        weight: &Tensor<S, f32, D>,
        gradients: &mut Gradients<f32, D>,
    ) -> Result<f64> {
        let sum = || -> Result<f32, D::Err> {
            gradients.try_alloc_for(weight)?;
            let gradient = gradients.get(weight).try_reshape_like(&(weight.shape().num_elements(),))?;
            let sum: Tensor<Rank0, f32, D> = gradient.try_square()?.try_sum::<_, Axis<0>>()?;
            Ok(sum.as_vec()[0])
        };
        sum_of(sum)
    }

    fn sum_of<E: std::fmt::Debug>(sum: impl FnOnce() -> Result<f32, E>) -> Result<f64> {
        sum().map(f64::from).map_err(|e| Error::device("norm of a gradient", e))
    }

    /// See [`OptimStep::adam`].
    ///
    /// # Errors
    /// A device that has no memory left.
    pub fn adam<D: Device<f32>, S: Shape>(
        weight: &mut Tensor<S, f32, D>,
        gradients: &mut Gradients<f32, D>,
        moments: &mut Moments<D>,
        by: &AdamStep,
    ) -> Result<()> {
        let mut update = || -> Result<(), D::Err> {
            let flat = (weight.shape().num_elements(),);
            gradients.try_alloc_for(weight)?;
            let mut gradient = gradients.get(weight).try_reshape_like(&flat)?;
            if by.clip != 1.0 {
                gradient = gradient.try_mul(by.clip as f32)?;
            }
            if by.l2 != 0.0 {
                gradient = gradient.try_add(weight.clone().try_reshape_like(&flat)?.try_mul(by.l2 as f32)?)?;
            }
            moments.first.try_axpy(by.beta1, &gradient, 1.0 - by.beta1)?;
            moments.second.try_axpy(by.beta2, &gradient.try_square()?, 1.0 - by.beta2)?;
            let scaled = moments.second.clone().try_sqrt()?.try_mul(by.scale as f32)?;
            let ratio = moments.first.clone().try_div(scaled.try_add(by.epsilon as f32)?)?;
            weight.try_axpy(by.shrink, &ratio.try_reshape_like(&{ *weight.shape() })?, -by.step_size)?;
            let device = weight.device().clone();
            device.try_fill_with_zeros(gradients.get_or_alloc_mut(weight)?)
        };
        update().map_err(|e| Error::device("Adam", e))
    }

    /// See [`OptimStep::blend`].
    ///
    /// # Errors
    /// A device that has no memory left.
    pub fn blend<D: Device<f32>, S: Shape>(
        average: &mut Tensor<S, f32, D>,
        value: &Vector<D>,
        momentum: f64,
    ) -> Result<()> {
        value
            .clone()
            .try_reshape_like(&{ *average.shape() })
            .and_then(|value| average.try_axpy(momentum, &value, 1.0 - momentum))
            .map_err(|e| Error::device("moving average", e))
    }
}

impl OptimStep for Cpu {
    fn squared_norm<S: Shape>(weight: &Tensor<S, f32, Cpu>, gradients: &mut Gradients<f32, Cpu>) -> Result<f64> {
        #[cfg(any(feature = "metal", target_os = "macos"))]
        if gpu::is_active() && gpu::ops::is_resident(weight) {
            return gpu::ops::squared_norm(weight, gradients);
        }
        let gradient = gradients.get_or_alloc_mut(weight).map_err(|e| Error::device("norm of a gradient", e))?;
        let mut sums = vec![0.0; gradient.len().div_ceil(CHUNK)];
        let chunks = gradient.par_chunks(CHUNK);
        sums.par_iter_mut().zip(chunks).for_each(|(sum, chunk)| *sum = dispatch!(sum_of_squares(chunk)));
        Ok(sums.iter().sum())
    }

    fn adam<S: Shape>(
        weight: &mut Tensor<S, f32, Cpu>,
        gradients: &mut Gradients<f32, Cpu>,
        moments: &mut Moments<Cpu>,
        by: &AdamStep,
    ) -> Result<()> {
        #[cfg(any(feature = "metal", target_os = "macos"))]
        if gpu::is_active() && gpu::ops::is_resident(weight) {
            return gpu::ops::adam(weight, moments, by);
        }
        let gradient = gradients.get_or_alloc_mut(weight).map_err(|e| Error::device("Adam", e))?;
        let by = Adam32::from(by);
        (
            in_place(weight)?.par_chunks_mut(CHUNK),
            gradient.par_chunks_mut(CHUNK),
            in_place(&mut moments.first)?.par_chunks_mut(CHUNK),
            in_place(&mut moments.second)?.par_chunks_mut(CHUNK),
        )
            .into_par_iter()
            .for_each(|(w, g, m, v)| dispatch!(adam_chunk(w, g, m, v, by)));
        Ok(())
    }

    fn blend<S: Shape>(average: &mut Tensor<S, f32, Cpu>, value: &Vector<Cpu>, momentum: f64) -> Result<()> {
        let (keep, take) = (momentum as f32, (1.0 - momentum) as f32);
        let value = raw::slice(value);
        in_place(average)?.par_chunks_mut(CHUNK).zip(value.par_chunks(CHUNK)).for_each(|(average, value)| {
            dispatch!(average.iter_mut().zip(value).for_each(|(a, x)| *a = keep * *a + take * x));
        });
        Self::overwritten(average);
        Ok(())
    }

    #[cfg(any(feature = "metal", target_os = "macos"))]
    fn values<S: Shape>(tensor: &Tensor<S, f32, Cpu>) -> Result<Vec<f32>> {
        if gpu::is_active() { gpu::ops::values(tensor) } else { Ok(tensor.as_vec()) }
    }

    #[cfg(any(feature = "metal", target_os = "macos"))]
    fn overwritten<S: Shape>(weight: &Tensor<S, f32, Cpu>) {
        gpu::ops::forget(weight);
    }

    #[cfg(any(feature = "metal", target_os = "macos"))]
    fn begin_step() {
        gpu::ops::begin_step();
    }

    #[cfg(any(feature = "metal", target_os = "macos"))]
    fn failure(operation: &str, source: impl std::fmt::Debug) -> Error {
        gpu::ops::failure().unwrap_or_else(|| Error::device(operation, source))
    }
}

/// [`AdamStep`] as the kernel computes with it.
#[derive(Clone, Copy)]
struct Adam32 {
    clip: f32,
    l2: f32,
    shrink: f32,
    take1: f32,
    beta2: f32,
    take2: f32,
    epsilon: f32,
    step_size: f32,
    scale: f32,
}

impl From<&AdamStep> for Adam32 {
    fn from(by: &AdamStep) -> Self {
        Self {
            clip: by.clip as f32,
            l2: by.l2 as f32,
            shrink: by.shrink as f32,
            take1: (1.0 - by.beta1) as f32,
            beta2: by.beta2 as f32,
            take2: (1.0 - by.beta2) as f32,
            epsilon: by.epsilon as f32,
            step_size: by.step_size as f32,
            scale: by.scale as f32,
        }
    }
}

// Inlined into the function that `pulp` compiles for each instruction set, and vectorised there by the compiler.
#[inline(always)]
fn adam_chunk(w: &mut [f32], g: &mut [f32], m: &mut [f32], v: &mut [f32], by: Adam32) {
    for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
        let gradient = *g * by.clip + *w * by.l2;
        *g = 0.0;
        *m += (gradient - *m) * by.take1;
        *v = *v * by.beta2 + gradient * gradient * by.take2;
        *w = *w * by.shrink - by.step_size * (*m / (v.sqrt() * by.scale + by.epsilon));
    }
}

#[inline(always)]
fn sum_of_squares(values: &[f32]) -> f64 {
    let mut lanes = [0.0_f64; LANES];
    let (rows, rest) = values.as_chunks::<LANES>();
    for row in rows {
        for (sum, &value) in lanes.iter_mut().zip(row) {
            *sum += f64::from(value) * f64::from(value);
        }
    }
    lanes.iter().sum::<f64>() + rest.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>()
}

/// The elements of a weight, to update in place. If another tensor shares them, this one gets its own copy first.
fn in_place<S: Shape>(tensor: &mut Tensor<S, f32, Cpu>) -> Result<&mut [f32]> {
    let shape = *tensor.shape();
    raw::slice_mut(tensor).ok_or_else(|| {
        Error::new(
            ErrorKind::Shape,
            format!("a weight of shape {shape:?} is broadcast or permuted; it cannot be updated"),
        )
    })
}
