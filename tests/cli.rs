//! The command line as a script sees it: exit codes, one clear line on stderr, help.

use std::{
    path::Path,
    process::{Command, Output},
};

/// Every command of the contract.
const COMMANDS: [&str; 25] = [
    "run",
    "inspect",
    "convert",
    "train",
    "adapt",
    "predict",
    "embed",
    "bench-train",
    "bench",
    "calibrate",
    "ablate",
    "de",
    "distances",
    "dose-response",
    "enrich",
    "plan",
    "plausibility",
    "pseudotime",
    "screen",
    "simulate",
    "split",
    "synthetic",
    "fetch",
    "datasets",
    "doctor",
];

/// What a run of the binary gave.
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs the binary in `dir`, with a cache folder there.
fn genailab_in(dir: &Path, args: &[&str]) -> Run {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_genailab"))
        .args(args)
        .current_dir(dir)
        .env("GENAILAB_CACHE", dir.join("cache"))
        .env_remove("GENAILAB_PYTHON")
        .output()
        .expect("the binary starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Run { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

fn genailab(args: &[&str]) -> Run {
    let dir = tempfile::tempdir().expect("a temporary folder");
    genailab_in(dir.path(), args)
}

impl Run {
    /// A user's mistake: exit 1, one line on stderr that holds these words, no panic.
    #[track_caller]
    fn is_mistake(&self, words: &[&str]) {
        assert_eq!(self.code, Some(1), "{}", self.stderr);
        let message = self.stderr.trim_end();
        assert!(message.starts_with("error: ") && message.lines().count() == 1, "one line: {message}");
        for word in words {
            assert!(message.contains(word), "'{word}' is missing: {message}");
        }
    }
}

#[test]
fn every_command_documents_itself() {
    let overview = genailab(&["--help"]);
    assert_eq!(overview.code, Some(0));
    for command in COMMANDS {
        assert!(overview.stdout.contains(&format!("  {command} ")), "{command} is not listed");
        let help = genailab(&[command, "--help"]);
        assert_eq!(help.code, Some(0), "{command}: {}", help.stderr);
        assert!(help.stdout.contains(&format!("Usage: genailab {command}")), "{command}: {}", help.stdout);
    }
}

#[test]
fn the_version_is_the_crates() {
    let run = genailab(&["--version"]);
    assert_eq!((run.code, run.stdout.trim()), (Some(0), concat!("genailab ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn wrong_usage_is_2() {
    for args in [&[][..], &["no-such-command"], &["fetch"], &["datasets", "--no-such-option"], &["fetch", "a", "b"]] {
        let run = genailab(args);
        assert_eq!(run.code, Some(2), "{args:?}: {}", run.stderr);
        assert!(run.stdout.is_empty(), "{args:?}: help for a mistake belongs on stderr");
    }
}

#[test]
fn datasets_are_listed_with_size_licence_and_state() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let listed = genailab_in(dir.path(), &["datasets"]);
    assert_eq!(listed.code, Some(0), "{}", listed.stderr);
    for word in ["norman", "replogle-k562-essential", "norman-gears", "699 MB", "CC BY 4.0", "111445 x 33694"] {
        assert!(listed.stdout.contains(word), "'{word}' is missing:\n{}", listed.stdout);
    }
    let line = |run: &Run| run.stdout.lines().find(|line| line.starts_with("norman ")).expect("norman").to_owned();
    assert!(line(&listed).ends_with(" no"), "{}", line(&listed));
    let cache = dir.path().join("cache");
    std::fs::create_dir_all(&cache).expect("a folder");
    std::fs::write(cache.join("NormanWeissman2019_filtered.h5ad.part"), vec![0; 2_000_000]).expect("written");
    let again = genailab_in(dir.path(), &["datasets"]);
    assert!(line(&again).ends_with("2 MB so far"), "{}", line(&again));
}

#[test]
fn fetch_names_what_it_cannot_do() {
    genailab(&["fetch", "normann"]).is_mistake(&["'normann'", "norman-gears", "replogle-rpe1"]);
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(dir.path().join("file"), "").expect("written");
    genailab_in(dir.path(), &["fetch", "norman", "--dir", "file/inside"]).is_mistake(&["cannot create file/inside"]);
    // Something else under the right name is not passed on as the dataset.
    std::fs::write(dir.path().join("NormanWeissman2019_filtered.h5ad"), "not this").expect("written");
    genailab_in(dir.path(), &["fetch", "norman", "--dir", "."]).is_mistake(&["has 8 bytes", "delete it"]);
}

#[test]
fn doctor_says_what_works() {
    let healthy = genailab(&["doctor"]);
    assert_eq!(healthy.code, Some(0), "{}{}", healthy.stdout, healthy.stderr);
    for word in ["ok  cpu", "ok  HDF5", "ok  cache folder", "cuda", "metal", "Jupyter kernel", "cores"] {
        assert!(healthy.stdout.contains(word), "'{word}' is missing:\n{}", healthy.stdout);
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(dir.path().join("cache"), "a file where the cache folder would be").expect("written");
    let sick = genailab_in(dir.path(), &["doctor"]);
    sick.is_mistake(&["not ready: cache folder"]);
    assert!(sick.stdout.contains("set GENAILAB_CACHE"), "{}", sick.stdout);
}
