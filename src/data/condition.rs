//! What a benchmark predicts: a perturbation, in a context where the data has one.

use super::{ContextColumns, Dataset, Effects, Perturbation};
use crate::Result;
use serde::{Deserialize, Serialize};
use std::{collections::HashSet, fmt};

/// A perturbation in a context (a stimulation, a replicate, a cell type), or in the only one there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Condition {
    /// What was perturbed.
    pub perturbation: Perturbation,
    /// The value of the context column, or the levels of several ([`ContextColumns`]); `None` where no column was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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

/// The conditions of a dataset and the rows of each: what a split divides.
#[derive(Debug, Clone)]
pub struct Conditions {
    /// The distinct conditions, sorted, those of control too.
    pub conditions: Vec<Condition>,
    /// Index into `conditions`, one per row: a cell, or a perturbation of an effects dataset.
    pub of_cell: Vec<u32>,
    /// A name for each row that no other row has; see [`Conditions::of`].
    pub names: Vec<String>,
    /// The column of cells that the context was taken from, or several, as a split names them.
    pub column: Option<String>,
    /// The same columns, apart.
    pub columns: ContextColumns,
    /// Whether a row is a cell; otherwise it is the effect of a condition, and no condition has a second row.
    pub has_cells: bool,
}

impl Conditions {
    /// The conditions of `data`, with the column `context` of its cells as the context, or several columns, named as
    /// `COLUMN+COLUMN`.
    ///
    /// Rows are named as the cells are. Cells that share a name `c` become `c#1`, `c#2`, … in the order of their
    /// conditions, then lanes, then library sizes, then counts: so a name means the same cell however the rows of the
    /// file are ordered, unless two cells are alike in all of these (and then they are exchangeable).
    ///
    /// # Errors
    /// A column that is not there or misses a value.
    pub fn of(data: &Dataset, context: Option<&str>) -> Result<Self> {
        let columns = context.map(|text| ContextColumns::parse(text, data)).transpose()?.unwrap_or_default();
        Ok(Self { column: context.map(str::to_owned), ..Self::in_columns(data, columns)? })
    }

    /// The same with these columns of cells as the context.
    ///
    /// # Errors
    /// As [`Conditions::of`].
    pub fn in_columns(data: &Dataset, columns: ContextColumns) -> Result<Self> {
        let all: Vec<Condition> = columns
            .of_cells(data)?
            .into_iter()
            .enumerate()
            .map(|(cell, context)| Condition { perturbation: data.perturbation_of(cell).clone(), context })
            .collect();
        let (conditions, of_cell) = number(&all);
        let names = unique_names(data, &of_cell);
        let column = (!columns.names().is_empty()).then(|| columns.names().join("+"));
        Ok(Self { conditions, of_cell, names, column, columns, has_cells: true })
    }

    /// The conditions of an effects dataset, one per row, named by their perturbations.
    pub fn of_effects(data: &Effects) -> Self {
        let all: Vec<Condition> = data.perturbations.iter().cloned().map(Condition::of).collect();
        let (conditions, of_cell) = number(&all);
        let names = all.iter().map(Condition::to_string).collect();
        Self { conditions, of_cell, names, column: None, columns: ContextColumns::default(), has_cells: false }
    }

    /// The condition of a row.
    pub fn of_row(&self, row: usize) -> &Condition {
        &self.conditions[self.of_cell[row] as usize]
    }
}

/// The distinct conditions, sorted, and the place of each among them.
fn number(all: &[Condition]) -> (Vec<Condition>, Vec<u32>) {
    let mut conditions = all.to_vec();
    conditions.sort();
    conditions.dedup();
    let place = |condition| conditions.binary_search(condition).expect("taken from the same list") as u32;
    let of_row = all.iter().map(place).collect();
    (conditions, of_row)
}

/// The names of cells; names that occur more than once get a number.
fn unique_names(data: &Dataset, of_cell: &[u32]) -> Vec<String> {
    let mut names = data.cells.names.clone();
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by(|&a, &b| data.cells.names[a].cmp(&data.cells.names[b]));
    let mut taken: HashSet<String> = HashSet::new();
    for alike in order.chunk_by_mut(|&a, &b| data.cells.names[a] == data.cells.names[b]) {
        if let [_] = alike {
            continue;
        }
        if taken.is_empty() {
            taken = data.cells.names.iter().cloned().collect();
        }
        alike.sort_by(|&a, &b| {
            let (left, right) = (data.counts.row(a), data.counts.row(b));
            of_cell[a]
                .cmp(&of_cell[b])
                .then_with(|| data.lane_of[a].cmp(&data.lane_of[b]))
                .then_with(|| data.library_size[a].total_cmp(&data.library_size[b]))
                .then_with(|| left.0.cmp(right.0))
                .then_with(|| {
                    left.1
                        .iter()
                        .zip(right.1)
                        .map(|(a, b)| a.total_cmp(b))
                        .find(|o| o.is_ne())
                        .unwrap_or(std::cmp::Ordering::Equal)
                })
        });
        let mut numbers = 1..;
        for &cell in alike.iter() {
            let name = numbers
                .by_ref()
                .map(|number| format!("{}#{number}", names[cell]))
                .find(|name| taken.insert(name.clone()));
            names[cell] = name.expect("numbers do not end");
        }
    }
    names
}
