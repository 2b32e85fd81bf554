//! Files of cells, each read whole by the tool in a process of its own: HDF5 is written in C, and a crash must be seen.

use super::Campaign;
use crate::{
    commands::tool::{BINARY, Place},
    formats,
};
use std::{
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

/// Memory that reading a file of some kilobytes may take: 6 GiB of addresses, of which threads' stacks are the most.
const MOST_KILOBYTES: usize = 6 << 20;
/// A read without progress ends after this long, and a process that goes on is a finding.
const READ_SECONDS: &str = "5";
const LONGEST: Duration = Duration::from_secs(60);

/// `genailab convert` of a damaged file, which must end well or with one line.
fn converted(place: &Place, name: &str) -> Result<String, String> {
    let script = "ulimit -v \"$0\" 2>/dev/null; exec \"$@\"";
    let mut child = Command::new("sh")
        .args(["-c", script, &MOST_KILOBYTES.to_string(), BINARY, "convert", name, "out.h5ad"])
        .current_dir(place.path(""))
        .env("GENAILAB_READ_SECONDS", READ_SECONDS)
        .env("RAYON_NUM_THREADS", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("it can be waited for") {
            break status;
        }
        if started.elapsed() > LONGEST {
            child.kill().expect("it runs");
            return Err("it does not end".to_owned());
        }
        sleep(Duration::from_millis(2));
    };
    let mut said = Vec::new();
    child.stderr.take().expect("piped").read_to_end(&mut said).expect("it can be read");
    let said = String::from_utf8_lossy(&said).into_owned();
    let lines: Vec<&str> = said.lines().filter(|line| !line.starts_with("note: ")).collect();
    let is_written = place.path("out.h5ad").exists();
    match status.code() {
        Some(0) if lines.is_empty() && is_written => Ok(said),
        Some(1) if lines.len() == 1 && lines[0].starts_with("error: ") && !is_written => Ok(said),
        code => Err(format!("exit {code:?} ({status}), {} lines: {said}", lines.len())),
    }
}

/// Damages a file of that name, with whole ones beside it.
fn campaign(kind: &str, inputs: usize, sources: &[Vec<u8>], beside: &[PathBuf]) {
    let (crashed, hung, passed) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    Campaign::of(inputs).run(kind, sources, 2, |_, bytes| {
        let place = Place::new();
        std::fs::write(place.path(kind), bytes).expect("written");
        for file in beside {
            std::fs::copy(file, place.path(&name_of(file))).expect("copied");
        }
        let said = converted(&place, kind)?;
        for (part, counter) in [("HDF5 crashed", &crashed), ("no progress for", &hung)] {
            counter.fetch_add(usize::from(said.contains(part)), Ordering::Relaxed);
        }
        passed.fetch_add(usize::from(!said.contains("error: ")), Ordering::Relaxed);
        let is_ours =
            |file: &String| file == kind || file == "out.h5ad" || beside.iter().any(|path| name_of(path) == *file);
        let left: Vec<String> = place.files().into_iter().filter(|file| !is_ours(file)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("it left {left:?}")) }
    });
    println!("{kind}: {passed:?} were read, in {crashed:?} HDF5 crashed, in {hung:?} it hung, each with one line");
}

fn name_of(file: &Path) -> String {
    file.file_name().expect("a file").to_string_lossy().into_owned()
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).expect("it was written")
}

#[test]
fn h5ad() {
    let place = Place::new();
    place.run("simulate --cells 60 --genes 50 --seed 3 --out a.h5ad").done();
    place.run("convert a.h5ad b.h5ad --gzip 0").done();
    campaign("x.h5ad", 60, &[read(&place.path("a.h5ad")), read(&place.path("b.h5ad"))], &[]);
}

/// The other formats, as Python writes them.
#[test]
fn other_formats() {
    let Some(files) = formats::files() else { return };
    for (kind, names) in [
        ("x.h5", ["v2.h5", "v3.h5"].as_slice()),
        ("x.h5mu", &["multi.h5mu"]),
        ("x.loom", &["cells.loom"]),
        ("old.h5ad", &["old_fixed.h5ad", "old_variable.h5ad"]),
        ("x.csv", &["cells.csv", "genes_by_cells.csv", "r_style.txt", "cells.tsv.gz"]),
    ] {
        let sources: Vec<Vec<u8>> = names.iter().map(|name| read(&files.path(name))).collect();
        campaign(kind, 15, &sources, &[]);
    }
    let beside = ["mtx3/barcodes.tsv.gz", "mtx3/features.tsv.gz"].map(|name| files.path(name));
    campaign("matrix.mtx.gz", 15, &[read(&files.path("mtx3/matrix.mtx.gz"))], &beside);
}
