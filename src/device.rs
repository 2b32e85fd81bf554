//! Which device the mathematics runs on, and what this machine has.
//!
//! The CPU always works. CUDA is dfdx's, behind the feature `cuda`. Metal on Apple machines and Vulkan elsewhere are one
//! backend, [`nn::gpu`](crate::nn::gpu): built in on macOS, behind the feature `metal` elsewhere.

mod driver;

use crate::{Error, ErrorKind, Result, nn::gpu};
use std::{fmt, fs, path::Path, str::FromStr, thread};

/// Where the arrays of a model live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Device {
    /// This machine's processor.
    #[default]
    Cpu,
    /// An NVIDIA GPU, by its number.
    Cuda(usize),
    /// An Apple GPU.
    Metal,
    /// Any GPU with a Vulkan driver.
    Vulkan,
}

/// The environment variable that [`Device::auto`] follows.
const CHOICE: &str = "GENAILAB_DEVICE";

impl Device {
    /// The device that the environment variable `GENAILAB_DEVICE` names, if it names one; else the first of `cuda` and
    /// `cpu` that this build can use on this machine. Nothing is measured. Metal and Vulkan are never chosen unasked: not
    /// every model runs there, and whether they are faster than the CPU depends on the GPU.
    ///
    /// A name that is none counts as `cpu`; `auto` on the command line refuses it.
    pub fn auto() -> Self {
        Self::from_environment().unwrap_or(Self::Cpu)
    }

    /// As [`Self::auto`].
    ///
    /// # Errors
    /// `GENAILAB_DEVICE` names no device.
    fn from_environment() -> Result<Self> {
        match std::env::var(CHOICE).as_deref() {
            Ok("" | "auto") | Err(_) => Ok(if Self::Cuda(0).check().is_ok() { Self::Cuda(0) } else { Self::Cpu }),
            Ok(name) => name.parse().map_err(|error: Error| error.at(CHOICE)),
        }
    }

    /// Why [`Self::auto`] chooses what it chooses, in a few words.
    pub fn reason() -> String {
        match (std::env::var(CHOICE), Self::auto()) {
            (Ok(name), _) if !name.is_empty() && name != "auto" => format!("{CHOICE} says {name}"),
            (_, Self::Cpu) => "no usable cuda; metal and vulkan must be asked for".to_owned(),
            _ => "an NVIDIA GPU is there".to_owned(),
        }
    }

    /// Whether the device computes for tensors that lie in the processor's memory.
    pub(crate) fn is_offload(self) -> bool {
        matches!(self, Self::Metal | Self::Vulkan)
    }

    /// Lets the operations of this thread run on the device for as long as the result lives, where it computes for tensors that
    /// lie in the processor's memory.
    ///
    /// # Errors
    /// A device that is not there.
    pub(crate) fn enter(self) -> Result<Option<gpu::Entered>> {
        self.is_offload().then(gpu::enter).transpose()
    }

    /// Whether this build, on this machine, can compute on the device.
    ///
    /// # Errors
    /// It cannot; the message says what to do.
    pub fn check(self) -> Result<()> {
        let no = |message: String| Err(Error::new(ErrorKind::Device, message));
        match self {
            Self::Cpu => Ok(()),
            Self::Cuda(_) if !cfg!(feature = "cuda") => {
                no("cuda: not built in; rebuild with --features cuda".to_owned())
            }
            Self::Cuda(number) => match driver::nvidia_gpus() {
                0 => no("cuda: no NVIDIA GPU is visible to this process; use cpu".to_owned()),
                count if number >= count => no(format!("cuda:{number}: there are only {count} GPUs, from cuda:0")),
                _ => Ok(()),
            },
            Self::Metal if !cfg!(target_os = "macos") => {
                no("metal: not built in, as this is no Apple machine; use vulkan or cpu".to_owned())
            }
            Self::Vulkan if cfg!(target_os = "macos") => {
                no("vulkan: not built in, as this is an Apple machine; use metal or cpu".to_owned())
            }
            Self::Metal | Self::Vulkan => gpu::adapters().map(drop),
        }
    }
}

/// The NVIDIA GPUs that this process may use, as their driver counts them, whatever is built in; 0 without a driver.
pub fn nvidia_gpus() -> usize {
    driver::nvidia_gpus()
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(0) => f.write_str("cuda"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Metal => f.write_str("metal"),
            Self::Vulkan => f.write_str("vulkan"),
        }
    }
}

impl FromStr for Device {
    type Err = Error;

    /// `auto`, `cpu`, `cuda`, `cuda:1`, `metal`, `vulkan`. Whether the device is there is another question: [`Device::check`].
    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "auto" => Self::from_environment(),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "metal" => Ok(Self::Metal),
            "vulkan" => Ok(Self::Vulkan),
            other => {
                other.strip_prefix("cuda:").and_then(|number| number.parse().ok()).map(Self::Cuda).ok_or_else(|| {
                    Error::config(format!("no device is called '{text}': auto, cpu, cuda, cuda:N, metal or vulkan"))
                })
            }
        }
    }
}

/// The processor cores and the memory that a computation on this machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// Threads that run at once.
    pub cores: usize,
    /// Memory in bytes, where the system says.
    pub memory: Option<u64>,
    /// Memory that is free for a new process, in bytes, where the system says.
    pub available: Option<u64>,
}

impl Resources {
    /// Asks the system.
    pub fn detect() -> Self {
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let limit = cgroup_limit();
        let within = |bytes: Option<u64>| match (bytes, limit) {
            (Some(bytes), Some(limit)) => Some(bytes.min(limit)),
            (bytes, limit) => bytes.or(limit),
        };
        Self {
            cores: thread::available_parallelism().map_or(1, usize::from),
            memory: within(meminfo_bytes(&meminfo, "MemTotal:").or_else(sysctl_memory)),
            available: within(meminfo_bytes(&meminfo, "MemAvailable:")),
        }
    }
}

/// `MemTotal:  24608768 kB` in bytes.
#[doc(hidden)]
pub fn meminfo_bytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// A container's limit is smaller than the machine's memory.
fn cgroup_limit() -> Option<u64> {
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|file| fs::read_to_string(Path::new(file)).ok()?.trim().parse().ok())
        // "No limit" is written as a number near the largest there is.
        .filter(|&bytes: &u64| bytes < 1 << 60)
}

/// macOS has no `/proc`.
fn sysctl_memory() -> Option<u64> {
    let output = std::process::Command::new("sysctl").args(["-n", "hw.memsize"]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
