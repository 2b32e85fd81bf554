//! Time courses: what the cells of a condition look like at each time, as sequences that a model of dynamics learns from.
//!
//! Sequencing destroys a cell, so no cell is followed. What can be followed is the distribution: a course is the sequence of the
//! mean log-normalised profiles (pseudo-bulk) of the cells that were sampled at each time. A course starts at the control
//! profile of the earliest time, when no perturbation has acted.
//!
//! | column | what | found by itself |
//! |---|---|---|
//! | time | when a cell was sampled; a number, or text with one unit (`24h`) | `time`, `time_point`, `timepoint` |
//! | dose | how strongly the perturbation acted in the interval that ends at this time | `dose` |
//! | course | rows of one value and one perturbation are one course, whatever their doses | `course` |
//!
//! Without a course column the rows of one perturbation and one dose are a course. Doses count relative to the largest dose of
//! the perturbation; without a dose column a perturbation has dose 1 throughout.
//!
//! A row whose time is missing is static: it belongs to no course, and [`static_profiles`](super::static_profiles) averages such rows by their labels.

use super::{Column, Condition, Counts, Dataset, Table, mean_expression};
use crate::{Error, Result, math::seeds::stream};
use ndarray::{Array1, Array2};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Columns that may hold the time, if none is named.
pub(super) const TIME_COLUMNS: [&str; 3] = ["time", "time_point", "timepoint"];
pub(super) const DOSE_COLUMN: &str = "dose";
const COURSE_COLUMN: &str = "course";
/// A pseudo-bulk replicate of fewer cells is mostly noise.
pub(super) const CELLS_OF_REPLICATE: usize = 5;
/// Purpose of a random stream.
pub(super) const DIVIDED: u64 = 1;

/// The columns of a time course; each is found by its usual name if none is named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CourseColumns {
    /// The column of times.
    pub time: Option<String>,
    /// The column of doses.
    pub dose: Option<String>,
    /// The column that names courses.
    pub course: Option<String>,
    /// The column of contexts, of which each has its own control; none if none is named.
    pub context: Option<String>,
}

impl CourseColumns {
    /// Takes the columns that `named` names; the others stay.
    pub fn lay(&mut self, named: &Self) {
        let lay = |own: &mut Option<String>, given: &Option<String>| {
            if given.is_some() {
                own.clone_from(given);
            }
        };
        lay(&mut self.time, &named.time);
        lay(&mut self.dose, &named.dose);
        lay(&mut self.course, &named.course);
        lay(&mut self.context, &named.context);
    }
}

/// What the columns say of each cell.
#[derive(Debug, Clone)]
pub struct CourseLabels {
    /// When each cell was sampled; NaN of a static cell, whose time is missing.
    pub time: Vec<f64>,
    /// The dose of each cell relative to the largest of its perturbation; 0 of control.
    pub dose: Vec<f64>,
    /// The course of each cell, an index into `names`.
    pub course: Vec<usize>,
    /// `A+B`, `A+B, dose 0.5`, `A+B, pulse`, …
    pub names: Vec<String>,
}

impl CourseLabels {
    /// Reads the columns of a dataset whose cells have these conditions.
    ///
    /// # Errors
    /// No column of times (the message names `--time-column`), one that is no number, or a single time; a column that is named and
    /// not there.
    pub fn of(data: &Dataset, conditions: &[Condition], columns: &CourseColumns) -> Result<Self> {
        let time = times(&data.cells, columns.time.as_deref())?;
        let column = |named: Option<&str>, usual: &str, option: &str| match named {
            Some(name) => found(&data.cells, name, option).map(Some),
            None => Ok(data.cells.column(usual)),
        };
        let doses = column(columns.dose.as_deref(), DOSE_COLUMN, "--dose-column")?;
        let dose_name = columns.dose.as_deref().unwrap_or(DOSE_COLUMN);
        let doses = doses.map(|doses| numbers(doses, dose_name)).transpose()?;
        let unknown = |doses: &Vec<f64>| (0..time.len()).find(|&cell| doses[cell].is_nan() && !time[cell].is_nan());
        if let Some(cell) = doses.as_ref().and_then(unknown) {
            return Err(missing(dose_name, "nothing", cell));
        }
        let courses = column(columns.course.as_deref(), COURSE_COLUMN, "--course-column")?.map(Column::to_text);
        let dose = relative(doses.as_deref(), conditions);
        let name = |cell: usize| {
            let condition = &conditions[cell];
            match (&courses, &doses) {
                (Some(courses), _) => format!("{condition}, {}", courses[cell].as_deref().unwrap_or("no course")),
                (None, Some(doses)) if !condition.perturbation.is_control() && !doses[cell].is_nan() => {
                    format!("{condition}, dose {}", doses[cell])
                }
                _ => condition.to_string(),
            }
        };
        let all: Vec<String> = (0..data.n_cells()).map(name).collect();
        let places: BTreeMap<&String, usize> = all.iter().map(|name| (name, 0)).collect();
        let names: Vec<String> = places.into_keys().cloned().collect();
        let course = all.iter().map(|name| names.binary_search(name).expect("taken from the same list")).collect();
        Ok(Self { time, dose, course, names })
    }

