//! Training on the device that the run names, of a network that lies in host memory before and after.

use super::{BatchSource, History, Run, TrainConfig, Trainable, fit};
use crate::{Result, nn::Backend};
use dfdx::prelude::Cpu;

/// A network that can be trained on any dfdx device and comes back to host memory.
pub trait Portable: Trainable<Cpu> {
    /// The same network on the device E.
    type There<E: Backend>: Trainable<E, Batch = <Self as Trainable<Cpu>>::Batch>;

    /// A copy on `device`.
    ///
    /// # Errors
    /// A device without memory for it.
    fn there<E: Backend>(&self, device: &E) -> Result<Self::There<E>>;

    /// Becomes a copy of the network that was trained.
    ///
    /// # Errors
    /// A device that fails.
    fn take_back<E: Backend>(&mut self, trained: &Self::There<E>) -> Result<()>;
}

/// Implements [`Portable`] for a network `Name<D>` that is [`Movable`](crate::nn::Movable) and [`Trainable`].
macro_rules! portable {
    ($name:ident) => {
        impl $crate::train::Portable for $name<dfdx::prelude::Cpu> {
            type There<E: $crate::nn::Backend> = $name<E>;

            fn there<E: $crate::nn::Backend>(&self, device: &E) -> $crate::Result<$name<E>> {
                $crate::nn::Movable::copied_to(self, device)
            }

            fn take_back<E: $crate::nn::Backend>(&mut self, trained: &$name<E>) -> $crate::Result<()> {
                *self = $crate::nn::Movable::copied_to(trained, &dfdx::prelude::Cpu::default())?;
                Ok(())
            }
        }
    };
}
pub(crate) use portable;

/// As [`fit`], on the device of the run: on CUDA a copy of the network is trained and brought back; the CPU, Metal and Vulkan
/// train the network itself.
///
/// # Errors
/// As [`fit`]; the network is then as it was, where it was trained on CUDA.
pub fn fit_on<M, B>(
    model: &mut M,
    train: &B,
    validation: Option<&B>,
    config: &TrainConfig,
    run: &mut Run<'_>,
) -> Result<History>
where
    M: Portable,
    B: BatchSource<Batch = <M as Trainable<Cpu>>::Batch>,
{
    #[cfg(feature = "cuda")]
    if let crate::device::Device::Cuda(number) = run.device {
        return fit_copy(model, train, validation, &crate::nn::cuda(number)?, config, run);
    }
    fit(model, train, validation, &Cpu::default(), config, run)
}

/// Trains a copy on `device` and takes it back.
///
/// # Errors
/// As [`fit`].
pub fn fit_copy<D, M, B>(
    model: &mut M,
    train: &B,
    validation: Option<&B>,
    device: &D,
    config: &TrainConfig,
    run: &mut Run<'_>,
) -> Result<History>
where
    D: Backend,
    M: Portable,
    B: BatchSource<Batch = <M as Trainable<Cpu>>::Batch>,
{
    let mut there = model.there(device)?;
    let history = fit(&mut there, train, validation, device, config, run)?;
    model.take_back(&there)?;
    Ok(history)
}
