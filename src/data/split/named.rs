//! The saved form of every split: names, not rows.

use super::{NamedCells, Split, SplitPlan};
use crate::{
    Error, Result,
    data::{Condition, Conditions, names},
    files::write_atomically,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
};

/// What a split divides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SplitUnit {
    /// Conditions: all cells of one stand in one part.
    Conditions,
    /// The cells of every condition.
    Cells,
}

/// A split by name, with the plan that it was made by.
///
/// Control is not among the conditions. Its cells are trained on, unless `cells` divides them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedSplit {
    /// How the split was made, with its seed.
    pub plan: SplitPlan,
    /// What is divided.
    pub unit: SplitUnit,
    /// What is held out as a whole: the unseen genes of `Simulation` and `Perturbations`, the held-out context of
    /// `Context` and `CrossDataset`; otherwise empty.
    pub held_out: Vec<String>,
    /// Conditions that a predictor is fitted to.
    pub train: Vec<Condition>,
    /// Conditions that a predictor may choose its settings by.
    pub validation: Vec<Condition>,
    /// Conditions that are predicted unseen.
    pub test: Vec<Condition>,
    /// The group of each test condition, by its name (`A+B in stimulated`): how much of it was seen. Empty where the
    /// plan has no groups.
    pub groups: BTreeMap<String, String>,
    /// Cells by name where those of a condition are divided: all cells for the unit `Cells`, else the control cells if
    /// the plan divides them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cells: Option<NamedCells>,
}

#[derive(Clone, Copy)]
enum Part {
    Train,
    Validation,
    Test,
}

impl NamedSplit {
    /// The same split as lists of rows of a dataset with these conditions.
    ///
    /// # Errors
    /// Leakage: see [`NamedSplit::refuse_leakage`]. A split of another dataset: a condition or cell that only one of the
    /// two has.
    pub fn split(&self, conditions: &Conditions) -> Result<Split> {
        self.refuse_leakage()?;
        let parts = self.parts_of_conditions(&conditions.conditions)?;
        let mut cells = self.parts_of_cells();
        let mut split = Split { train: Vec::new(), validation: Vec::new(), test: Vec::new() };
        for (row, (&condition, name)) in conditions.of_cell.iter().zip(&conditions.names).enumerate() {
            let is_control = conditions.of_row(row).perturbation.is_control();
            let divided = self.unit == SplitUnit::Cells || (is_control && self.cells.is_some() && conditions.has_cells);
            let part = match (cells.remove(name.as_str()), divided) {
                (Some(part), true) => part,
                (None, false) => parts[condition as usize],
                (None, true) => {
                    return Err(other_dataset(format!("the split does not name the cell {name:?} of the dataset")));
                }
                (Some(_), false) => {
                    return Err(Error::data(format!(
                        "the split names the cell {name:?}, which is of {}; it may divide control cells only",
                        conditions.of_row(row)
                    )));
                }
            };
            match part {
                Part::Train => &mut split.train,
                Part::Validation => &mut split.validation,
                Part::Test => &mut split.test,
            }
            .push(row);
        }
        if conditions.has_cells && !cells.is_empty() {
            let mut missing: Vec<String> = cells.into_keys().map(str::to_owned).collect();
            missing.sort_unstable();
            return Err(other_dataset(format!(
                "the dataset does not have {} cells that the split names: {}",
                missing.len(),
                names::first(&missing)
            )));
        }
        Ok(split)
    }

    /// The part of each condition of a dataset.
    fn parts_of_conditions(&self, conditions: &[Condition]) -> Result<Vec<Part>> {
        if self.unit == SplitUnit::Cells {
            return Ok(vec![Part::Train; conditions.len()]);
        }
        let mut parts: BTreeMap<&Condition, Part> = BTreeMap::new();
        for (list, part) in [(&self.train, Part::Train), (&self.validation, Part::Validation), (&self.test, Part::Test)]
        {
            parts.extend(list.iter().map(|condition| (condition, part)));
        }
        let unnamed: Vec<String> = conditions
            .iter()
            .filter(|c| !c.perturbation.is_control() && !parts.contains_key(c))
            .map(Condition::to_string)
            .collect();
        if !unnamed.is_empty() {
            return Err(other_dataset(format!(
                "the split does not name {} conditions of the dataset: {}",
                unnamed.len(),
                names::first(&unnamed)
            )));
        }
        let known: BTreeSet<&Condition> = conditions.iter().collect();
        let missing: Vec<String> = parts.keys().filter(|c| !known.contains(*c)).map(|c| c.to_string()).collect();
        if !missing.is_empty() {
            return Err(other_dataset(format!(
                "the dataset does not have {} conditions that the split names: {}",
                missing.len(),
                names::first(&missing)
            )));
        }
        Ok(conditions.iter().map(|condition| parts.get(condition).copied().unwrap_or(Part::Train)).collect())
    }

    fn parts_of_cells(&self) -> HashMap<&str, Part> {
        let mut parts = HashMap::new();
        if let Some(cells) = &self.cells {
            for (list, part) in
                [(&cells.train, Part::Train), (&cells.validation, Part::Validation), (&cells.test, Part::Test)]
            {
                parts.extend(list.iter().map(|name| (name.as_str(), part)));
            }
        }
        parts
    }

    /// Writes the split as JSON, whole or not at all.
    ///
    /// # Errors
    /// A folder that is not there or not writable, or a full disk.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        write_atomically(path.as_ref(), self.to_json().as_bytes())
    }

    /// Reads what [`NamedSplit::save`] wrote. The dataset that it is for is compared when its rows are found:
    /// [`NamedSplit::split`].
    ///
    /// # Errors
    /// A file that is not there or holds something else; leakage: see [`NamedSplit::refuse_leakage`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|error| Error::io("read", path, error))?;
        let split: Self = serde_json::from_str(&text).map_err(|error| {
            Error::data(format!(
                "{} is not a split ({error}); expected JSON with `plan`, `unit`, `held_out`, `train`, `validation`, \
                 `test` and `groups`",
                path.display()
            ))
        })?;
        split.refuse_leakage().map_err(|error| error.at(path.display()))?;
        Ok(split)
    }

    /// SHA-256 of the saved form, in hexadecimal: two splits are the same exactly if this is.
    pub fn fingerprint(&self) -> String {
        Sha256::digest(self.to_json().as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("names and numbers are always JSON");
        text + "\n"
    }
}

fn other_dataset(what: String) -> Error {
    Error::data(format!("{what}; the split was made for another dataset, or for this one with other cells kept"))
}
