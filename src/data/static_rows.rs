//! Profiles without a time: bulk samples, and conditions that were measured once.
//!
//! To a model of sequences they are sequences of length 1. In a dataset of time courses they are the rows whose time is missing.

use super::{
    Column, Condition, Counts, CourseColumns, CourseLabels, Dataset, join, mean_expression,
    time_course::{CELLS_OF_REPLICATE, DIVIDED, TIME_COLUMNS},
};
use crate::{Error, Result, math::seeds::stream};
use ndarray::Array1;
use rand::seq::SliceRandom;
use std::collections::BTreeMap;

/// The cells of time courses, and those of static datasets, each with a name, with the time missing: [`join`](fn@join) of all, with
/// the columns of the courses.
///
/// # Errors
/// As [`join`](fn@join); courses without a column of times; static datasets without the column of contexts.
pub fn with_static(
    courses: (&str, &Dataset),
    statics: &[(&str, &Dataset)],
    columns: &CourseColumns,
) -> Result<Dataset> {
    let cells = &courses.1.cells;
    let usual = TIME_COLUMNS.into_iter().find(|&name| cells.column(name).is_some());
    let time = columns.time.as_deref().or(usual).filter(|name| cells.column(name).is_some()).ok_or_else(|| {
        Error::config(format!(
            "--static: {} has no column of times, so it holds no courses to put static profiles beside; name it by --time-column",
            courses.0
        ))
    })?;
    let context = columns.context.as_deref().filter(|name| cells.column(name).is_some());
    if let Some((context, (file, data))) =
        context.and_then(|name| Some((name, statics.iter().find(|(_, data)| data.cells.column(name).is_none())?)))
    {
        return Err(Error::config(format!(
            "--static {file}: there is no column {context:?}, which --context names; the columns are {}",
            data.cells.column_names().join(", ")
        )));
    }
    let blank = |data: &Dataset| {
        let mut data = data.clone();
        if data.cells.column(time).is_some() {
            data.notes.push(format!("its column {time:?} is left out: static profiles have no time"));
        }
        for name in cells.column_names() {
            let known = cells.column(name).expect("it is among the names");
            if name == time || data.cells.column(name).is_none() {
                data.cells.set(name, missing(known, data.n_cells()));
            }
        }
        data
    };
    let blank: Vec<(&str, Dataset)> = statics.iter().map(|(name, data)| (*name, blank(data))).collect();
    let all: Vec<(&str, &Dataset)> =
        std::iter::once(courses).chain(blank.iter().map(|(name, data)| (*name, data))).collect();
    join(&all)
}

/// A column of missing values that goes with a known one.
fn missing(like: &Column, rows: usize) -> Column {
    match like.to_f64() {
        Some(_) => Column::Float(vec![f64::NAN; rows]),
        None => Column::Text(vec![None; rows]),
    }
}

/// A profile without a time.
#[derive(Debug, Clone)]
pub struct StaticProfile {
    /// Its name among [`CourseLabels::names`].
    pub name: String,
    /// The perturbation and, where there are any, the context.
    pub condition: Condition,
    /// The relative dose.
    pub dose: f64,
    /// Mean log-normalised expression, `(genes,)`.
    pub profile: Array1<f32>,
}

/// The mean profiles of the static cells among `rows`, one per label and part; the parts are those of [`courses`](super::courses).
pub fn static_profiles(
    expression: &Counts,
    conditions: &[Condition],
    labels: &CourseLabels,
    rows: &[usize],
    (replicates, seed): (usize, u64),
) -> Vec<StaticProfile> {
    let mut of_label: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for &row in rows.iter().filter(|&&row| labels.time[row].is_nan()) {
        of_label.entry(labels.course[row]).or_default().push(row);
    }
    let mut all = Vec::new();
    for (label, mut rows) in of_label {
        let parts = replicates.min(rows.len() / CELLS_OF_REPLICATE).max(1);
        rows.shuffle(&mut stream(seed, DIVIDED, label as u64));
        for part in 0..parts {
            let chosen: Vec<usize> = rows.iter().skip(part).step_by(parts).copied().collect();
            all.push(StaticProfile {
                name: labels.names[label].clone(),
                condition: conditions[chosen[0]].clone(),
                dose: chosen.iter().map(|&row| labels.dose[row]).sum::<f64>() / chosen.len() as f64,
                profile: mean_expression(expression, &chosen),
            });
        }
    }
    all
}
