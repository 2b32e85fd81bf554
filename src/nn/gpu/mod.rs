//! The operations that carry the time as compute shaders, on whatever GPU wgpu reaches: Metal on Apple machines, Vulkan
//! elsewhere. The same shaders run on both.
//!
//! dfdx lets no outside crate add a device: a tensor cannot be made of foreign storage. So this is an *offload* over CPU
//! tensors. A model on this device is a network of CPU tensors; while its code runs inside [`enter`], the operations of
//! [`Backend`](super::Backend) that have a shader run it instead of the CPU's kernel, and the others run on the CPU.
//!
//! What stays on the GPU, and what travels (`session` holds it):
//! - weights, their gradients and Adam's moments stay there from step to step;
//! - the input of an operation that is the output of another one, and what an operation keeps for its backward pass, is
//!   not sent again;
//! - every output, and every gradient of an input, is brought to the host, because the next operation may be one of
//!   dfdx's own, which reads the host's copy. The weights are brought back after each step for the same reason.
//!
//! | file | what it holds |
//! |---|---|
//! | `adapter` | which GPUs there are, and which is taken |
//! | `context` | the opened GPU: pipelines, buffers, errors |
//! | `kernels` | the shaders by name |
//! | `session` | what is on the GPU while a model runs |
//! | `commands` | arrays, and the commands that work on them |
//! | `product`, `sparse`, `activation`, `norms`, `count_nll`, `attention`, `adam` | the operations |

#[cfg(any(feature = "metal", target_os = "macos"))]
mod built;
#[cfg(any(feature = "metal", target_os = "macos"))]
pub(crate) use built::ops;
#[cfg(any(feature = "metal", target_os = "macos"))]
pub use built::{Entered, adapters, enter, gradient, is_active, shaders};

#[cfg(not(any(feature = "metal", target_os = "macos")))]
mod absent;
#[cfg(not(any(feature = "metal", target_os = "macos")))]
pub use absent::{Entered, adapters, enter};

use std::fmt;

/// What this backend is called here: `metal` or `vulkan`.
pub const NAME: &str = if cfg!(target_os = "macos") { "metal" } else { "vulkan" };

/// A GPU, or a program that stands in for one, as its driver describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapter {
    /// Its name.
    pub name: String,
    /// Its driver, with the version.
    pub driver: String,
    /// Whether it is a program that computes on the processor, such as Mesa's llvmpipe.
    pub is_software: bool,
    /// Bytes that one array may have.
    pub largest_array: u64,
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.name, self.driver)?;
        if self.is_software {
            f.write_str("; a program on the processor, slower than the device cpu")?;
        }
        write!(f, "; arrays of up to {} MB)", self.largest_array / 1_000_000)
    }
}
