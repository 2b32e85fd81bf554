//! Metadata of samples as numbers: which columns, what each is read as, and the design matrix that they make.
//!
//! A *categorical* column becomes one 0/1 column per level, a *continuous* one `(value - mean) / sd`, and one more 0/1 column
//! where values are missing in training (a missing value is then at the mean). Levels, means and standard deviations are those of
//! the training rows. A missing value of a categorical column is a level of its own.

use super::{Column, Table, names};
use crate::{Error, Result};
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A column of numbers with at most this many distinct values is read as categorical, unless it is named `COLUMN:continuous`.
pub const MOST_NUMBERS_AS_LEVELS: usize = 10;
/// Text that stands for a missing number.
const MISSING: [&str; 8] = ["", "na", "nan", "n/a", "none", "null", "unknown", "missing"];
/// The level of a missing value.
const MISSING_LEVEL: &str = "(missing)";
/// Least share of a text column that must be numbers to read it as numbers.
const NUMBERS: f64 = 0.5;

/// What a column is read as.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum MetadataKind {
    /// One of these levels.
    Categorical {
        /// Sorted.
        levels: Vec<String>,
    },
    /// A number.
    Continuous {
        /// Mean of the training rows.
        mean: f64,
        /// Standard deviation of the training rows.
        sd: f64,
        /// Smallest and largest value of the training rows.
        range: [f64; 2],
        /// Whether values are missing in training.
        missing: bool,
    },
}

/// A column of metadata.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetadataColumn {
    /// Its name in `obs`.
    pub name: String,
    /// What it is read as.
    pub kind: MetadataKind,
}

/// Which columns are read, and as what: learned on training rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetadataEncoder {
    /// In the order of the request.
    pub columns: Vec<MetadataColumn>,
}

/// Metadata of some rows as numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedMetadata {
    /// For each row the levels of its categorical columns, as numbers below [`MetadataEncoder::n_levels`].
    pub levels: Vec<Vec<u32>>,
    /// Continuous columns and the indicators of missing values, `(rows, numbers)`.
    pub numbers: Array2<f64>,
    n_levels: usize,
}

impl EncodedMetadata {
    /// One 0/1 column per level, then the numbers, `(rows, features)`.
    pub fn design(&self) -> Array2<f64> {
        let mut design = Array2::zeros((self.levels.len(), self.n_levels + self.numbers.ncols()));
        for (row, levels) in self.levels.iter().enumerate() {
            levels.iter().for_each(|&level| design[[row, level as usize]] = 1.0);
            (0..self.numbers.ncols()).for_each(|n| design[[row, self.n_levels + n]] = self.numbers[[row, n]]);
        }
        design
    }

    /// These rows, and then those of `other`, of the same encoder.
    ///
    /// # Panics
    /// If the other is of another encoder.
    pub fn stacked(&self, other: &Self) -> Self {
        let numbers = ndarray::concatenate(ndarray::Axis(0), &[self.numbers.view(), other.numbers.view()]);
        Self {
            levels: self.levels.iter().chain(&other.levels).cloned().collect(),
            numbers: numbers.expect("rows of one encoder have as many numbers"),
            n_levels: self.n_levels,
        }
    }

    /// The rows `rows`.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            levels: rows.iter().map(|&row| self.levels[row].clone()).collect(),
            numbers: self.numbers.select(ndarray::Axis(0), rows),
            n_levels: self.n_levels,
        }
    }
}

/// A number that is written as text; `None` where it is missing.
fn parsed(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|value: &f64| value.is_finite())
}

fn is_missing(text: &str) -> bool {
    MISSING.contains(&text.trim().to_lowercase().as_str())
}

/// The values of a column as text, `None` where nothing stands.
fn texts(column: &Column) -> Vec<Option<String>> {
    column.to_text().into_iter().map(|text| text.filter(|text| !is_missing_cell(text))).collect()
}

/// What pandas and R write for nothing; `unknown` may be a level that somebody chose.
fn is_missing_cell(text: &str) -> bool {
    matches!(text.trim(), "" | "NA" | "nan" | "NaN")
}

