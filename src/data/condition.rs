//! What a benchmark predicts: a perturbation, in a context where the data has one.

use super::{Dataset, Perturbation};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A perturbation in a context (a stimulation, a replicate, a cell type), or in the only one there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Condition {
    /// What was perturbed.
    pub perturbation: Perturbation,
    /// The value of the context column; `None` where no column was asked for.
    pub context: Option<String>,
}

impl Condition {
    /// A perturbation where there is one context only.
    pub fn of(perturbation: Perturbation) -> Self {
        Self { perturbation, context: None }
    }
}

impl fmt::Display for Condition {
    /// `A+B`, or `A+B in stimulated`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.context {
            Some(context) => write!(f, "{} in {context}", self.perturbation),
            None => write!(f, "{}", self.perturbation),
        }
    }
}

/// The conditions of a cells dataset and the cells of each.
#[derive(Debug, Clone)]
pub struct Conditions {
    /// The distinct conditions, sorted, those of control too.
    pub conditions: Vec<Condition>,
    /// Index into `conditions`, one a cell.
    pub of_cell: Vec<u32>,
}

impl Conditions {
    /// The conditions of `data`, with the column `context` of its cells as the context.
    ///
    /// # Errors
    /// A column that is not there or misses a value.
    pub fn of(data: &Dataset, context: Option<&str>) -> Result<Self> {
        let contexts: Vec<Option<String>> = match context {
            None => vec![None; data.n_cells()],
            Some(name) => {
                let column = data.cells.column(name).ok_or_else(|| {
                    Error::config(format!(
                        "there is no column {name:?} of cells to take the context from; the columns are {}",
                        data.cells.column_names().join(", ")
                    ))
                })?;
                let values = column.to_text();
                if let Some(cell) = values.iter().position(Option::is_none) {
                    return Err(Error::data(format!("the column {name:?} has no value for cell {cell}")));
                }
                values
            }
        };
        let all: Vec<Condition> = contexts
            .into_iter()
            .enumerate()
            .map(|(cell, context)| Condition { perturbation: data.perturbation_of(cell).clone(), context })
            .collect();
        let mut conditions = all.clone();
        conditions.sort();
        conditions.dedup();
        let place = |condition| conditions.binary_search(condition).expect("taken from the same list") as u32;
        let of_cell = all.iter().map(place).collect();
        Ok(Self { conditions, of_cell })
    }
}
