//! A disk that is full, or read-only, at any write of any command: one line that names the place, nothing half-written, and an
//! older file as it was.
//!
//! `full_disk.c` fails the writes of a process from the n-th on. That needs no privileges, and reaches those of HDF5, too.
//!
//! ```text
//! cargo test --release --test integration disk::                       some writes of each command
//! GENAILAB_DISK=1 cargo test --release --test integration disk::       every write
//! ```

use super::{
    kills::serve,
    tool::{Ended, Place, copy_folder, model},
};
use std::{
    collections::BTreeSet,
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// What a command reads, and the name of what it writes.
const OLDER: &str = "older";
const MANIFEST: &str = "manifest.json";

/// Each command that writes, with where it writes as OUT.
const COMMANDS: [&str; 19] = [
    "simulate --cells 300 --genes 40 --seed 4 --out OUT.h5ad",
    "convert small.h5ad OUT.h5ad",
    "split --data small.h5ad --split doubles --out OUT.json",
    "de --data small.h5ad --out OUT.csv",
    "distances --data small.h5ad --to-control --out OUT.csv",
    "enrich --data small.h5ad --gene-sets sets.gmt --out OUT.csv",
    "embed --model vae --data cells.h5ad --out OUT.h5ad",
    "predict --model means --perturbations G01+G09 --out OUT.h5ad",
    "plan --model world --data course.h5ad --max-genes 1 --population 20 --iterations 1 --out OUT.json",
    "dose-response --model doses --perturbations G11 --doses 1,10 --cells 20 --out OUT",
    "plausibility --model ebm --data small.h5ad --generated other.h5ad --out OUT",
    "pseudotime --data small.h5ad --root control --components 5 --out OUT.h5ad",
    "synthetic --real small.h5ad --generated other.h5ad --out OUT",
    "screen --data small.h5ad --target G01+G09 --out OUT",
    "bench --data small.h5ad --split doubles --seeds 1 --models additive --out OUT",
    "train --data small.h5ad --epochs 2 --out OUT",
    "train --data course.h5ad --model world-model --epochs 1 --out OUT",
    "train --data small.h5ad --model combination --config quick.toml --out OUT",
    "fetch tiny --dir OUT",
];

/// The inputs of all commands.
fn inputs() -> &'static Place {
    static MADE: OnceLock<Place> = OnceLock::new();
    MADE.get_or_init(|| {
        let place = Place::new().with_cells();
        for line in [
            "simulate --cells 300 --genes 40 --seed 4 --out small.h5ad",
            "simulate --cells 200 --genes 40 --seed 5 --out other.h5ad",
            "simulate --cells 300 --genes 40 --time-points 3 --seed 3 --out course.h5ad",
            "simulate --cells 300 --genes 60 --doses 1,10,100 --seed 3 --out dosed.h5ad",
        ] {
            place.run(line).done();
        }
        place.write("quick.toml", "[model]\nnetwork = false\n");
        for line in [
            "train --data course.h5ad --model world-model --epochs 1 --out world",
            "train --data dosed.h5ad --epochs 1 --out doses",
            "train --data small.h5ad --model ebm --epochs 1 --out ebm",
            "train --data small.h5ad --model combination --config quick.toml --out means",
        ] {
            place.run(line).done();
        }
        copy_folder(model(), &place.path("vae"));
        place.write("sets.gmt", "ONE\tx\tG01\tG02\tG03\tG04\tG05\nTWO\tx\tG05\tG06\tG07\tG08\tG09\n");
        place.write(MANIFEST, &manifest());
        place
    })
}

/// A public dataset of a server in this process.
fn manifest() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/cells", listener.local_addr().expect("bound"));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = serve(stream, &[7; 100_000]);
        }
    });
    let public = serde_json::json!({
        "name": "tiny", "title": "sevens", "url": url, "file": "cells.h5ad", "licence": "none", "citation": "none",
    });
    serde_json::json!({ "datasets": [public] }).to_string()
}

/// The library that fails writes, compiled once.
fn full_disk() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = crate::common::root().join("tests/commands/full_disk.c");
        let library = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("full_disk.so");
        let mut compiler = Command::new("cc");
        let compiled = compiler.args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]).arg("-ldl");
        assert!(compiled.status().expect("the C compiler that links Rust").success());
        library
    })
}

/// Runs a command whose inputs lie in [`inputs`] and whose output goes to `place`.
fn run(place: &Place, line: &str, environment: &[(&str, &str)]) -> Ended {
    let out = place.path("OUT");
    let mut command = inputs().command(line.replace("OUT", out.to_str().expect("UTF-8")).split_whitespace());
    command.env("GENAILAB_MANIFEST", inputs().path(MANIFEST)).env("RAYON_NUM_THREADS", "1");
    command.env("LD_PRELOAD", full_disk()).envs(environment.iter().copied());
    command.stdin(Stdio::null()).output().expect("it starts").into()
}

/// [`run`], and the number of writes that were tried, unless the command was cut off.
fn counted(place: &Place, line: &str, environment: &[(&str, &str)]) -> (Ended, Option<usize>) {
    let folder = Place::new();
    let report = folder.path("writes");
    let report_to = ("DISK_REPORT", report.to_str().expect("UTF-8"));
    let ended = run(place, line, &[environment, &[report_to]].concat());
    (ended, fs::read_to_string(&report).ok().and_then(|text| text.parse().ok()))
}