/// Numbers of a column, `None` where missing, if it holds numbers: as such or as text.
pub fn column_numbers(column: &Column) -> Option<Vec<Option<f64>>> {
    if let Some(values) = column.to_f64() {
        return Some(values.into_iter().map(|value| value.is_finite().then_some(value)).collect());
    }
    if matches!(column, Column::Boolean(_)) {
        return None;
    }
    let texts = column.to_text();
    let read: Vec<Option<f64>> = texts.iter().map(|text| parsed(text.as_deref().unwrap_or_default())).collect();
    let fits = texts.iter().zip(&read).all(|(text, read)| read.is_some() || text.as_deref().is_none_or(is_missing));
    let found = read.iter().flatten().count();
    (fits && found as f64 >= NUMBERS * read.len() as f64 && found > 0).then_some(read)
}

impl MetadataEncoder {
    /// Reads the columns `wanted` of the rows `rows`: `NAME`, or `NAME:categorical` or `NAME:continuous` to say what it is.
    ///
    /// # Errors
    /// No column; one that is not there, is named twice, has one value only, names each sample, or holds no numbers although it is
    /// said to.
    pub fn fit(table: &Table, rows: &[usize], wanted: &[String]) -> Result<Self> {
        Self::fit_as(table, rows, wanted, "--metadata")
    }

    /// As [`Self::fit`], of columns that another option named.
    ///
    /// # Errors
    /// As there.
    pub fn fit_as(table: &Table, rows: &[usize], wanted: &[String], option: &str) -> Result<Self> {
        if wanted.is_empty() {
            return Err(Error::config(format!(
                "no column of metadata is named; give some of obs by {option}: {}",
                table.column_names().join(", ")
            )));
        }
        let mut seen = BTreeSet::new();
        let read = |text: &String| {
            let (name, kind) = match text.rsplit_once(':') {
                Some((name, kind @ ("categorical" | "continuous"))) => (name, Some(kind)),
                _ => (text.as_str(), None),
            };
            if !seen.insert(name.to_owned()) {
                return Err(Error::config(format!("{option} names `{name}` twice; name each column once")));
            }
            let column = column(table, name).map_err(|e| e.at(option))?.select(rows);
            Ok(MetadataColumn { name: name.to_owned(), kind: kind_of((name, option), &column, kind)? })
        };
        Ok(Self { columns: wanted.iter().map(read).collect::<Result<_>>()? })
    }

    /// Number of levels of all categorical columns.
    pub fn n_levels(&self) -> usize {
        self.columns.iter().map(|column| column.levels().len()).sum()
    }

    /// Names of the categorical columns, in the order of the levels of a row.
    pub fn categorical(&self) -> Vec<&str> {
        self.columns.iter().filter(|column| !column.levels().is_empty()).map(|column| column.name.as_str()).collect()
    }

    /// Number of numbers beside the levels.
    pub fn n_numbers(&self) -> usize {
        self.columns.iter().map(MetadataColumn::n_numbers).sum()
    }

