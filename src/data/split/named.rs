//! The saved form of every split: names, not rows.

use super::{
    NamedCells, Split, SplitPlan,
    cells::{controls, stratified},
    context::{Contexts, chosen},
    perturbations::hold_out,
};
use crate::{
    Error, ErrorKind, Result,
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

impl SplitPlan {
    /// Divides a dataset: its conditions, made with [`SplitPlan::context_column`], or its cells.
    ///
    /// # Errors
    /// [`ErrorKind::Inapplicable`] where the plan does not fit the data (no doubles, no cells, no second context); a
    /// setting that is out of range; conditions without the plan's context.
    pub fn divide(&self, conditions: &Conditions) -> Result<NamedSplit> {
        if !conditions.has_cells {
            let what = match self {
                Self::Stratified { .. } => Some("so there is nothing to divide within a perturbation"),
                Self::Context { .. } | Self::CrossDataset { .. } => Some("so there is no context to hold out"),
                _ => None,
            };
            if let Some(what) = what {
                return Err(Error::inapplicable(format!(
                    "the split {self} is for cells; an effects dataset has none, {what}"
                )));
            }
        }
        if let Some(column) = self.context_column()
            && conditions.column.as_deref() != Some(column)
        {
            return Err(Error::config(format!(
                "the split {self} needs conditions with the context {column:?}; these have {}",
                conditions.column.as_ref().map_or_else(|| "none".to_owned(), |other| format!("{other:?}"))
            )));
        }
        let split = match *self {
            Self::Stratified { validation, test, seed } => NamedSplit {
                unit: SplitUnit::Cells,
                cells: Some(stratified(conditions, validation, test, seed)?),
                ..NamedSplit::of(self)
            },
            Self::Combos { control_train, seed, .. } if conditions.has_cells => NamedSplit {
                cells: Some(controls(conditions, control_train, seed)?),
                ..self.conditions(&conditions.conditions)?
            },
            _ => self.conditions(&conditions.conditions)?,
        };
        split.refuse_leakage()?;
        Ok(split)
    }

    /// Divides conditions; those of control are ignored. It is the part of [`SplitPlan::divide`] that needs no cells.
    ///
    /// # Errors
    /// As [`SplitPlan::divide`]; a plan that divides cells.
    pub fn conditions(&self, conditions: &[Condition]) -> Result<NamedSplit> {
        let mut split = NamedSplit::of(self);
        let all: BTreeSet<&Condition> = conditions.iter().filter(|c| !c.perturbation.is_control()).collect();
        match self {
            Self::Stratified { .. } => {
                return Err(Error::inapplicable(format!("the split {self} divides cells, not conditions")));
            }
            Self::Context { keep, seed, .. } | Self::CrossDataset { keep, seed, .. } => {
                let column = self.context_column().unwrap_or_default();
                let contexts = Contexts::of(conditions)?;
                let held_out = chosen(&contexts.that_can_be_held_out(column)?, column, self.value().as_deref(), *seed)?;
                let judged = contexts.judged(held_out, *keep, *seed)?;
                for &condition in &all {
                    match judged.get(&condition.perturbation) {
                        Some(group) if condition.context.as_deref() == Some(held_out) => {
                            split.judge(condition, Some(group))
                        }
                        _ => split.train.push(condition.clone()),
                    }
                }
                split.held_out = vec![held_out.to_owned()];
            }
            _ => {
                let perturbations: BTreeSet<_> = all.iter().map(|condition| condition.perturbation.clone()).collect();
                let held_out = hold_out(self, &perturbations.into_iter().collect::<Vec<_>>())?;
                for &condition in &all {
                    match held_out.test.get(&condition.perturbation) {
                        Some(group) => split.judge(condition, group.as_ref()),
                        None if held_out.validation.contains(&condition.perturbation) => {
                            split.validation.push(condition.clone());
                        }
                        None => split.train.push(condition.clone()),
                    }
                }
                split.held_out = held_out.genes;
            }
        }
        for (part, what) in [(&split.test, "to judge"), (&split.train, "to train on")] {
            if part.is_empty() {
                return Err(Error::inapplicable(format!(
                    "of {} conditions the split {self} leaves none {what}",
                    all.len()
                )));
            }
        }
        Ok(split)
    }

    /// The value of the context column that is held out, if the plan says.
    fn value(&self) -> Option<String> {
        match self {
            Self::Context { value, .. } => value.clone(),
            Self::CrossDataset { .. } => self.judged_dataset(),
            _ => None,
        }
    }
}

impl NamedSplit {
    fn of(plan: &SplitPlan) -> Self {
        Self {
            plan: plan.clone(),
            unit: SplitUnit::Conditions,
            held_out: Vec::new(),
            train: Vec::new(),
            validation: Vec::new(),
            test: Vec::new(),
            groups: BTreeMap::new(),
            cells: None,
        }
    }

    fn judge(&mut self, condition: &Condition, group: Option<&String>) {
        if let Some(group) = group {
            self.groups.insert(condition.to_string(), group.clone());
        }
        self.test.push(condition.clone());
    }

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

    /// The same split as lists of cells: [`NamedSplit::split`].
    ///
    /// # Errors
    /// As [`NamedSplit::split`].
    pub fn cells(&self, conditions: &Conditions) -> Result<Split> {
        self.split(conditions)
    }

    /// The same split as lists of rows of a table with one row a condition (an effects dataset).
    ///
    /// # Errors
    /// As [`NamedSplit::split`].
    pub fn rows(&self, conditions: &[Condition]) -> Result<Split> {
        self.split(&Conditions {
            conditions: conditions.to_vec(),
            of_cell: (0..conditions.len() as u32).collect(),
            names: conditions.iter().map(Condition::to_string).collect(),
            column: None,
            has_cells: false,
        })
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
    Error::new(
        ErrorKind::Data,
        format!("{what}; the split was made for another dataset, or for this one with other cells kept"),
    )
}
