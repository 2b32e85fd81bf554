//! Starting the tool, and the files that most tests need.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};
use tempfile::TempDir;

pub const BINARY: &str = env!("CARGO_BIN_EXE_genailab");

/// What a command left behind.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the tool prints UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Ended {
    /// Checks for exit code 1 and, beside notes on the data, one line on stderr that holds all of `parts`.
    pub fn one_line(&self, parts: &[&str]) -> &str {
        assert_eq!(self.code, Some(1), "{}{}", self.stdout, self.stderr);
        let told = |line: &&str| !line.starts_with("note: ");
        let line = &self.stderr.trim_end().lines().filter(told).collect::<Vec<_>>().join("\n");
        assert_eq!(line.lines().count(), 1, "one line is wanted: {line}");
        assert!(line.starts_with("error: "), "{line}");
        parts.iter().for_each(|part| assert!(line.contains(part), "{part:?} is missing: {line}"));
        self.stderr.lines().find(|line| line.starts_with("error: ")).expect("it was just found")
    }

    /// Checks for exit code 0 and nothing but notes on the data on stderr.
    pub fn done(&self) -> &str {
        // A benchmark says how far it is, where the machine is slow.
        let expected = |line: &&str| line.starts_with("note: ") || line.contains(" parts done: ");
        let other: Vec<&str> = self.stderr.lines().filter(|line| !expected(line)).collect();
        assert_eq!((self.code, other), (Some(0), vec![]), "{}", self.stdout);
        &self.stdout
    }
}

/// A folder to work in: commands run there, so that whatever they leave is seen.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(BINARY);
        command.current_dir(self.0.path()).args(args);
        command
    }

    /// Runs the tool with the words of `line`.
    pub fn run(&self, line: &str) -> Ended {
        self.command(line.split_whitespace()).output().expect("the tool starts").into()
    }

    /// Runs the tool, which must fail with one line that holds `parts` and leave the folder as it was.
    pub fn fails(&self, line: &str, parts: &[&str]) {
        let contents = || self.files().into_iter().map(|file| (std::fs::read(self.path(&file)).ok(), file)).collect();
        let before: Vec<(Option<Vec<u8>>, String)> = contents();
        self.run(line).one_line(parts);
        let after: Vec<(Option<Vec<u8>>, String)> = contents();
        assert!(after == before, "`genailab {line}` changed files: now {:?}", self.files());
    }

    pub fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).expect("a file can be written");
    }

    /// Puts the simulated cells at `cells.h5ad`.
    pub fn with_cells(self) -> Self {
        std::fs::copy(cells(), self.path("cells.h5ad")).expect("a file can be copied");
        self
    }

    /// All files and folders, hidden ones too, by their path from here.
    pub fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        list(self.0.path(), self.0.path(), &mut found);
        found.sort();
        found
    }
}

fn list(root: &Path, folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        found.push(path.strip_prefix(root).expect("below the root").display().to_string());
        if path.is_dir() {
            list(root, &path, found);
        }
    }
}

/// 600 simulated cells of 150 genes.
pub fn cells() -> &'static Path {
    static FILE: OnceLock<(Place, PathBuf)> = OnceLock::new();
    let make = || {
        let place = Place::new();
        place.run("simulate --cells 600 --genes 150 --seed 3 --out cells.h5ad").done();
        let file = place.path("cells.h5ad");
        (place, file)
    };
    &FILE.get_or_init(make).1
}

/// A model of those cells, trained for two epochs.
pub fn model() -> &'static Path {
    static FOLDER: OnceLock<(Place, PathBuf)> = OnceLock::new();
    let make = || {
        let place = Place::new().with_cells();
        place.run("train --data cells.h5ad --out model --epochs 2").done();
        let folder = place.path("model");
        (place, folder)
    };
    &FOLDER.get_or_init(make).1
}

/// Copies a folder with everything in it.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder can be made");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy_folder(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).expect("a file can be copied")),
        }
    }
}

pub fn json(path: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