/// The number of writes of the command when all succeed.
fn writes(line: &str) -> usize {
    let (ended, n) = counted(&Place::new(), line, &[]);
    assert_eq!(ended.code, Some(0), "{line}: {}", ended.stderr);
    n.expect("it has ended by itself")
}

/// Says what is wrong with how the command ends where writes fail from the `number`-th on, if anything is.
fn judge(line: &str, number: usize, error: i32) -> Result<(), String> {
    let place = Place::new();
    let file = line.split_whitespace().find(|word| word.starts_with("OUT."));
    file.iter().for_each(|file| place.write(file, OLDER));
    let failing = [("DISK_CALLS", &*number.to_string()), ("DISK_ERROR", &*error.to_string())];
    let (ended, tried) = counted(&place, line, &failing);
    // A download writes what has arrived, in as many pieces as the network makes of it.
    if tried.is_some_and(|tried| tried <= number) && ended.code == Some(0) {
        return Ok(());
    }
    let told: Vec<&str> = ended.stderr.lines().filter(|line| !line.starts_with("note: ")).collect();
    // A download says how far it is.
    let told: Vec<&str> = told.into_iter().filter(|line| !line.starts_with("tiny: ") || !line.contains('%')).collect();
    let is_clear =
        matches!(told[..], [one] if one.starts_with("error: ") && one.contains("OUT") && !one.contains(".genailab-"));
    if ended.code != Some(1) || !is_clear {
        return Err(format!("exit {:?}: {}", ended.code, ended.stderr));
    }
    let left = place.files();
    if left.iter().any(|file| [".genailab-", ".genailab.lock"].iter().any(|name| file.contains(name))) {
        return Err(format!("it left {left:?}"));
    }
    match file {
        Some(file) if left != [file] || fs::read(place.path(file)).ok().as_deref() != Some(OLDER.as_bytes()) => {
            Err(format!("the older file is not as it was: {left:?}"))
        }
        Some(_) => Ok(()),
        None => match left.iter().find(|file| !is_whole(&place.path(file))) {
            Some(half) => Err(format!("{half} is half-written")),
            None => Ok(()),
        },
    }
}

/// Whether a file of an output folder is complete; a part of a download is none that would be taken for one.
fn is_whole(path: &Path) -> bool {
    let bytes = fs::read(path).unwrap_or_default();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let ends = |end: &[u8]| bytes.trim_ascii_end().ends_with(end);
    match path.extension().and_then(|extension| extension.to_str()) {
        _ if path.is_dir() || name.contains(".part") => true,
        // A checksum in the first line, which the reader compares.
        Some("json") if path.parent().is_some_and(|folder| folder.ends_with("parts")) => ends(b"}"),
        Some("json") => serde_json::from_slice::<serde_json::Value>(&bytes).is_ok(),
        Some("html") => ends(b"</html>"),
        Some("svg") => ends(b"</svg>"),
        Some("jsonl" | "csv") => bytes.ends_with(b"\n"),
        Some("safetensors") => safetensors::SafeTensors::deserialize(&bytes).is_ok(),
        Some("h5ad") => bytes.len() == 100_000,
        _ => true,
    }
}

#[test]
fn at_every_write() {
    let every = env::var_os("GENAILAB_DISK").is_some();
    let next = AtomicUsize::new(0);
    inputs();
    let work = || {
        let mut wrong = Vec::new();
        while let Some(line) = COMMANDS.get(next.fetch_add(1, Ordering::Relaxed)) {
            let n = writes(line);
            let some = BTreeSet::from([0, 1, n / 2, n - 1]);
            let full = if every { (0..n).collect() } else { some };
            let tried = full.into_iter().map(|number| (number, libc::ENOSPC)).chain([(n / 3, libc::EROFS)]);
            for (number, error) in tried {
                if let Err(what) = judge(line, number, error) {
                    wrong.push(format!("`{line}`, write {number} of {n}, error {error}: {what}"));
                }
            }
        }
        wrong
    };
    let wrong: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("it judges")).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn below_a_file() {
    let place = Place::new();
    place.write("OUT", "");
    for line in COMMANDS {
        let name = line.split_whitespace().find(|word| word.starts_with("OUT")).expect("it writes");
        let ended = run(&place, &line.replace(name, &format!("OUT/{}", name.replace("OUT", "x"))), &[]);
        ended.one_line(&["OUT"]);
        assert_eq!(place.files(), ["OUT"], "{line}");
    }
}

#[test]
fn output_that_cannot_be_printed() {
    let place = inputs();
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").expect("a device of every Linux");
    // Its notes go nowhere, and the result is there.
    let words = "convert small.h5ad noted.h5ad --gzip 9".split(' ');
    let silent = place.command(words).stderr(full()).output().expect("it starts");
    assert!(silent.status.success() && place.path("noted.h5ad").exists());
    let words = "inspect small.h5ad".split(' ');
    let ended: Ended = place.command(words).stdout(full()).output().expect("it starts").into();
    ended.one_line(&["stdout", "No space left"]);
}
