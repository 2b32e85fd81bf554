//! The operations and trainings of a GPU (Vulkan here, Metal on Apple machines) against those of the CPU.
//!
//! Where there is no adapter, or the backend is not built in, these tests say that they are skipped; where
//! `GENAILAB_REQUIRE_VULKAN` is set, as in `make test`, they fail. Mesa's lavapipe is an adapter that needs no GPU.

#[cfg(any(feature = "metal", target_os = "macos"))]
mod ops;
#[cfg(any(feature = "metal", target_os = "macos"))]
mod shaders;
mod training;

use crate::common::skip_unless_required;
use genailab::{device::Device, nn::gpu};

/// The device that wgpu gives here.
pub const DEVICE: Device = if cfg!(target_os = "macos") { Device::Metal } else { Device::Vulkan };

/// Whether it is there.
#[track_caller]
pub fn is_there() -> bool {
    match gpu::adapters() {
        Ok(_) => true,
        Err(error) => {
            skip_unless_required("GENAILAB_REQUIRE_VULKAN", &error.to_string());
            false
        }
    }
}
