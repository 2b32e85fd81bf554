//! Which rows of a prediction file are of which condition and split.

use super::{BenchmarkData, PredictionSource};
use crate::{
    Error, Result,
    data::{AnnData, Column, Condition, OpenOptions, Table, first_names, perturbation_labels},
};
use std::collections::{BTreeMap, BTreeSet};

/// Columns of `obs` that say for which split a row was predicted.
const SEED_COLUMNS: [&str; 2] = ["split_seed", "seed"];

/// Rows by split seed (`None` for all splits) and condition.
pub(super) type RowsOf = BTreeMap<(Option<u64>, Condition), Vec<usize>>;

/// The rows of a file.
pub(super) struct Labelled {
    pub(super) of: RowsOf,
    /// A name of each row, for messages.
    pub(super) names: Vec<String>,
    /// The label of each row as the file spells it.
    pub(super) spelled: Vec<Option<String>>,
}

impl Labelled {
    /// The rows of each split and condition that the data has.
    pub(super) fn read(
        file: &AnnData,
        (obs, var): (&Table, &Table),
        (data, source): (&BenchmarkData, &PredictionSource),
        given: &OpenOptions,
        notes: &mut Vec<String>,
    ) -> Result<Self> {
        // The data's column may be called otherwise here; then it is found by its usual names.
        let (options, _) = given.for_another(file);
        let of_data = given.perturbation_column.clone();
        let column = source.column.clone().or(options.perturbation_column.clone());
        // Names that the data knows are no guides or separators of this file.
        let mut known = var.clone();
        known.names.extend(data.conditions().iter().flat_map(|condition| condition.perturbation.genes().to_vec()));
        let options = OpenOptions { perturbation_column: column.clone(), ..options };
        let read = perturbation_labels(file, obs, &known, &options)?;
        let named = &read.read_as.column;
        if let (Some(wanted), None) = (of_data, column) {
            notes.push(format!("obs has no column `{wanted}`, so perturbations are read from `{named}`"));
        }
        let spelled = obs.column(named).map_or_else(|| vec![None; obs.len()], Column::to_text);
        let contexts = contexts(obs, data)?;
        let seeds = seeds(obs)?;
        let known: BTreeSet<Condition> = data.conditions().into_iter().collect();
        let (mut of, mut unknown, mut unlabelled) = (RowsOf::new(), BTreeSet::new(), 0);
        let mut names = Vec::with_capacity(obs.len());
        for (row, label) in read.labels.into_iter().enumerate() {
            let context = contexts.as_ref().and_then(|contexts| contexts[row].clone());
            let Some(condition) = label.map(|perturbation| Condition { perturbation, context }) else {
                unlabelled += 1;
                names.push(obs.names[row].clone());
                continue;
            };
            names.push(condition.to_string());
            if condition.perturbation.is_control() {
                continue;
            }
            if known.contains(&condition) {
                of.entry((seeds.as_ref().map(|seeds| seeds[row]), condition)).or_insert_with(Vec::new).push(row);
            } else {
                unknown.insert(condition.to_string());
            }
        }
        let unknown: Vec<String> = unknown.into_iter().collect();
        if of.is_empty() {
            let all: Vec<String> =
                known.iter().filter(|c| !c.perturbation.is_control()).map(Condition::to_string).collect();
            return Err(Error::data(format!(
                "no row is of a condition of the data: column `{named}` of the predictions has {}, the data has {}",
                if unknown.is_empty() { "control only".to_owned() } else { first_names(&unknown) },
                first_names(&all)
            )));
        }
        if !unknown.is_empty() {
            notes.push(format!("conditions that the data does not have were left out: {}", first_names(&unknown)));
        }
        if unlabelled > 0 {
            notes.push(format!("{unlabelled} rows without a label in `{named}` were left out"));
        }
        if seeds.is_none() {
            notes.push(
                "the same predictions stand for every seed, because obs has no column `split_seed`; whether the model \
                 behind them has seen held-out conditions cannot be checked"
                    .to_owned(),
            );
        }
        Ok(Self { of, names, spelled })
    }

    /// Whether every condition has one row.
    pub(super) fn is_single(&self) -> bool {
        self.of.values().all(|rows| rows.len() == 1)
    }

    /// Whether the rows are one per condition but for a few that stand twice, `A+B` and `B+A` for instance: then they are no cells.
    pub(super) fn is_single_but_for_some(&self) -> bool {
        let repeated = self.of.values().filter(|rows| rows.len() > 1);
        let by_spelling = repeated.clone().all(|rows| {
            let spelled: BTreeSet<&Option<String>> = rows.iter().map(|&row| &self.spelled[row]).collect();
            spelled.len() == rows.len()
        });
        by_spelling || 2 * repeated.count() < self.of.len()
    }

    /// A condition that stands in several rows, and how they are spelled.
    pub(super) fn repeated(&self) -> String {
        let several: Vec<(&Condition, &Vec<usize>)> =
            self.of.iter().filter(|(_, rows)| rows.len() > 1).map(|((_, condition), rows)| (condition, rows)).collect();
        let Some((condition, rows)) = several.first() else { return String::new() };
        let spelled: BTreeSet<&str> = rows.iter().filter_map(|&row| self.spelled[row].as_deref()).collect();
        let spelled = match spelled.len() > 1 {
            true => format!(", spelled {}", spelled.into_iter().collect::<Vec<_>>().join(" and ")),
            false => String::new(),
        };
        let others = match several.len() {
            1 => String::new(),
            n => format!(" (and {} more such conditions)", n - 1),
        };
        format!("{condition} stands in {} rows{spelled}{others}", rows.len())
    }
}

/// The context of each row, where the data has contexts.
fn contexts(obs: &Table, data: &BenchmarkData) -> Result<Option<Vec<Option<String>>>> {
    let BenchmarkData::Cells(cells) = data else { return Ok(None) };
    let columns = &cells.conditions.columns;
    if columns.names().is_empty() {
        return Ok(None);
    }
    let values = |name: &String| {
        let column = obs.column(name).ok_or_else(|| {
            Error::data(format!(
                "the split divides perturbations by the column {name:?} of cells, and obs of the predictions has no such \
                 column; it has {}",
                obs.column_names().join(", ")
            ))
        })?;
        Ok::<_, Error>(column.to_text())
    };
    let of_columns = columns.names().iter().map(values).collect::<Result<Vec<_>>>()?;
    let context = |row: usize| {
        let levels: Option<Vec<&String>> = of_columns.iter().map(|values| values[row].as_ref()).collect();
        levels.map(|levels| columns.context(&levels))
    };
    Ok(Some((0..obs.len()).map(context).collect()))
}

/// For which split each row was predicted; `None` without such a column.
fn seeds(obs: &Table) -> Result<Option<Vec<u64>>> {
    let Some((name, column)) = SEED_COLUMNS.iter().find_map(|name| obs.column(name).map(|column| (name, column)))
    else {
        return Ok(None);
    };
    let seed = |text: &Option<String>| text.as_deref().and_then(|text| text.trim_end_matches(".0").parse().ok());
    let values = column.to_text();
    if let Some(row) = values.iter().position(|text| seed(text).is_none()) {
        let value = values[row].as_deref().unwrap_or("nothing");
        return Err(Error::data(format!(
            "column `{name}` of obs holds {value} for {:?}; it must be the seed of the split, a whole number from 0",
            obs.names[row]
        )));
    }
    Ok(Some(values.iter().filter_map(seed).collect()))
}
