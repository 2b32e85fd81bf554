//! A notebook file: its cells and their outputs. It is written as Jupyter writes it: keys in alphabetical order,
//! indented by one space.

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json, ser};
use std::{
    fs,
    io::{self, Write},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Held while a file is written. Whoever ends the program takes it first, so that no half of a file is left.
static WRITING: Mutex<()> = Mutex::new(());

/// A notebook, read from a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Notebook {
    json: Value,
}

/// One cell of a notebook.
#[derive(Debug, Clone, Copy)]
pub struct Cell<'a> {
    json: &'a Value,
    /// Its position among all cells, from 0.
    pub position: usize,
    /// Its number among the cells of its kind, from 1.
    pub number: usize,
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
        let is_notebook =
            json["nbformat"] == 4 && json["cells"].as_array().is_some_and(|cells| cells.iter().all(Value::is_object));
        is_notebook.then_some(Self { json }).with_context(|| format!("{} is no notebook of format 4", path.display()))
    }

    /// Writes the notebook, whole or not at all. A file that holds it already is left alone.
    ///
    /// # Errors
    /// A file that may not be written, or whose folder may not.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_whole(path, &self.to_bytes())
    }

    /// The notebook as it stands in its file once it is written.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut serializer = ser::Serializer::with_formatter(&mut text, ser::PrettyFormatter::with_indent(b" "));
        self.json.serialize(&mut serializer).expect("it was read from JSON");
        text.push(b'\n');
        text
    }

    /// All cells.
    pub fn cells(&self) -> impl Iterator<Item = Cell<'_>> {
        let cells = self.json["cells"].as_array().map(Vec::as_slice).unwrap_or_default();
        cells.iter().enumerate().map(move |(position, json)| {
            let earlier = &cells[..position];
            let number = 1 + earlier.iter().filter(|other| other["cell_type"] == json["cell_type"]).count();
            Cell { json, position, number }
        })
    }

    /// The code cells.
    pub fn code(&self) -> impl Iterator<Item = Cell<'_>> {
        self.cells().filter(Cell::is_code)
    }

    /// The notebook as it stands in its file.
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// Replaces what the cell at `position` has put out, and removes its number: a number that changes whenever a cell
    /// is put in above it would only make a diff longer.
    pub fn set_outputs(&mut self, position: usize, outputs: Vec<Value>) {
        let cell = &mut self.json["cells"][position];
        cell["execution_count"] = Value::Null;
        cell["outputs"] = Value::Array(outputs);
    }

    /// The outputs of all code cells, to be changed.
    pub(super) fn outputs_mut(&mut self) -> impl Iterator<Item = &mut Value> {
        let cells = self.json["cells"].as_array_mut().into_iter().flatten();
        cells.filter_map(|cell| cell.get_mut("outputs")?.as_array_mut()).flatten()
    }

    /// Removes all outputs and numbers.
    pub fn clear(&mut self) {
        let positions: Vec<usize> = self.code().map(|cell| cell.position).collect();
        for position in positions {
            self.set_outputs(position, Vec::new());
        }
    }

    /// Puts a cell at `position`; what stands there and later moves down.
    pub(super) fn insert(&mut self, position: usize, cell: Value) {
        if let Some(cells) = self.json["cells"].as_array_mut() {
            cells.insert(position.min(cells.len()), cell);
        }
    }

    /// Removes the cells that carry `tag`.
    pub(super) fn remove_tagged(&mut self, tag: &str) {
        if let Some(cells) = self.json["cells"].as_array_mut() {
            cells.retain(|json| !Cell { json, position: 0, number: 0 }.has_tag(tag));
        }
    }
}

impl<'a> Cell<'a> {
    /// Whether it holds code.
    pub fn is_code(&self) -> bool {
        self.json["cell_type"] == "code"
    }

    /// Whether it holds Markdown.
    pub fn is_markdown(&self) -> bool {
        self.json["cell_type"] == "markdown"
    }

    /// What it holds.
    pub fn source(&self) -> String {
        text(&self.json["source"])
    }

    /// What it has put out, as it stands in the file.
    pub fn outputs(&self) -> &'a [Value] {
        self.json["outputs"].as_array().map(Vec::as_slice).unwrap_or_default()
    }

    /// Its tags.
    pub fn tags(&self) -> impl Iterator<Item = &'a str> {
        self.json["metadata"]["tags"].as_array().into_iter().flatten().filter_map(Value::as_str)
    }

    /// Whether it carries a tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags().any(|other| other == tag)
    }

    /// The cell as it stands in the file.
    pub fn json(&self) -> &'a Value {
        self.json
    }

    /// The line that says most about it.
    pub fn title(&self) -> String {
        let source = self.source();
        let mut in_use = false;
        let says_something = |line: &&str| {
            in_use |= line.starts_with("use ");
            let dull = in_use || line.is_empty() || *line == "{" || line.starts_with("//");
            in_use &= !line.ends_with(';');
            !dull
        };
        source.lines().map(str::trim).find(says_something).unwrap_or_default().to_owned()
    }
}

/// Text in a notebook is a string or a list of lines.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
        other => other.as_str().unwrap_or_default().to_owned(),
    }
}

/// Text as a list of lines, which is how Jupyter stores it.
pub fn lines(text: &str) -> Value {
    text.split_inclusive('\n').map(|line| json!(line)).collect()
}

