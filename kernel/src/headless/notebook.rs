//! A notebook file: its code cells and their outputs. It is written as Jupyter writes it: keys in alphabetical order,
//! indented by one space.

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json, ser};
use std::{fs, path::Path};

/// A notebook, read from a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Notebook {
    json: Value,
}

impl Notebook {
    /// Reads a notebook of format 4.
    ///
    /// # Errors
    /// A file that cannot be read, or is no notebook of format 4.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let json: Value =
            serde_json::from_str(&text).with_context(|| format!("{} is not valid JSON", path.display()))?;
        let is_notebook = json["nbformat"] == 4 && json["cells"].is_array();
        is_notebook.then_some(Self { json }).with_context(|| format!("{} is no notebook of format 4", path.display()))
    }

    /// Writes the notebook, whole or not at all.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut text = Vec::new();
        let mut serializer = ser::Serializer::with_formatter(&mut text, ser::PrettyFormatter::with_indent(b" "));
        self.json.serialize(&mut serializer).context("its keys are strings")?;
        text.push(b'\n');
        let partial = path.with_extension("ipynb.partial");
        fs::write(&partial, text)
            .and_then(|()| fs::rename(&partial, path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// The code cells: their position among all cells, and their source.
    pub fn code(&self) -> Vec<(usize, String)> {
        let cells = self.json["cells"].as_array().expect("checked when it was read").iter().enumerate();
        cells.filter(|(_, cell)| cell["cell_type"] == "code").map(|(at, cell)| (at, text(&cell["source"]))).collect()
    }

    /// Replaces what the cell at `position` has put out, and its number.
    pub fn set_outputs(&mut self, position: usize, count: Option<usize>, outputs: Vec<Value>) {
        let cell = &mut self.json["cells"][position];
        cell["execution_count"] = json!(count);
        cell["outputs"] = Value::Array(outputs);
    }

    /// Removes all outputs and numbers.
    pub fn clear(&mut self) {
        for (position, _) in self.code() {
            self.set_outputs(position, None, Vec::new());
        }
    }
}

/// Text in a notebook is a string or a list of lines.
fn text(value: &Value) -> String {
    match value {
        Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
        other => other.as_str().unwrap_or_default().to_owned(),
    }
}

/// Text as a list of lines, which is how Jupyter stores it.
pub fn lines(text: &str) -> Value {
    text.split_inclusive('\n').map(|line| json!(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_written_and_cleared() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.ipynb");
        let json = json!({
            "nbformat": 4, "nbformat_minor": 5, "metadata": {},
            "cells": [
                {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# A"},
                {"cell_type": "code", "id": "b", "metadata": {}, "source": ["1 +\n", " 1"], "outputs": [],
                 "execution_count": null},
            ],
        });
        fs::write(&path, json.to_string()).expect("written");
        let empty = Notebook::read(&path).expect("a notebook");
        assert_eq!(empty.code(), [(1, "1 +\n 1".to_owned())]);
        let mut run = empty.clone();
        run.set_outputs(1, Some(3), vec![json!({"output_type": "stream", "name": "stdout", "text": lines("a\nb")})]);
        run.write(&path).expect("written");
        let mut read = Notebook::read(&path).expect("a notebook");
        assert_eq!(read, run);
        assert_eq!(read.json["cells"][1]["outputs"][0]["text"], json!(["a\n", "b"]));
        read.clear();
        assert_eq!(read, empty);
        fs::write(&path, "{}").expect("written");
        assert!(Notebook::read(&path).expect_err("not a notebook").to_string().contains("no notebook of format 4"));
    }
}
