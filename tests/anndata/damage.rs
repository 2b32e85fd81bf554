//! Files that are missing, damaged or not what they should be: one clear line each, exit 1, no panic, nothing left.

use super::{names, small};
use crate::common::real_data;
use genailab::{
    data::{AnnDataWriter, Dataset, Table},
    ndarray::{Array2, array},
};
use hdf5::File;
use std::{
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::tempdir;

/// Runs `genailab inspect --json` and gives its one line of error, or `None` if there was none.
fn inspect(path: &Path) -> Option<String> {
    let output =
        Command::new(env!("CARGO_BIN_EXE_genailab")).args(["inspect", "--json"]).arg(path).output().expect("it starts");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        assert_eq!(error, "", "{}", path.display());
        return None;
    }
    assert_eq!(output.status.code(), Some(1), "{}: {error}", path.display());
    assert_eq!(error.trim_end().lines().count(), 1, "one line: {error}");
    assert!(error.starts_with("error: ") && error.contains(&*path.to_string_lossy()), "{error}");
    assert!(output.stdout.is_empty(), "nothing on stdout: {}", String::from_utf8_lossy(&output.stdout));
    Some(error)
}

#[test]
fn what_is_no_anndata_file() {
    let folder = tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("empty.h5ad"), "").expect("written");
    std::fs::write(at("text.h5ad"), "cell,gene\n1,2\n").expect("written");
    std::fs::write(at("short.h5ad"), b"\x89HDF\r\n").expect("written");
    let file = File::create(at("other.h5ad")).expect("new");
    file.new_dataset_builder().with_data(&[1, 2]).create("matrix").expect("new");
    drop(file);
    for (path, said) in [
        (at("missing.h5ad"), "cannot read"),
        (folder.path().to_owned(), "is a folder"),
        (at("empty.h5ad"), "is empty"),
        (at("text.h5ad"), "is not an HDF5 file"),
        (at("short.h5ad"), "is not an HDF5 file"),
        (at("other.h5ad"), "needs `obs` and `var`"),
    ] {
        let error = inspect(&path).expect("an error");
        assert!(error.contains(said), "{said}: {error}");
    }
}

/// Every prefix of a file is refused: a small one cut at many places, and a real one.
#[test]
fn a_truncated_file() {
    let folder = tempdir().expect("a folder");
    let (whole, cut) = (folder.path().join("whole.h5ad"), folder.path().join("cut.h5ad"));
    small().write(&whole).expect("written");
    let mut sources = vec![whole];
    sources.extend(real_data("norman_cells.h5ad"));
    for source in sources {
        let bytes = std::fs::read(&source).expect("readable");
        let places = (0..40).map(|i| bytes.len() * i / 40).chain([bytes.len() - 1, bytes.len() - 8]);
        for length in places {
            std::fs::write(&cut, &bytes[..length]).expect("written");
            let error = inspect(&cut).unwrap_or_else(|| panic!("{length} of {} bytes pass", bytes.len()));
            assert!(["empty", "not an HDF5 file", "truncated"].iter().any(|said| error.contains(said)), "{error}");
        }
    }
}

/// A valid file with one thing changed.
fn damaged(path: &Path, change: impl FnOnce(&File)) {
    small().write(path).expect("written");
    // HDF5 locks files; a process that another test starts holds the lock on, until it becomes its program.
    let opened = (0..100).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        File::open_rw(path).ok()
    });
    change(&opened.expect("opened"));
}

fn replace<T: hdf5::H5Type>(file: &File, name: &str, values: &[T]) {
    file.unlink(name).expect("there");
    file.new_dataset_builder().with_data(values).create(name).expect("new");
}

fn set_shape(file: &File, shape: [i64; 2]) {
    let x = file.group("X").expect("there");
    x.attr("shape").expect("there").write_raw(&shape).expect("written");
}

type Change = Box<dyn Fn(&File)>;

#[test]
fn damaged_parts() {
    let folder = tempdir().expect("a folder");
    let path = folder.path().join("damaged.h5ad");
    // The file has 6 cells, 4 genes and 10 values; indptr is 0 2 3 3 5 6 10.
    let cases: Vec<(&str, Change)> = vec![
        ("out of range", Box::new(|f| replace(f, "X/indices", &[0, 2, 1, 0, 3, 2, 0, 1, 2, 4]))),
        ("out of range", Box::new(|f| replace(f, "X/indices", &[0, 2, 1, 0, 3, 2, 0, 1, 2, -1]))),
        ("not monotone", Box::new(|f| replace(f, "X/indptr", &[0, 2, 3, 2, 5, 6, 10]))),
        ("runs from 0 to 9", Box::new(|f| replace(f, "X/indptr", &[0, 2, 3, 3, 5, 6, 9]))),
        ("runs from 1 to 10", Box::new(|f| replace(f, "X/indptr", &[1, 2, 3, 3, 5, 6, 10]))),
        ("`indptr` has 9 entries", Box::new(|f| replace(f, "X/indptr", &[0_i64; 9]))),
        ("10 values but 3 indices", Box::new(|f| replace(f, "X/indices", &[0, 1, 2]))),
        ("6 cells and 4 genes", Box::new(|f| set_shape(f, [6, 5]))),
        ("6 cells and 4 genes", Box::new(|f| set_shape(f, [7, 4]))),
        ("does not give its shape", Box::new(|f| set_shape(f, [-6, 4]))),
        ("X/data` is missing", Box::new(|f| f.unlink("X/data").expect("there"))),
        ("has 5 values, but there are 6 rows", Box::new(|f| replace(f, "obs/ncounts", &[1.0; 5]))),
        ("has 5 values, but there are 6 rows", Box::new(|f| replace(f, "obs/perturbation/codes", &[0_i8; 5]))),
        ("obs/ncounts` is missing", Box::new(|f| f.unlink("obs/ncounts").expect("there"))),
        ("an array of records", Box::new(|f| replace(f, "obs", &[1.0; 6]))),
        (
            "`X` is stored as a group of unknown kind",
            Box::new(|f| {
                f.unlink("X").expect("there");
                f.create_group("X").expect("new");
            }),
        ),
    ];
    for (said, change) in cases {
        damaged(&path, change);
        let error = inspect(&path).unwrap_or_else(|| panic!("{said}: it passes"));
        assert!(error.contains(said), "{said}: {error}");
    }
    // Codes beyond the categories show when the column is read.
    damaged(&path, |file| replace(file, "obs/perturbation/codes", &[0_i8, 1, 2, 3, 9, 1]));
    let error = Dataset::open(&path).expect_err("a code of 9").to_string();
    assert!(error.contains("the code 9, but there are 4 categories"), "{error}");
}