    /// Refuses static cells, for a model that learns from courses alone.
    ///
    /// # Errors
    /// A cell without a time; the message names the model that takes such cells.
    pub fn require_times(&self) -> Result<()> {
        match self.time.iter().position(|time| time.is_nan()) {
            None => Ok(()),
            Some(cell) => Err(Error::inapplicable(format!(
                "cell {cell} has no time, and this model learns from courses alone; leave such cells out, or train static-dynamic"
            ))),
        }
    }
}

/// One course: a start and the profiles after it.
#[derive(Debug, Clone)]
pub struct Course {
    /// Its name among [`CourseLabels::names`].
    pub name: String,
    /// The perturbation and, where there are any, the context.
    pub condition: Condition,
    /// The control profile before the perturbation acts, `(genes,)`, at time 0.
    pub start: Array1<f32>,
    /// When the profiles were sampled, rising, above 0.
    pub times: Vec<f64>,
    /// The relative dose in the interval that ends at each time.
    pub doses: Vec<f64>,
    /// Mean log-normalised expression, `(times, genes)`.
    pub profiles: Array2<f32>,
    /// Cells behind each profile.
    pub n_cells: Vec<usize>,
}

/// The courses of the cells `rows`, each `replicates` times with a random part of its cells where there are enough; 1 gives each
/// course once with all its cells. `start` gives the control profile of a context.
///
/// # Errors
/// No course with a time after the start.
pub fn courses(
    expression: &Counts,
    conditions: &[Condition],
    labels: &CourseLabels,
    rows: &[usize],
    (replicates, seed): (usize, u64),
    start: impl Fn(&Condition) -> Array1<f32>,
) -> Result<Vec<Course>> {
    let mut of_course: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    // At time 0 nothing has acted: these cells are like control, which the start is the profile of.
    for &row in rows.iter().filter(|&&row| labels.time[row] > 0.0) {
        of_course.entry(labels.course[row]).or_default().push(row);
    }
    let mut all = Vec::new();
    for (course, rows) in of_course {
        let mut at_time: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        // Times are positive here, and the bits of positive numbers rise with them.
        rows.iter().for_each(|&row| at_time.entry(labels.time[row].to_bits()).or_default().push(row));
        let fewest = at_time.values().map(Vec::len).min().unwrap_or(0);
        let parts = replicates.min(fewest / CELLS_OF_REPLICATE).max(1);
        let mut rng = stream(seed, DIVIDED, course as u64);
        at_time.values_mut().for_each(|rows| rows.shuffle(&mut rng));
        for part in 0..parts {
            let chosen: Vec<(f64, Vec<usize>)> = at_time
                .iter()
                .map(|(time, rows)| (f64::from_bits(*time), rows.iter().skip(part).step_by(parts).copied().collect()))
                .collect();
            let mut profiles = Array2::zeros((0, expression.n_genes()));
            for (_, rows) in &chosen {
                profiles.push_row(mean_expression(expression, rows).view()).expect("one number of genes");
            }
            let dose = |rows: &Vec<usize>| rows.iter().map(|&row| labels.dose[row]).sum::<f64>() / rows.len() as f64;
            let condition = conditions[rows[0]].clone();
            all.push(Course {
                name: labels.names[course].clone(),
                start: start(&condition),
                condition,
                times: chosen.iter().map(|(time, _)| *time).collect(),
                doses: chosen.iter().map(|(_, rows)| dose(rows)).collect(),
                n_cells: chosen.iter().map(|(_, rows)| rows.len()).collect(),
                profiles,
            });
        }
    }
    match all.is_empty() {
        true => Err(Error::data("no cell was sampled after the start, so there is no course to learn from")),
        false => Ok(all),
    }
}

