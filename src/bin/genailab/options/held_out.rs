//! Which cells (or perturbations) a training holds out.

use genailab::{
    Error, Result,
    data::{Dataset, QcConfig, SplitPlan},
};
use serde::{Deserialize, Serialize};

/// Fractions of each perturbation's cells (or of the perturbations, for effects) that are held out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fractions {
    /// The training is validated on it.
    pub validation: f64,
    /// Judged at the end.
    pub test: f64,
}

impl Default for Fractions {
    fn default() -> Self {
        Self { validation: 0.1, test: 0.1 }
    }
}

impl Fractions {
    /// The shares of validation and test.
    pub fn held_out(&self) -> [f64; 2] {
        [self.validation, self.test]
    }

    /// Refuses what leaves nothing to train on.
    pub fn validate(&self) -> Result<()> {
        let Self { validation, test } = *self;
        match validation >= 0.0 && test >= 0.0 && validation + test < 1.0 {
            true => Ok(()),
            false => Err(Error::config(format!(
                "the split holds out validation = {validation} and test = {test}; each must be 0 or more, and their sum \
                 below 1"
            ))),
        }
    }
}

/// The training cells of the usual split, after quality control.
pub fn usual_training_cells(
    data: &Dataset,
    qc: Option<&QcConfig>,
    Fractions { validation, test }: Fractions,
    seed: u64,
) -> Result<Vec<usize>> {
    let good = match qc {
        Some(qc) => qc.good_cells(data)?.0,
        None => (0..data.n_cells()).collect(),
    };
    let split = data.select_cells(&good).split(&SplitPlan::Stratified { validation, test, seed })?;
    Ok(split.train.into_iter().map(|row| good[row]).collect())
}