    /// What each column is read as, for messages: `tissue (4 levels), age (continuous, 20 to 80)`.
    pub fn described(&self) -> String {
        let one = |column: &MetadataColumn| match &column.kind {
            MetadataKind::Categorical { levels } => format!("{} ({} levels)", column.name, levels.len()),
            MetadataKind::Continuous { range: [low, high], missing, .. } => {
                let missing = if *missing { ", some missing" } else { "" };
                format!("{} (continuous, {low} to {high}{missing})", column.name)
            }
        };
        self.columns.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    /// The rows whose values are all known, and the values that are not: `tissue = spleen`.
    ///
    /// # Errors
    /// A column that is not there.
    pub fn known_rows(&self, table: &Table, rows: &[usize]) -> Result<(Vec<usize>, Vec<String>)> {
        let mut unknown = BTreeSet::new();
        let mut bad = vec![false; rows.len()];
        for known in &self.columns {
            let column = column(table, &known.name)?.select(rows);
            for (place, found) in known.read(&column).into_iter().enumerate() {
                if let Err(value) = found {
                    bad[place] = true;
                    unknown.insert(format!("{} = {value}", known.name));
                }
            }
        }
        let kept = rows.iter().zip(bad).filter(|(_, bad)| !bad).map(|(&row, _)| row).collect();
        Ok((kept, unknown.into_iter().collect()))
    }

    /// Encodes rows.
    ///
    /// # Errors
    /// A column that is not there; a level that was not trained on, a number that is missing or none
    /// ([`ErrorKind::Inapplicable`](crate::ErrorKind)).
    pub fn encode(&self, table: &Table, rows: &[usize]) -> Result<EncodedMetadata> {
        let mut encoded = EncodedMetadata {
            levels: vec![Vec::new(); rows.len()],
            numbers: Array2::zeros((rows.len(), self.n_numbers())),
            n_levels: self.n_levels(),
        };
        let (mut first_level, mut first_number) = (0, 0);
        for known in &self.columns {
            let column = column(table, &known.name)?.select(rows);
            for (place, found) in known.read(&column).into_iter().enumerate() {
                let of_row = |e: Error| e.at(format_args!("row {}", table.names[rows[place]]));
                match found.map_err(|value| of_row(known.refused(&value)))? {
                    Read::Level(level) => encoded.levels[place].push(first_level + level),
                    Read::Number(value) => encoded.numbers[[place, first_number]] = value,
                    Read::MissingNumber => encoded.numbers[[place, first_number + 1]] = 1.0,
                }
            }
            first_level += known.levels().len() as u32;
            first_number += known.n_numbers();
        }
        Ok(encoded)
    }

    /// The number of each row's combination of levels; numbers are not looked at. Rows of one combination share a number, all of
    /// which are below the second result.
    pub fn level_combinations(&self, encoded: &EncodedMetadata) -> (Vec<usize>, usize) {
        number(encoded.levels.iter().map(Vec::as_slice))
    }

    /// The same of all columns: rows that share a number have equal metadata.
    pub fn combinations(&self, encoded: &EncodedMetadata) -> (Vec<usize>, usize) {
        let bits = |row: usize| encoded.numbers.row(row).iter().map(|value| value.to_bits()).collect::<Vec<u64>>();
        number((0..encoded.levels.len()).map(|row| (encoded.levels[row].as_slice(), bits(row))))
    }
}

/// Numbers the distinct keys by their first occurrence; their number is the second result.
fn number<K: Ord>(keys: impl Iterator<Item = K>) -> (Vec<usize>, usize) {
    let mut numbers: BTreeMap<K, usize> = BTreeMap::new();
    let of = keys.map(|key| {
        let next = numbers.len();
        *numbers.entry(key).or_insert(next)
    });
    let of = of.collect();
    (of, numbers.len())
}

enum Read {
    Level(u32),
    Number(f64),
    MissingNumber,
}

impl MetadataColumn {
    /// The levels of a categorical column; none of a continuous one.
    pub fn levels(&self) -> &[String] {
        match &self.kind {
            MetadataKind::Categorical { levels } => levels,
            MetadataKind::Continuous { .. } => &[],
        }
    }

    fn n_numbers(&self) -> usize {
        match self.kind {
            MetadataKind::Categorical { .. } => 0,
            MetadataKind::Continuous { missing, .. } => 1 + usize::from(missing),
        }
    }

    /// Features that the column has in [`EncodedMetadata::design`].
    pub fn width(&self) -> usize {
        self.levels().len() + self.n_numbers()
    }

    /// The features of one value, `(width,)`.
    ///
    /// # Errors
    /// A level that was not trained on, or no number ([`ErrorKind::Inapplicable`](crate::ErrorKind)).
    pub fn features_of(&self, value: &str) -> Result<Vec<f64>> {
        let read = self.read(&Column::Text(vec![Some(value.to_owned())])).remove(0);
        let mut features = vec![0.0; self.width()];
        match read.map_err(|value| self.refused(&value))? {
            Read::Level(level) => features[level as usize] = 1.0,
            Read::Number(value) => features[0] = value,
            Read::MissingNumber => features[1] = 1.0,
        }
        Ok(features)
    }

