//! Runs a notebook and puts its outputs into it.

use super::{
    lint::RAISES,
    notebook::{Cell, Notebook},
    session::{Ran, Task},
    worker::Seat,
};
use crate::engine::CellError;
use anyhow::{Context, Result};
use serde_json::Value;
use std::{path::Path, time::Duration};

/// Tag of a cell that is left as it is, as nbclient knows it.
const SKIP: &str = "skip-execution";
/// Begins a tag that sets how long a cell may take: `timeout=120`. Metadata may say it too: `"timeout": 120`.
const TIMEOUT: &str = "timeout";

/// A notebook that was run.
#[derive(Debug)]
pub struct Execution {
    /// The notebook with its new outputs.
    pub notebook: Notebook,
    /// Its code cells, as far as they are to be run.
    pub cells: Vec<Step>,
    /// How long it took until the first cell could begin.
    pub start: Duration,
    /// Why not even a cell can be blamed.
    pub broken: Option<String>,
}

/// A code cell that was to be run.
#[derive(Debug)]
pub struct Step {
    /// Its position among all cells.
    pub position: usize,
    /// Its number among the code cells, from 1.
    pub number: usize,
    /// The line that says most about it.
    pub title: String,
    /// What it did; `None` if a cell before it failed.
    pub ran: Option<Ran>,
    may_fail: bool,
}

impl Step {
    /// How it failed, unless it may.
    pub fn failure(&self) -> Option<&CellError> {
        self.ran.as_ref().filter(|_| !self.may_fail)?.error.as_ref()
    }
}

impl Execution {
    /// The first cell that failed, and how.
    pub fn failure(&self) -> Option<(&Step, &CellError)> {
        self.cells.iter().find_map(|step| Some((step, step.failure()?)))
    }

    /// How long all cells took.
    pub fn time(&self) -> Duration {
        self.cells.iter().filter_map(|step| step.ran.as_ref()).map(|ran| ran.time).sum()
    }
}

/// Runs the code cells of a notebook that lies in `folder`; each may take `limit`, unless it says otherwise.
///
/// What the cells say on that was [checked](check_limits) before.
pub fn execute(seat: &mut Seat, folder: &Path, mut notebook: Notebook, limit: Duration) -> Execution {
    let mut cells = Vec::new();
    let mut tasks = Vec::new();
    for cell in notebook.code().filter(|cell| !cell.has_tag(SKIP)) {
        let may_fail = cell.has_tag(RAISES);
        tasks.push(Task { source: cell.source(), limit: limit_of(cell).ok().flatten().unwrap_or(limit), may_fail });
        let Cell { position, number, .. } = cell;
        cells.push(Step { position, number, title: cell.title(), ran: None, may_fail });
    }
    for step in &cells {
        notebook.set_outputs(step.position, Vec::new());
    }
    let mut done = 0;
    let result = seat.run(folder, &tasks, |ran| {
        if let Some(step) = cells.get_mut(done) {
            done += 1;
            notebook.set_outputs(step.position, ran.outputs.clone());
            step.ran = Some(ran);
        }
    });
    let (start, broken) = match result {
        Ok(start) => (start, None),
        Err(error) => (Duration::ZERO, Some(format!("{error:#}"))),
    };
    Execution { notebook, cells, start, broken }
}

/// Checks what the cells of a notebook say on how long they may take.
///
/// # Errors
/// Not in seconds.
pub fn check_limits(notebook: &Notebook) -> Result<()> {
    notebook.code().try_for_each(|cell| limit_of(cell).map(drop))
}

fn limit_of(cell: Cell<'_>) -> Result<Option<Duration>> {
    let tag = cell.tags().find_map(|tag| tag.strip_prefix(TIMEOUT)?.strip_prefix('='));
    let said = match (tag, &cell.json()["metadata"][TIMEOUT]) {
        (Some(seconds), _) => seconds.to_owned(),
        (None, Value::Null) => return Ok(None),
        (None, seconds) => seconds.to_string(),
    };
    let limit = seconds(&said).with_context(|| format!("code cell {}: {TIMEOUT}={said}", cell.number))?;
    Ok(Some(limit))
}

/// A time in seconds.
///
/// # Errors
/// No number, or one that is not above 0.
pub fn seconds(text: &str) -> Result<Duration> {
    let seconds = text.trim().parse::<f64>().ok().filter(|seconds| *seconds > 0.0);
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).context("not a number of seconds above 0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::fs;

    fn notebook(metadata: &Value) -> Notebook {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.ipynb");
        let cell = json!({"cell_type": "code", "id": "a", "metadata": metadata, "source": "1"});
        fs::write(&path, json!({"nbformat": 4, "cells": [cell]}).to_string()).expect("written");
        Notebook::read(&path).expect("a notebook")
    }

    #[test]
    fn a_cell_says_how_long_it_may_take() {
        let limit = |metadata: &Value| limit_of(notebook(metadata).code().next().expect("a cell"));
        assert_eq!(limit(&json!({})).expect("none"), None);
        assert_eq!(limit(&json!({"timeout": 1.5})).expect("a time"), Some(Duration::from_millis(1500)));
        assert_eq!(limit(&json!({"tags": ["a", "timeout=120"]})).expect("a time"), Some(Duration::from_secs(120)));
        for wrong in ["0", "-1", "NaN", "inf", "1e300", "soon", ""] {
            let error = limit(&json!({"tags": [format!("timeout={wrong}")]})).expect_err(wrong);
            assert!(format!("{error:#}").contains("not a number of seconds above 0"), "{error:#}");
        }
        assert!(check_limits(&notebook(&json!({"timeout": "1"}))).is_err(), "text in quotes");
    }
}
