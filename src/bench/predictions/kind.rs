//! What the rows of a prediction file are.

use crate::{Error, Result};
use std::str::FromStr;

/// What the rows of a prediction file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PredictionKind {
    /// Differences to control.
    Effects,
    /// Mean log-normalised expression.
    Profiles,
    /// Cells.
    Cells,
}

impl PredictionKind {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Effects => "effects",
            Self::Profiles => "profiles",
            Self::Cells => "cells",
        }
    }
}

impl FromStr for PredictionKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        [Self::Effects, Self::Profiles, Self::Cells]
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| Error::config(format!("predictions are effects, profiles or cells, not {name:?}")))
    }
}
