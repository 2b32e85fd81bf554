//! From a plan and the conditions of a dataset to a split.

use super::{
    NamedSplit, SplitPlan, SplitUnit,
    cells::{controls, stratified},
    context::{Contexts, chosen},
    perturbations::hold_out,
};
use crate::{
    Error, ErrorKind, Result,
    data::{Condition, Conditions, Opened, join::cross},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

impl SplitPlan {
    /// Divides a dataset: its conditions, made with [`SplitPlan::context_column`], or its cells.
    ///
    /// # Errors
    /// [`ErrorKind::Inapplicable`](crate::ErrorKind) where the plan does not fit the data (no doubles, no cells, no second context); a
    /// setting that is out of range; conditions without the plan's context. Of a plan that does not fit, the message names the
    /// plans that would.
    pub fn divide(&self, conditions: &Conditions) -> Result<NamedSplit> {
        self.divided(conditions).map_err(|error| match error.kind() {
            ErrorKind::Inapplicable => {
                let fitting = Self::that_fit(conditions);
                let hint = match fitting.is_empty() {
                    true => "no split fits this data".to_owned(),
                    false => format!("splits that fit this data: {}", fitting.join(", ")),
                };
                Error::inapplicable(format!("{error}; {hint}"))
            }
            _ => error,
        })
    }

    /// The names of the plans that hold something out of this data and leave something to train on.
    fn that_fit(conditions: &Conditions) -> Vec<&'static str> {
        const NAMES: [&str; 8] =
            ["doubles", "triples", "simulation", "perturbations", "combos", "constae", "doses", "stratified"];
        let fits = |name: &&str| {
            let Ok(split) = Self::parse(name, 0).and_then(|plan| plan.divided(conditions)) else { return false };
            let perturbed = |rows: &[usize]| rows.iter().any(|&row| !conditions.of_row(row).perturbation.is_control());
            split.split(conditions).is_ok_and(|rows| perturbed(&rows.train) && perturbed(&rows.test))
        };
        NAMES.into_iter().filter(fits).collect()
    }

    fn divided(&self, conditions: &Conditions) -> Result<NamedSplit> {
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

    /// Divides conditions, without those of control.
    fn conditions(&self, conditions: &[Condition]) -> Result<NamedSplit> {
        let mut split = NamedSplit::of(self);
        let all: BTreeSet<&Condition> = conditions.iter().filter(|c| !c.perturbation.is_control()).collect();
        match self {
            Self::Stratified { .. } => unreachable!("it divides cells, and the caller has handled it"),
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
                    "of {} perturbations the split {self} leaves none {what}: they are too few, or have no context of their own",
                    all.len()
                )));
            }
        }
        Ok(split)
    }

    /// How many different splits the plan's seeds give, where they run out: without a fraction that is drawn, a context, or all
    /// triples, are held out once, and further seeds only repeat it. `None` for plans that draw.
    ///
    /// # Errors
    /// As [`SplitPlan::divide`], where no context can be held out.
    pub fn distinct_splits(&self, conditions: &Conditions) -> Result<Option<usize>> {
        match self {
            Self::Context { value: None, keep: 0.0, column, .. } => {
                Ok(Some(Contexts::of(&conditions.conditions)?.that_can_be_held_out(column)?.len()))
            }
            Self::Context { keep: 0.0, .. }
            | Self::CrossDataset { keep: 0.0, .. }
            | Self::Triples { test: 1.0, .. } => Ok(Some(1)),
            _ => Ok(None),
        }
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

impl SplitPlan {
    /// The data that this plan divides: for [`SplitPlan::CrossDataset`] `data` together with the file that is judged,
    /// which `open` reads; for every other plan `data` as it is.
    ///
    /// The contexts are named after the files, without folder and ending; `name` is that of `data`. If both are the
    /// same, `data` is called `NAME (training)`.
    ///
    /// # Errors
    /// A file that cannot be read; effects where cells are needed; no gene or no perturbation in common.
    pub fn joined(&self, data: Opened, name: &str, open: impl FnOnce(&Path) -> Result<Opened>) -> Result<Opened> {
        let (Some(file), Some(other)) = (self.other_file(), self.judged_dataset()) else { return Ok(data) };
        let Opened::Cells(data) = data else {
            return Err(Error::inapplicable(format!("the split {self} is for cells; an effects dataset has none")));
        };
        let Opened::Cells(judged) = open(file)? else {
            return Err(Error::inapplicable(format!(
                "the split {self} is for cells, but {} is an effects dataset",
                file.display()
            )));
        };
        let name = if name == other { format!("{name} (training)") } else { name.to_owned() };
        cross((&name, &data), (&other, &judged)).map(Opened::Cells)
    }

    /// The name of the judged dataset as a context: that of its file, without folder and ending.
    pub(super) fn judged_dataset(&self) -> Option<String> {
        let file = self.other_file()?;
        Some(file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy().into_owned())
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
}
