//! Columns of cells from a table beside the data: `--obs FILE.csv`.
//!
//! Cell Ranger's matrices name no perturbation: that stands in `protospacer_calls_per_cell.csv`, or in a table of the authors.
//! Its column of barcodes is the one that names the most cells.

use super::foreign;
use crate::{
    Error, Result,
    data::{Column, Table, first_names},
};
use std::{collections::HashMap, path::Path};

/// Reads a table (.csv, .tsv) with a header. The first column also names the rows.
///
/// # Errors
/// A file that cannot be read; lines of other lengths.
pub fn read_table(path: &Path) -> Result<Table> {
    foreign::table(path).map_err(|e| e.at(path.display()))
}

/// `cells` with the columns of `known`, whose rows are matched by name, and a note. What `known` does not have is missing.
///
/// # Errors
/// None of the cells is known, or one of them twice.
pub(super) fn joined(mut cells: Table, known: &Table) -> Result<(Table, String)> {
    let (key, rows) = best_key(&cells, known)?;
    let found = rows.iter().flatten().count();
    let mut added = Vec::new();
    for (name, column) in known.columns.iter().filter(|(name, _)| Some(name) != key.as_ref()) {
        cells.set(name, picked(column, &rows));
        added.push(name.clone());
    }
    let note = format!(
        "{found} of {} cells are in the table of --obs{}; it gives the columns {}",
        cells.len(),
        key.map_or(String::new(), |key| format!(", by `{key}`")),
        if added.is_empty() { "none".to_owned() } else { first_names(&added) }
    );
    Ok((cells, note))
}

/// How many of `names` a table knows, by its best column.
pub(super) fn matches(names: &[String], known: &Table) -> usize {
    best_key(&Table::from_names(names.to_vec()), known).map_or(0, |(_, rows)| rows.iter().flatten().count())
}

/// A column (`None`: the row names), and the row of each cell by it.
type Key = (Option<String>, Vec<Option<usize>>);

/// The column that names the most cells.
fn best_key(cells: &Table, known: &Table) -> Result<Key> {
    let columns = known
        .columns
        .iter()
        .filter(|(_, column)| matches!(column, Column::Text(_) | Column::Categorical { .. } | Column::Integer(_)));
    let keys = columns.map(|(name, column)| (Some(name.clone()), column.to_text()));
    let names = (None, known.names.iter().cloned().map(Some).collect::<Vec<_>>());
    let keys: Vec<(Option<String>, Vec<Option<String>>)> = keys.chain([names]).collect();
    // Cell Ranger's `-1` behind a barcode is often left out.
    for strip in [false, true] {
        let mut best: (usize, Option<Key>) = (0, None);
        for (name, values) in &keys {
            let places = places(values, strip);
            let rows: Vec<Option<usize>> =
                cells.names.iter().map(|cell| places.get(plain(cell, strip)).map(|(row, _)| *row)).collect();
            let found = rows.iter().flatten().count();
            if found > best.0 {
                let twice = cells.names.iter().find(|cell| places.get(plain(cell, strip)).is_some_and(|(_, n)| *n > 1));
                if let Some(cell) = twice {
                    return Err(Error::data(format!(
                        "the cell {cell:?} stands in more than one row; each cell has one row"
                    )));
                }
                best = (found, Some((name.clone(), rows)));
            }
        }
        if let Some(found) = best.1 {
            return Ok(found);
        }
    }
    Err(Error::data(format!(
        "it names none of the cells: the cells are {}, and its rows {}; one of its columns must hold the names of the cells",
        first_names(&cells.names),
        first_names(&known.names)
    )))
}

/// The first row of each name, and how many rows have it.
fn places(values: &[Option<String>], strip: bool) -> HashMap<&str, (usize, usize)> {
    let mut places = HashMap::with_capacity(values.len());
    for (row, name) in values.iter().enumerate() {
        if let Some(name) = name {
            places.entry(plain(name, strip)).or_insert((row, 0)).1 += 1;
        }
    }
    places
}

fn plain(name: &str, strip: bool) -> &str {
    match name.rsplit_once('-') {
        Some((barcode, lane)) if strip && !lane.is_empty() && lane.bytes().all(|b| b.is_ascii_digit()) => barcode,
        _ => name,
    }
}

/// The rows of a column, missing where there is none.
fn picked(column: &Column, rows: &[Option<usize>]) -> Column {
    fn each<T: Clone>(values: &[Option<T>], rows: &[Option<usize>]) -> Vec<Option<T>> {
        rows.iter().map(|row| row.and_then(|row| values[row].clone())).collect()
    }
    match column {
        Column::Categorical { codes, categories } => Column::Categorical {
            codes: rows.iter().map(|row| row.map_or(-1, |row| codes[row])).collect(),
            categories: categories.clone(),
        },
        Column::Text(values) => Column::Text(each(values, rows)),
        Column::Integer(values) => Column::Integer(each(values, rows)),
        Column::Boolean(values) => Column::Boolean(each(values, rows)),
        Column::Float(values) => {
            Column::Float(rows.iter().map(|row| row.map_or(f64::NAN, |row| values[row])).collect())
        }
    }
}