/// Waits until no file is being written, and keeps it so.
pub(super) fn no_more_writing() -> MutexGuard<'static, ()> {
    WRITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Replaces a file by one beside it that is complete. Its permissions stay; a link goes on pointing at it.
///
/// # Errors
/// A file that may not be written, or whose folder may not.
pub(super) fn write_whole(path: &Path, text: &[u8]) -> Result<()> {
    let replace = || -> io::Result<()> {
        let old = path.canonicalize().ok();
        let path = old.as_deref().unwrap_or(path);
        if old.is_some() && fs::read(path)? == text {
            return Ok(());
        }
        let mut new = temporary_beside(path)?;
        new.write_all(text)?;
        if old.is_some() {
            new.as_file().set_permissions(fs::metadata(path)?.permissions())?;
        }
        let _guard = no_more_writing();
        new.persist(path)?;
        Ok(())
    };
    replace().with_context(|| format!("cannot write {}", path.display()))
}

/// Whether [`write_whole`] will be able to write `path`: known before hours of work and not after them.
///
/// # Errors
/// It will not.
pub(super) fn may_write(path: &Path) -> Result<()> {
    let allowed = || -> io::Result<()> {
        if fs::metadata(path).is_ok_and(|metadata| metadata.permissions().readonly()) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the file is read-only"));
        }
        let target = path.canonicalize();
        temporary_beside(target.as_deref().unwrap_or(path)).map(drop)
    };
    allowed().with_context(|| format!("cannot write {}", path.display()))
}

fn temporary_beside(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".genailab-").suffix(".partial");
    // What a new file gets that is made without further thought.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Value {
        json!({
            "nbformat": 4, "nbformat_minor": 5,
            "metadata": {"kernelspec": {"name": "genailab"}, "authors": ["Ä. Öz"]},
            "cells": [
                {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# A"},
                {"cell_type": "code", "id": "b", "metadata": {"tags": ["slow"]}, "source": ["1 +\n", " 1"],
                 "outputs": [], "execution_count": null},
            ],
        })
    }

    #[test]
    fn outputs_are_written_and_cleared() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.ipynb");
        fs::write(&path, example().to_string()).expect("written");
        let empty = Notebook::read(&path).expect("a notebook");
        let code: Vec<_> = empty.code().map(|cell| (cell.position, cell.number, cell.source())).collect();
        assert_eq!(code, [(1, 1, "1 +\n 1".to_owned())]);
        let mut run = empty.clone();
        run.set_outputs(1, vec![json!({"output_type": "stream", "name": "stdout", "text": lines("a\nb")})]);
        run.write(&path).expect("written");
        let mut read = Notebook::read(&path).expect("a notebook");
        assert_eq!(read, run);
        assert_eq!(read.json["cells"][1]["outputs"][0]["text"], json!(["a\n", "b"]));
        read.clear();
        assert_eq!(read, empty, "everything but the outputs is kept");
        for damaged in ["{}", r#"{"nbformat": 4, "cells": [1]}"#] {
            fs::write(&path, damaged).expect("written");
            let error = Notebook::read(&path).expect_err("not a notebook").to_string();
            assert!(error.contains("no notebook of format 4"), "{error}");
        }
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_title_is_neither_a_comment_nor_an_import() {
        let title = |source: &str| {
            let json = json!({"cell_type": "code", "source": source});
            Cell { json: &json, position: 0, number: 1 }.title()
        };
        assert_eq!(title("// What for.\nuse a::{\n    B,\n    C,\n};\nuse d;\n\n  let e = 1;\ne"), "let e = 1;");
        assert_eq!(title("use a;"), "");
    }

    #[test]
    fn clearing_twice_changes_nothing_and_the_file_ends_with_a_line_end() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.ipynb");
        fs::write(&path, example().to_string()).expect("written");
        let clear = || {
            let mut notebook = Notebook::read(&path).expect("a notebook");
            notebook.clear();
            notebook.write(&path).expect("written");
            fs::read_to_string(&path).expect("it is there")
        };
        let once = clear();
        assert!(once.ends_with("}\n") && once.contains("Ä. Öz") && once.contains("\n     \"slow\"\n"), "{once}");
        let time = fs::metadata(&path).and_then(|metadata| metadata.modified()).expect("a time");
        assert_eq!(clear(), once);
        assert_eq!(fs::metadata(&path).and_then(|metadata| metadata.modified()).expect("a time"), time, "not touched");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link_and_permissions_stay() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (file, link) = (folder.path().join("a.ipynb"), folder.path().join("link.ipynb"));
        fs::write(&file, "old").expect("written");
        fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).expect("set");
        symlink(&file, &link).expect("linked");
        may_write(&link).expect("it may be written");
        write_whole(&link, b"new").expect("written");
        assert_eq!(fs::read_to_string(&file).expect("it is there"), "new");
        assert!(link.symlink_metadata().expect("it is there").is_symlink());
        assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o640);
        fs::set_permissions(&file, PermissionsExt::from_mode(0o440)).expect("set");
        let error = format!("{:#}", may_write(&link).expect_err("read-only"));
        assert!(error.contains("cannot write") && error.contains("read-only"), "{error}");
    }
}
