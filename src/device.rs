//! Which device the mathematics runs on, and what this machine has.
//!
//! The CPU always works. CUDA is dfdx's, behind the feature `cuda`. Metal is planned and says so.

use crate::{Error, ErrorKind, Result};
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
}

impl Device {
    /// The fastest device that this build can use on this machine.
    pub fn auto() -> Self {
        let cuda = Self::Cuda(0);
        if cuda.check().is_ok() { cuda } else { Self::Cpu }
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
            Self::Cuda(number) => match nvidia_gpus() {
                0 => no("cuda: no NVIDIA GPU is visible to this process; use cpu".to_owned()),
                count if number >= count => no(format!("cuda:{number}: there are only {count} GPUs, from cuda:0")),
                _ => Ok(()),
            },
            Self::Metal => no("metal: planned, not built in this version; use cpu".to_owned()),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(0) => f.write_str("cuda"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Metal => f.write_str("metal"),
        }
    }
}

impl FromStr for Device {
    type Err = Error;

    /// `auto`, `cpu`, `cuda`, `cuda:1`, `metal`. Whether the device is there is another question: [`Device::check`].
    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::auto()),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "metal" => Ok(Self::Metal),
            other => {
                other.strip_prefix("cuda:").and_then(|number| number.parse().ok()).map(Self::Cuda).ok_or_else(|| {
                    Error::config(format!("no device is called '{text}': auto, cpu, cuda, cuda:N or metal"))
                })
            }
        }
    }
}

/// The NVIDIA GPUs that the driver shows.
fn nvidia_gpus() -> usize {
    fs::read_dir("/proc/driver/nvidia/gpus").map_or(0, |entries| entries.flatten().count())
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
