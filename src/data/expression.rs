//! What the values of a dataset are: counts, or real numbers that were made of them, or of a microarray.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// What the values of a dataset of cells are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expression {
    /// Counts of molecules, whole numbers from 0: normalised and log-transformed where expression is asked for.
    #[default]
    Counts,
    /// Logarithms (log-normalised cells, a microarray): used as they are.
    Log,
    /// Z-scores, or other values around 0: used as they are.
    Z,
}

impl Expression {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counts => "counts",
            Self::Log => "log",
            Self::Z => "z",
        }
    }

    /// Whether the values are counts.
    pub fn is_counts(self) -> bool {
        self == Self::Counts
    }

    /// Whether expression, as it is scored, is a logarithm, and so not below 0.
    pub fn is_logarithm(self) -> bool {
        self != Self::Z
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Expression {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        [Self::Counts, Self::Log, Self::Z]
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| Error::config(format!("expression is counts, log or z, not {name:?}")))
    }
}
