//! The same network on another device.
//!
//! A trained model lies in host memory: it is saved, loaded and asked there, whatever it was trained on. For a training on
//! another dfdx device a copy of the network moves there and comes back ([`train::fit_on`](crate::train::fit_on)).

use super::{Backend, Frozen, params::host};
use crate::{Error, Result};
use dfdx::prelude::{HasShape, Shape, Tensor};
use std::collections::BTreeMap;
#[cfg(feature = "cuda")]
use {dfdx::prelude::Cuda, std::cell::RefCell};

#[cfg(feature = "cuda")]
thread_local! {
    /// The opened GPUs by number: dfdx loads its kernels anew into each device that is opened.
    static OPENED: RefCell<BTreeMap<usize, Cuda>> = const { RefCell::new(BTreeMap::new()) };
}

/// The NVIDIA GPU of this number, opened once per thread. Its own random numbers are not used: all come from the host.
///
/// # Errors
/// A GPU that is not there or cannot be opened.
#[cfg(feature = "cuda")]
pub(crate) fn cuda(number: usize) -> Result<Cuda> {
    crate::device::Device::Cuda(number).check()?;
    OPENED.with_borrow_mut(|opened| {
        if let Some(device) = opened.get(&number) {
            return Ok(device.clone());
        }
        let device =
            Cuda::try_build(number, 0).map_err(|e| Error::device(&format!("opening CUDA device {number}"), e))?;
        opened.insert(number, device.clone());
        Ok(device)
    })
}

/// What can be copied to another device.
pub trait Movable {
    /// The same on the device E.
    type On<E: Backend>;

    /// A copy on `device`. Weights, buffers and everything else have the same values there.
    ///
    /// # Errors
    /// A device without memory for it.
    fn copied_to<E: Backend>(&self, device: &E) -> Result<Self::On<E>>;
}

impl<D: Backend, S: Shape> Movable for Tensor<S, f32, D> {
    type On<E: Backend> = Tensor<S, f32, E>;

    fn copied_to<E: Backend>(&self, device: &E) -> Result<Tensor<S, f32, E>> {
        device.try_tensor_from_vec(host(self), *self.shape()).map_err(|e| Error::device("copying a network", e))
    }
}

impl<P: Movable> Movable for Vec<P> {
    type On<E: Backend> = Vec<P::On<E>>;

    fn copied_to<E: Backend>(&self, device: &E) -> Result<Self::On<E>> {
        self.iter().map(|part| part.copied_to(device)).collect()
    }
}

impl<K: Clone + Ord, P: Movable> Movable for BTreeMap<K, P> {
    type On<E: Backend> = BTreeMap<K, P::On<E>>;

    fn copied_to<E: Backend>(&self, device: &E) -> Result<Self::On<E>> {
        self.iter().map(|(name, part)| Ok((name.clone(), part.copied_to(device)?))).collect()
    }
}

impl<P: Movable, const N: usize> Movable for [P; N] {
    type On<E: Backend> = [P::On<E>; N];

    fn copied_to<E: Backend>(&self, device: &E) -> Result<Self::On<E>> {
        let parts = self.iter().map(|part| part.copied_to(device)).collect::<Result<Vec<_>>>()?;
        Ok(parts.try_into().unwrap_or_else(|_| unreachable!("as many parts as there were")))
    }
}

impl<P: Movable> Movable for Option<P> {
    type On<E: Backend> = Option<P::On<E>>;

    fn copied_to<E: Backend>(&self, device: &E) -> Result<Self::On<E>> {
        self.as_ref().map(|part| part.copied_to(device)).transpose()
    }
}

impl<P: Movable> Movable for Box<P> {
    type On<E: Backend> = Box<P::On<E>>;

    fn copied_to<E: Backend>(&self, device: &E) -> Result<Self::On<E>> {
        (**self).copied_to(device).map(Box::new)
    }
}

impl<P: Movable> Movable for Frozen<P> {
    type On<E: Backend> = Frozen<P::On<E>>;

    fn copied_to<E: Backend>(&self, device: &E) -> Result<Self::On<E>> {
        self.0.copied_to(device).map(Frozen)
    }
}

/// Implements [`Movable`] for a struct `Name<D>`: fields under `moved` move, those under `kept` are cloned, and one under
/// `device_field` becomes the new device.
macro_rules! movable {
    ($name:ident { moved: [$($m:ident),* $(,)?], kept: [$($k:ident),*] $(, device_field: $d:ident)? }) => {
        impl<D: $crate::nn::Backend> $crate::nn::Movable for $name<D> {
            type On<E: $crate::nn::Backend> = $name<E>;

            #[allow(unused_variables)]
            fn copied_to<E: $crate::nn::Backend>(&self, device: &E) -> $crate::Result<$name<E>> {
                Ok($name {
                    $($m: self.$m.copied_to(device)?,)*
                    $($k: self.$k.clone(),)*
                    $($d: device.clone(),)?
                })
            }
        }
    };
}
pub(crate) use movable;

/// Implements [`Movable`] for an enum `Name<D>` whose variants hold one network each.
macro_rules! movable_variants {
    ($name:ident { $($variant:ident),* }) => {
        impl<D: $crate::nn::Backend> $crate::nn::Movable for $name<D> {
            type On<E: $crate::nn::Backend> = $name<E>;

            fn copied_to<E: $crate::nn::Backend>(&self, device: &E) -> $crate::Result<$name<E>> {
                Ok(match self {
                    $(Self::$variant(net) => $name::$variant(net.copied_to(device)?),)*
                })
            }
        }
    };
}
pub(crate) use movable_variants;