#[test]
fn what_is_no_counts() {
    let folder = tempdir().expect("a folder");
    let path = folder.path().join("x.h5ad");
    for (bad, said) in [
        (-1.0, "negative values (scaled?) such as -1 (cell \"cell4\", gene \"gene2\")"),
        (1.386, "fractions (ambient-corrected counts?) such as 1.386 (cell \"cell4\", gene \"gene2\")"),
        (f32::NAN, "NaN (missing) values, such as NaN (cell \"cell4\", gene \"gene2\")"),
        (f32::INFINITY, "infinite values such as inf (cell \"cell4\", gene \"gene2\")"),
    ] {
        let mut data = small();
        let mut dense = data.counts.to_dense();
        dense[[4, 2]] = bad;
        data.counts = genailab::data::Counts::from_dense(&dense);
        data.write(&path).expect("written");
        let error = Dataset::open(&path).expect_err("no counts").to_string();
        assert!(error.contains(said), "{said}: {error}");
        // Counts or not, the file is AnnData, and `inspect` shows it.
        assert_eq!(inspect(&path), None);
    }
}

#[test]
fn what_has_no_labels() {
    let folder = tempdir().expect("a folder");
    let path = folder.path().join("x.h5ad");
    let x = Array2::<f32>::ones((2, 1));
    let (obs, var) = (Table::from_names(names("cell", 2)), Table::from_names(names("gene", 1)));
    AnnDataWriter::new(&obs, &var).x(&x).write(&path).expect("written");
    let error = Dataset::open(&path).expect_err("no labels").to_string();
    assert!(error.contains("no perturbation column") && error.contains("columns of obs are none at all"), "{error}");
    small().select_cells(&[1, 2, 3]).write(&path).expect("written");
    let error = Dataset::open(&path).expect_err("no control").to_string();
    assert!(
        error.contains("has no control cells") && error.contains("its labels are A (1), A+B (1), B (1);"),
        "{error}"
    );
    AnnDataWriter::new(&small().cells, &small().genes).write(&path).expect("written");
    assert!(Dataset::open(&path).is_err(), "nothing but names");
}

#[test]
fn a_failed_write_leaves_nothing() {
    let folder = tempdir().expect("a folder");
    let listed = |folder: &Path| {
        std::fs::read_dir(folder).expect("listed").flatten().map(|e| e.path()).collect::<Vec<PathBuf>>()
    };
    let absent = folder.path().join("absent/x.h5ad");
    let error = small().write(&absent).expect_err("no such folder").to_string();
    assert!(error.starts_with(&format!("cannot write {}: there is no folder ", absent.display())), "{error}");
    let error = small().write(folder.path()).expect_err("a folder").to_string();
    assert!(error.contains("it is a folder"), "{error}");
    // Parts that do not fit are refused before anything is written, and an older file stays.
    let path = folder.path().join("old.h5ad");
    small().write(&path).expect("written");
    let before = std::fs::read(&path).expect("readable");
    let wrong = array![[1.0_f32]];
    let data = small();
    assert!(AnnDataWriter::new(&data.cells, &data.genes).x(&wrong).write(&path).is_err());
    assert!(AnnDataWriter::new(&data.cells, &data.genes).obsm("X_pca", &wrong).write(&path).is_err());
    // A name that HDF5 cannot hold fails half-way.
    let mut cells = data.cells.clone();
    cells.names[5] = "a\0b".to_owned();
    let error = AnnDataWriter::new(&cells, &data.genes).x(&data.counts).write(&path).expect_err("a zero byte");
    assert!(error.to_string().contains("zero byte"), "{error}");
    assert_eq!(std::fs::read(&path).expect("readable"), before);
    assert_eq!(listed(folder.path()), [path]);
}

#[cfg(unix)]
#[test]
fn a_new_file_has_the_usual_rights() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempdir().expect("a folder");
    let (ours, usual) = (folder.path().join("ours.h5ad"), folder.path().join("usual"));
    small().write(&ours).expect("written");
    std::fs::write(&usual, "").expect("written");
    let mode = |path: &Path| path.metadata().expect("there").permissions().mode();
    assert_eq!(mode(&ours), mode(&usual));
}
