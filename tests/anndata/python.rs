//! Python's anndata and scanpy on one side, this library on the other: `tests/reference/anndata_parity.py`.

use super::{real_files, small};
use crate::common::{self, root};
use genailab::data::{AnnData, AnnDataWriter, Dataset};
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::tempdir;

const MODULES: &[&str] = &["anndata", "scanpy"];

/// Runs the script, which must pass.
fn python(interpreter: &Path, arguments: &[&Path]) -> Output {
    let script = root().join("tests/reference/anndata_parity.py");
    let output = Command::new(interpreter).arg(script).args(arguments).output().expect("Python starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {error}", interpreter.display());
    output
}

/// Reads all that this library reads of a file, and writes it again.
fn rewrite(from: &Path, to: &Path) {
    let file = AnnData::open(from).expect("opened");
    let (obs, var) = (file.obs().expect("obs"), file.var().expect("var"));
    let sparse = |name: &str| file.read_matrix(name).expect("a matrix");
    let x = file.has_matrix("X").then(|| sparse("X"));
    let layers: Vec<_> = file.layers().iter().map(|name| (name, sparse(&format!("layers/{name}")))).collect();
    // A data frame with text is no embedding.
    let obsm: Vec<_> =
        file.obsm().iter().filter_map(|(name, _)| file.read_obsm(name).ok().map(|values| (name, values))).collect();
    let mut writer = AnnDataWriter::new(&obs, &var);
    if let Some(x) = &x {
        writer = writer.x(x);
    }
    for (name, layer) in &layers {
        writer = writer.layer(name, layer);
    }
    for (name, values) in &obsm {
        writer = writer.obsm(name, values);
    }
    writer.write(to).expect("written");
}

#[test]
fn python_agrees_on_every_file() {
    let Some(interpreter) = common::python(MODULES) else { return };
    let folder = tempdir().expect("a folder");
    let made = folder.path().join("made");
    std::fs::create_dir(&made).expect("new");
    python(&interpreter, &[Path::new("make"), &made]);
    let mut originals: Vec<PathBuf> =
        std::fs::read_dir(&made).expect("listed").flatten().map(|entry| entry.path()).collect();
    assert!(originals.len() >= 45, "{} files were made", originals.len());
    originals.extend(real_files());
    let mut arguments = vec![PathBuf::from("check"), PathBuf::from(env!("CARGO_BIN_EXE_genailab"))];
    for (number, original) in originals.iter().enumerate() {
        let rewritten = folder.path().join(format!("{number}.h5ad"));
        rewrite(original, &rewritten);
        arguments.extend([original.clone(), rewritten]);
    }
    let arguments: Vec<&Path> = arguments.iter().map(PathBuf::as_path).collect();
    let said = python(&interpreter, &arguments).stdout;
    assert_eq!(
        String::from_utf8_lossy(&said).lines().filter(|line| line.starts_with("agrees")).count(),
        originals.len()
    );
}

#[test]
fn scanpy_takes_what_is_written() {
    let Some(interpreter) = common::python(MODULES) else { return };
    let folder = tempdir().expect("a folder");
    let path = folder.path().join("cells.h5ad");
    let cells: Vec<usize> = (0..60).map(|cell| cell % 6).collect();
    let mut data: Dataset = small().select_cells(&cells);
    data.cells.names = (0..60).map(|cell| format!("cell{cell}")).collect();
    data.write(&path).expect("written");
    python(&interpreter, &[Path::new("scanpy"), &path]);
}
