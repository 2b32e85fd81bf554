//! Tests of the optimizer, moving averages, checkpoints and the trainer, on a model small enough to be seen through.

mod base;
mod checkpoint;
mod ema;
mod memory;
mod model;
mod optim;
mod params;
mod resume;
mod schedule;
mod trainer;

use std::{io::Write, path::Path, process::Command};

/// Runs Python with `script` and `arguments`: its standard output, or nothing if there is no Python that can import
/// `modules` (said loudly). The interpreter is `$GENAILAB_PYTHON`, or that of the checkout's virtual environment.
fn python(test: &str, modules: &str, script: &str, arguments: &[&Path]) -> Option<String> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    let interpreter = std::env::var_os("GENAILAB_PYTHON").map_or(own, Into::into);
    let imports = Command::new(&interpreter).args(["-c", &format!("import {modules}")]).output();
    if !imports.is_ok_and(|output| output.status.success()) {
        skip(test, &format!("{} is not there or cannot import {modules}", interpreter.display()));
        return None;
    }
    let output = Command::new(&interpreter).arg("-c").arg(script).args(arguments).output().expect("it ran just now");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).expect("the scripts print ASCII"))
}

/// Says that a test did not run, past the test harness, which keeps the output of passing tests to itself.
fn skip(test: &str, why: &str) {
    writeln!(std::io::stderr(), "SKIPPED: {test}: {why}").expect("standard error is open");
}
