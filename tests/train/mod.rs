//! Tests of the optimizer, moving averages, checkpoints and the trainer, on a model small enough to be seen through.

mod anywhere;
mod base;
mod checkpoint;
mod ema;
mod memory;
mod model;
mod numpy_order;
mod optim;
mod params;
mod resume;
mod schedule;
mod trainer;

use crate::common;
use std::{path::Path, process::Command};

/// What Python prints that runs `script` with `arguments`, or nothing where there is none that has `modules`.
fn python(modules: &[&str], script: &str, arguments: &[&Path]) -> Option<String> {
    let interpreter = common::python(modules)?;
    let output = Command::new(&interpreter).arg("-c").arg(script).args(arguments).output().expect("it ran just now");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).expect("the scripts print ASCII"))
}