    /// What each row holds, or the text of a value that is not known.
    fn read(&self, column: &Column) -> Vec<Result<Read, String>> {
        match &self.kind {
            MetadataKind::Categorical { levels } => {
                let place = |text: &str| {
                    let same =
                        |level: &String| level == text || (parsed(text).is_some() && parsed(level) == parsed(text));
                    levels.iter().position(same)
                };
                let one = |text: Option<String>| {
                    let text = text.unwrap_or_else(|| MISSING_LEVEL.to_owned());
                    place(&text).map(|place| Read::Level(place as u32)).ok_or(text)
                };
                texts(column).into_iter().map(one).collect()
            }
            MetadataKind::Continuous { mean, sd, missing, .. } => {
                let values = column.to_f64().map(|v| v.into_iter().map(|v| v.to_string()).collect::<Vec<_>>());
                let values =
                    values.unwrap_or_else(|| column.to_text().into_iter().map(Option::unwrap_or_default).collect());
                let one = |text: String| match parsed(&text) {
                    Some(value) => Ok(Read::Number((value - mean) / sd)),
                    None if *missing && is_missing(&text) => Ok(Read::MissingNumber),
                    None => Err(if is_missing(&text) { MISSING_LEVEL.to_owned() } else { text }),
                };
                values.into_iter().map(one).collect()
            }
        }
    }

    fn refused(&self, value: &str) -> Error {
        Error::inapplicable(match &self.kind {
            MetadataKind::Categorical { levels } => {
                format!("{} = {value} was not trained on; its levels are {}", self.name, names::first(levels))
            }
            MetadataKind::Continuous { range: [low, high], .. } => {
                format!("{} = {value} is no number; it was {low} to {high} in training", self.name)
            }
        })
    }
}

fn column<'a>(table: &'a Table, name: &str) -> Result<&'a Column> {
    table.column(name).ok_or_else(|| {
        Error::config(format!(
            "there is no metadata column `{name}`; the columns are {}",
            table.column_names().join(", ")
        ))
    })
}

fn kind_of((name, option): (&str, &str), column: &Column, said: Option<&str>) -> Result<MetadataKind> {
    let numbers = column_numbers(column);
    let texts = texts(column);
    let distinct: BTreeSet<&str> = texts.iter().map(|text| text.as_deref().unwrap_or(MISSING_LEVEL)).collect();
    if distinct.len() < 2 {
        return Err(Error::config(format!(
            "the metadata column `{name}` has one value in all training rows, so it says nothing; leave it out of {option}"
        )));
    }
    let continuous = match (said, &numbers) {
        (Some("continuous"), None) => {
            return Err(Error::config(format!("{option} {name}:continuous: the column holds no numbers")));
        }
        (Some(kind), _) => kind == "continuous",
        (None, Some(values)) => {
            let distinct: BTreeSet<u64> = values.iter().flatten().map(|value| value.to_bits()).collect();
            distinct.len() > MOST_NUMBERS_AS_LEVELS
        }
        (None, None) => false,
    };
    if let (true, Some(values)) = (continuous, numbers) {
        let known: Vec<f64> = values.iter().flatten().copied().collect();
        let mean = known.iter().sum::<f64>() / known.len() as f64;
        let sd = (known.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / known.len() as f64).sqrt();
        let range = [
            known.iter().copied().fold(f64::INFINITY, f64::min),
            known.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        ];
        let sd = if sd > 0.0 { sd } else { 1.0 };
        return Ok(MetadataKind::Continuous { mean, sd, range, missing: known.len() < values.len() });
    }
    if distinct.len() > MOST_NUMBERS_AS_LEVELS && distinct.len() * 2 > column.len() {
        return Err(Error::config(format!(
            "the metadata column `{name}` has {} values in {} training rows, so it names rows rather than groups of them; leave \
             it out of {option}",
            distinct.len(),
            column.len()
        )));
    }
    Ok(MetadataKind::Categorical { levels: distinct.into_iter().map(str::to_owned).collect() })
}
