//! Where a model is computed.

use crate::{Error, ErrorKind};
use std::{fmt, str::FromStr};

/// A device that models run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// All cores of this machine.
    #[default]
    Cpu,
    /// The NVIDIA GPU of that number.
    Cuda(usize),
    /// The GPU of an Apple machine.
    Metal,
}

impl Device {
    /// What is said where a device is asked for that this build does not have.
    pub fn not_built_in(self) -> Error {
        Error::new(ErrorKind::Device, format!("{self} is not built in; use --device cpu"))
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
            Self::Metal => f.write_str("metal"),
        }
    }
}

impl FromStr for Device {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "cpu" | "auto" => Ok(Self::Cpu),
            _ => Err(Error::config(format!("device {name:?} is unknown; it is one of auto, cpu, cuda, cuda:N, metal"))),
        }
    }
}
