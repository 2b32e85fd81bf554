//! Splits of conditions: which perturbations (in which context) are trained on, and which are predicted unseen.

use super::{Split, SplitPlan, shuffle};
use crate::{
    Error, Result,
    data::{Condition, Conditions},
};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which conditions are trained on, watched and judged; by name, so that it means the same on every machine.
/// Control is not among them: its cells are trained on, and every effect is a difference to them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConditionSplit {
    /// How the split was made.
    pub plan: SplitPlan,
    /// Conditions that a predictor is fitted to.
    pub train: Vec<Condition>,
    /// Conditions that a predictor may choose its settings by.
    pub validation: Vec<Condition>,
    /// Conditions that are predicted unseen.
    pub test: Vec<Condition>,
    /// The group of each test condition, by its name: how much of it was seen. A plan may have one group only.
    pub groups: BTreeMap<String, String>,
}

impl SplitPlan {
    /// Divides the conditions of a dataset; those of control are ignored.
    ///
    /// # Errors
    /// A plan that divides cells; nothing to hold out.
    pub fn conditions(&self, conditions: &[Condition]) -> Result<ConditionSplit> {
        match *self {
            Self::Stratified { .. } => Err(Error::config("this plan divides cells, not conditions")),
            Self::Doubles { test, seed } => {
                let known =
                    |gene: &String| conditions.iter().any(|c| c.perturbation.genes() == std::slice::from_ref(gene));
                let (mut doubles, mut train): (Vec<Condition>, Vec<Condition>) = conditions
                    .iter()
                    .filter(|c| !c.perturbation.is_control())
                    .cloned()
                    .partition(|c| c.perturbation.genes().len() == 2 && c.perturbation.genes().iter().all(known));
                shuffle(&mut doubles, &mut ChaCha8Rng::seed_from_u64(seed));
                let n = (test * doubles.len() as f64).round() as usize;
                train.extend(doubles.split_off(n));
                Ok(ConditionSplit {
                    plan: self.clone(),
                    train,
                    validation: Vec::new(),
                    test: doubles,
                    groups: BTreeMap::new(),
                })
            }
        }
    }
}

impl ConditionSplit {
    /// The same split as lists of cells. Control cells are trained on.
    ///
    /// # Errors
    /// A condition that stands in no part.
    pub fn cells(&self, conditions: &Conditions) -> Result<Split> {
        let of_condition = self.rows(&conditions.conditions)?;
        let mut split = Split { train: Vec::new(), validation: Vec::new(), test: Vec::new() };
        let mut part = vec![0_u8; conditions.conditions.len()];
        of_condition.validation.iter().for_each(|&row| part[row] = 1);
        of_condition.test.iter().for_each(|&row| part[row] = 2);
        for (cell, &condition) in conditions.of_cell.iter().enumerate() {
            [&mut split.train, &mut split.validation, &mut split.test][part[condition as usize] as usize].push(cell);
        }
        Ok(split)
    }

    /// The same split as lists of rows of a table with one row a condition (an effects dataset).
    ///
    /// # Errors
    /// A condition that stands in no part.
    pub fn rows(&self, conditions: &[Condition]) -> Result<Split> {
        let mut split = Split { train: Vec::new(), validation: Vec::new(), test: Vec::new() };
        for (row, condition) in conditions.iter().enumerate() {
            if condition.perturbation.is_control() || self.train.contains(condition) {
                split.train.push(row);
            } else if self.validation.contains(condition) {
                split.validation.push(row);
            } else if self.test.contains(condition) {
                split.test.push(row);
            } else {
                return Err(Error::data(format!("the split does not name the condition {condition}")));
            }
        }
        Ok(split)
    }
}