fn found<'a>(cells: &'a Table, name: &str, option: &str) -> Result<&'a Column> {
    cells.column(name).ok_or_else(|| {
        let columns = cells.column_names().join(", ");
        Error::config(format!("{option}: there is no column `{name}` in obs; the columns of obs are {columns}"))
    })
}

fn times(cells: &Table, named: Option<&str>) -> Result<Vec<f64>> {
    let (name, column) = match named {
        Some(name) => (name, found(cells, name, "--time-column")?),
        None => TIME_COLUMNS.iter().find_map(|&name| cells.column(name).map(|column| (name, column))).ok_or_else(
            || {
                Error::inapplicable(format!(
                    "no column of obs gives the time at which a cell was sampled; name it by --time-column (the columns of obs \
                     are {})",
                    cells.column_names().join(", ")
                ))
            },
        )?,
    };
    let times = numbers(column, name)?;
    if let Some(cell) = times.iter().position(|time| *time < 0.0) {
        return Err(Error::data(format!(
            "the column `{name}` of times holds {} for cell {}; count time from the start of the perturbation",
            times[cell], cells.names[cell]
        )));
    }
    let known = || times.iter().filter(|time| !time.is_nan());
    match known().next().is_some_and(|first| known().any(|time| time != first)) {
        true => Ok(times),
        false => Err(Error::inapplicable(format!(
            "the column `{name}` gives one time for all cells, and a course needs two at least; name another by --time-column"
        ))),
    }
}

/// The numbers of a column: as they are, or those at the front of text that ends in one unit for all (`24h`), or behind one word
/// (`day3`). NaN where a value is missing.
fn numbers(column: &Column, name: &str) -> Result<Vec<f64>> {
    let of_text = |text: &str| {
        let is_number = |c: char| c.is_ascii_digit() || c == '.' || c == '-';
        let digits: String = text.chars().filter(|&c| is_number(c)).collect();
        let unit: String = text.chars().filter(|&c| !is_number(c) && !c.is_whitespace()).collect();
        digits.parse::<f64>().ok().map(|number| (number, unit))
    };
    if let Some(values) = column.to_f64().filter(|values| values.iter().all(|value| !value.is_infinite())) {
        return Ok(values);
    }
    let texts = column.to_text();
    let mut unit: Option<String> = None;
    let mut values = Vec::with_capacity(texts.len());
    for (cell, text) in texts.iter().enumerate() {
        let Some(text) = text.as_deref().filter(|text| !text.is_empty() && *text != "nan") else {
            values.push(f64::NAN);
            continue;
        };
        match of_text(text).filter(|(value, own)| value.is_finite() && unit.get_or_insert_with(|| own.clone()) == own) {
            Some((value, _)) => values.push(value),
            None => return Err(missing(name, text, cell)),
        }
    }
    Ok(values)
}

fn missing(column: &str, found: &str, row: usize) -> Error {
    Error::data(format!(
        "the column `{column}` holds {found:?} in row {row}; it must hold numbers, or numbers of one unit (24h)"
    ))
}

/// Doses relative to the largest of each perturbation; 0 of control.
fn relative(doses: Option<&[f64]>, conditions: &[Condition]) -> Vec<f64> {
    let mut largest: BTreeMap<&Condition, f64> = BTreeMap::new();
    let dose = |cell: usize| doses.map_or(1.0, |doses| doses[cell]);
    for (cell, condition) in conditions.iter().enumerate() {
        let most = largest.entry(condition).or_insert(0.0);
        // `max` ignores a dose that is missing.
        *most = most.max(dose(cell));
    }
    let of_cell = |(cell, condition): (usize, &Condition)| match condition.perturbation.is_control() {
        true => 0.0,
        // Only a static cell may lack a dose: it counts as the largest.
        false if dose(cell).is_nan() => 1.0,
        false => dose(cell) / largest[condition].max(f64::MIN_POSITIVE),
    };
    conditions.iter().enumerate().map(of_cell).collect()
}
