//! Real data and Python: where they are, and what happens to a test where they are missing. Such a test says that it is
//! skipped; where `GENAILAB_REQUIRE_DATA` or `GENAILAB_REQUIRE_PYTHON` is set, as in `make test`, it fails.

pub mod nudge;
pub mod training_loss;

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

/// The checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the real data, by its path in the data folder: `$GENAILAB_TEST_DATA`, or `../shared/data`.
#[track_caller]
pub fn real_data(file: &str) -> Option<PathBuf> {
    let folder = env::var_os("GENAILAB_TEST_DATA").map_or_else(|| root().join("../shared/data"), PathBuf::from);
    let path = folder.join(file);
    if path.exists() {
        return Some(path);
    }
    let why = format!("{} is not there; set GENAILAB_TEST_DATA to the folder that holds it", path.display());
    skip_unless_required("GENAILAB_REQUIRE_DATA", &why);
    None
}

/// A Python that has all of `modules`: `$GENAILAB_PYTHON`, or the one of the checkout's virtual environment.
#[track_caller]
pub fn python(modules: &[&str]) -> Option<PathBuf> {
    // Looked for, not imported: importing scanpy takes seconds.
    const LOOK: &str =
        "import sys; from importlib.util import find_spec; sys.exit(not all(map(find_spec, sys.argv[1:])))";
    let python = env::var_os("GENAILAB_PYTHON").map_or_else(|| root().join(".venv/bin/python"), PathBuf::from);
    let looked = Command::new(&python).args(["-c", LOOK]).args(modules).output();
    if looked.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    let why = format!("{} is not there or lacks one of {modules:?}; set GENAILAB_PYTHON", python.display());
    skip_unless_required("GENAILAB_REQUIRE_PYTHON", &why);
    None
}

#[track_caller]
pub fn skip_unless_required(variable: &str, why: &str) {
    assert!(env::var_os(variable).is_none_or(|value| value.is_empty()), "{variable} is set, and {why}");
    skip(why);
}

/// Says that the test of this thread is skipped, past the test harness, which keeps the output of passing tests to
/// itself.
pub fn skip(why: &str) {
    let thread = thread::current();
    writeln!(std::io::stderr(), "SKIPPED {}: {why}", thread.name().unwrap_or("a test"))
        .expect("standard error is open");
}
