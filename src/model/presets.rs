//! Which size of a model suits the machine it is trained on.

use crate::{
    device::{Device, Resources},
    nn::gpu,
};

/// The sizes that models come in, smallest first.
pub const SIZES: [&str; 4] = ["tiny", "small", "medium", "large"];

/// Cores and memory from which a CPU takes on a medium size.
const MANY_CORES: usize = 8;
const MUCH_MEMORY: u64 = 16 << 30;
/// Memory below which the smallest size is the one to take.
const LITTLE_MEMORY: u64 = 4 << 30;

/// The largest size that this machine is meant for, and why: a rule of thumb, nothing is measured.
///
/// | device | size |
/// |---|---|
/// | CUDA | large |
/// | Metal or Vulkan on a GPU | medium |
/// | CPU (or Vulkan computed by it), 8 cores and 16 GB or more | medium |
/// | CPU | small |
/// | CPU, below 4 GB | tiny |
pub fn largest_for(device: Device, resources: Resources) -> (&'static str, String) {
    match device {
        Device::Cuda(_) => return ("large", "an NVIDIA GPU".to_owned()),
        Device::Metal | Device::Vulkan => {
            let adapters = gpu::adapters().unwrap_or_default();
            if let Some(adapter) = adapters.first().filter(|adapter| !adapter.is_software) {
                return ("medium", adapter.name.clone());
            }
        }
        Device::Cpu => {}
    }
    let Resources { cores, memory, .. } = resources;
    let gigabytes = memory.map_or(String::new(), |bytes| format!(", {:.0} GB", bytes as f64 / 1e9));
    let size = match memory {
        Some(bytes) if bytes < LITTLE_MEMORY => "tiny",
        _ if cores >= MANY_CORES && memory.is_none_or(|bytes| bytes >= MUCH_MEMORY) => "medium",
        _ => "small",
    };
    (size, format!("a CPU with {cores} cores{gigabytes}"))
}

/// The size for data that asks for `by_data`, on a machine whose largest size is `largest`. The largest of all is only taken
/// where the machine is meant for it and the data asks for the one below, which is the most that data asks for.
pub fn suited(by_data: &'static str, largest: &'static str) -> &'static str {
    let place = |size: &str| SIZES.iter().position(|name| *name == size).unwrap_or(0);
    match (by_data, largest) {
        ("medium", "large") => "large",
        _ if place(by_data) <= place(largest) => by_data,
        _ => largest,
    }
}
