//! Where a notebook's cells are compiled.
//!
//! evcxr writes each cell into a crate of its own in a folder that it calls tmpdir. Left alone, that crate is a cargo
//! workspace of its own too, with two consequences: it has no `Cargo.lock`, so a notebook would compile other versions
//! of the dependencies than the tests do (and needs the network to choose them); and one optimisation level holds for
//! cells and dependencies alike, so that either each cell compiles slowly or the library runs slowly.
//!
//! So the crate is made a member of a small workspace around it, written before evcxr starts:
//!
//! ```text
//! notebooks/.evcxr/1/              a slot: one running kernel
//!     Cargo.toml                   the profiles, and the dependencies of evcxr.toml, which keeps them in the lock
//!     Cargo.lock                   starts as a copy of the repository's
//!     pin.rs                       empty: the package around it must have a target
//!     cells/                       evcxr's tmpdir: the crate of the cells, and its target folder
//! notebooks/.evcxr/1.lock          held while a kernel lives: the next one takes slot 2
//! ```

use anyhow::{Context, Result, anyhow, bail};
use std::{
    env, fs,
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
};
use toml::{Table, Value};

/// The crate that evcxr makes of a cell.
const CELLS_CRATE: &str = "ctx";
/// Where cargo keeps what it has compiled from what.
const FINGERPRINTS: &str = ".fingerprint";
/// The file that marks the folder of the notebooks.
const CONFIG_FILE: &str = "evcxr.toml";
/// The folder beside it that holds everything that is built.
const BUILD_DIR: &str = ".evcxr";
/// More kernels than this at once are a mistake rather than a wish: each needs its own build of the dependencies.
const MAX_SLOTS: usize = 16;
/// Where the dynamic linker looks for libraries first.
const LIBRARY_PATH: &str = if cfg!(target_os = "macos") { "DYLD_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };
/// How well the cells are optimised unless `evcxr.toml` says otherwise; the dependencies always are, fully.
const DEFAULT_OPT_LEVEL: &str = "1";

/// A prepared build folder, held for this process until dropped.
#[derive(Debug)]
pub struct Cells {
    notebooks: PathBuf,
    slot: PathBuf,
    config: Config,
    _lock: File,
}

impl Cells {
    /// Finds the notebooks' folder from `start` upwards (so that `notebooks/solutions` works too), takes a free slot
    /// in it and prepares the workspace there.
    ///
    /// # Errors
    /// No `evcxr.toml` from `start` upwards, one that cannot be read, a dependency that is not there, a folder that
    /// cannot be written.
    pub fn prepare(start: &Path) -> Result<Self> {
        let notebooks = find_notebooks(start)?;
        let config = Config::read(&notebooks)?;
        let build = notebooks.join(BUILD_DIR);
        fs::create_dir_all(&build).with_context(|| format!("cannot create {}", build.display()))?;
        let (number, lock) = take_slot(&build)?;
        let slot = build.join(number.to_string());
        config.write_workspace(&slot)?;
        if number > 1 {
            copy_dependencies(&build.join("1"), &slot)?;
        }
        Ok(Self { notebooks, slot, config, _lock: lock })
    }

    /// Makes the notebooks' folder this process's working folder and names the slot to evcxr.
    ///
    /// # Errors
    /// The folder cannot be entered.
    ///
    /// # Safety
    /// It sets environment variables: no other thread may run yet.
    pub unsafe fn enter(&self) -> Result<()> {
        env::set_current_dir(&self.notebooks).with_context(|| format!("cannot enter {}", self.notebooks.display()))?;
        // SAFETY: the caller promises that this is the only thread.
        unsafe {
            env::set_var("EVCXR_TMPDIR", self.tmpdir());
            // evcxr, when it starts as a kernel, refreshes the kernelspec `rust` that it finds under this path: with
            // the default path it would redirect a user's own evcxr to this binary.
            env::set_var("JUPYTER_PATH", &self.slot);
            for (name, _) in env::vars_os().filter(|(name, _)| is_of_outer_cargo(&name.to_string_lossy())) {
                env::remove_var(name);
            }
            if let Some(folders) = env::var_os(LIBRARY_PATH) {
                let kept = env::split_paths(&folders).filter(|folder| !self.holds_another_build(folder));
                env::set_var(LIBRARY_PATH, env::join_paths(kept).context("it was a valid list before")?);
            }
        }
        Ok(())
    }

    /// Whether a library folder would give the cells a dependency that was built for something else. `cargo run` and
    /// `cargo test` put their target folder on the search path, where it comes before the path in the cell's own
    /// library; there lies a `libgenailab` of another profile.
    fn holds_another_build(&self, folder: &Path) -> bool {
        self.config.dependencies.keys().any(|name| {
            folder
                .join(format!("{}{}{}", env::consts::DLL_PREFIX, name.replace('-', "_"), env::consts::DLL_SUFFIX))
                .exists()
        })
    }

    /// The folder of the notebooks, absolute.
    pub fn notebooks(&self) -> &Path {
        &self.notebooks
    }

    /// What evcxr has to run before the first cell, so that cells see the dependencies and the prelude of
    /// `evcxr.toml`: commands, then Rust code. evcxr's own `:load_config` does the same in two cells.
    pub fn first_cell(&self) -> String {
        let Config { dependencies, prelude, .. } = &self.config;
        let commands: String = dependencies.iter().map(|(name, value)| format!(":dep {name} = {value}\n")).collect();
        format!("{commands}{prelude}\n")
    }

    /// The file that asks the running cell to end, absolute.
    pub fn interrupt_file(&self) -> PathBuf {
        self.slot.join("interrupt")
    }

    /// What evcxr calls tmpdir, absolute.
    pub fn tmpdir(&self) -> PathBuf {
        self.slot.join("cells")
    }
}

/// Whether `cargo run` or `cargo test` set this variable to describe the package that it runs. Build scripts watch
/// them: with them in the environment, dependencies would be compiled again whenever a kernel follows a test.
fn is_of_outer_cargo(name: &str) -> bool {
    const EXACT: [&str; 5] =
        ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_CRATE_NAME", "CARGO_BIN_NAME", "CARGO_TARGET_TMPDIR"];
    EXACT.contains(&name) || name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_BIN_EXE_")
}

fn find_notebooks(start: &Path) -> Result<PathBuf> {
    let start = start.canonicalize().with_context(|| format!("cannot enter {}", start.display()))?;
    start.ancestors().find(|folder| folder.join(CONFIG_FILE).is_file()).map(Path::to_owned).ok_or_else(|| {
        anyhow!(
            "no {CONFIG_FILE} in {} or above it: this kernel runs the notebooks of the genailab repository; \
             open one of its notebooks/ folder, or put an {CONFIG_FILE} with [dependencies] beside yours",
            start.display()
        )
    })
}

/// The first slot that no living kernel holds.
fn take_slot(build: &Path) -> Result<(usize, File)> {
    for number in 1..=MAX_SLOTS {
        let path = build.join(format!("{number}.lock"));
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => return Ok((number, file)),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => bail!("cannot lock {}: {error}", path.display()),
        }
    }
    bail!("{MAX_SLOTS} notebooks are running already: shut one down (Kernel > Shut Down Kernel)")
}

/// What `evcxr.toml` says.
#[derive(Debug)]
struct Config {
    /// With absolute paths.
    dependencies: Table,
    opt_level: String,
    /// Code that stands before every cell.
    prelude: String,
    /// The `Cargo.lock` beside the first dependency by path.
    lock: Option<PathBuf>,
}

impl Config {
    fn read(notebooks: &Path) -> Result<Self> {
        let path = notebooks.join(CONFIG_FILE);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let config: Table = text.parse().with_context(|| format!("{} is not valid TOML", path.display()))?;
        let mut dependencies = config.get("dependencies").and_then(Value::as_table).cloned().unwrap_or_default();
        let mut lock = None;
        for (name, dependency) in &mut dependencies {
            let Some(relative) = dependency.get_mut("path") else { continue };
            let folder = notebooks.join(relative.as_str().unwrap_or_default());
            let folder = folder
                .canonicalize()
                .with_context(|| format!("{}: the dependency {name} is not at {}", path.display(), folder.display()))?;
            lock = lock.or_else(|| folder.ancestors().map(|f| f.join("Cargo.lock")).find(|file| file.is_file()));
            *relative = Value::String(folder.to_string_lossy().into_owned());
        }
        let setting = |name| config.get("evcxr").and_then(|evcxr| evcxr.get(name)).and_then(Value::as_str);
        let opt_level = setting("opt_level").unwrap_or(DEFAULT_OPT_LEVEL).to_owned();
        let prelude = setting("prelude").unwrap_or_default().to_owned();
        Ok(Self { dependencies, opt_level, prelude, lock })
    }

    fn write_workspace(&self, slot: &Path) -> Result<()> {
        fs::create_dir_all(slot.join("cells")).with_context(|| format!("cannot create {}", slot.display()))?;
        write_if_changed(&slot.join("pin.rs"), "")?;
        write_if_changed(&slot.join("Cargo.toml"), &self.manifest())?;
        let Some(lock) = &self.lock else { return Ok(()) };
        let pinned = fs::read_to_string(lock).with_context(|| format!("cannot read {}", lock.display()))?;
        // Cargo adds the cells' crate to its lock and drops the members of the repository that no cell uses, so the
        // two files differ; a copy of what was pinned last tells whether the repository's has changed since.
        if write_if_changed(&slot.join("Cargo.lock.pinned"), &pinned)? || !slot.join("Cargo.lock").is_file() {
            write_if_changed(&slot.join("Cargo.lock"), &pinned)?;
        }
        Ok(())
    }

    /// evcxr's own profile for the cells, another one for the dependencies. A member's profile is ignored by cargo: this counts.
    fn manifest(&self) -> String {
        // For a platform that no machine is: that keeps them in the lock, while rust-analyzer, which evcxr asks for the
        // types of variables, does not read them twice at each start.
        let mut nowhere = Table::new();
        nowhere.insert("dependencies".to_owned(), Value::Table(self.dependencies.clone()));
        let mut target = Table::new();
        target.insert("cfg(any())".to_owned(), Value::Table(nowhere));
        let mut dependencies = Table::new();
        dependencies.insert("target".to_owned(), Value::Table(target));
        format!(
            r#"# Written by genailab-kernel at each start.
[workspace]
members = ["cells"]
resolver = "3"

[package]
name = "notebook-dependencies"
version = "0.0.0"
edition = "2024"

[lib]
path = "pin.rs"

# For the dependencies. Procedural macros and build scripts keep cargo's default, which compiles them faster.
[profile.dev]
opt-level = 3
debug = false
debug-assertions = false
overflow-checks = false
strip = "debuginfo"
rpath = true
incremental = false
codegen-units = 16

# For the cells.
[profile.dev.package.{CELLS_CRATE}]
opt-level = {}
debug-assertions = true
overflow-checks = true
incremental = true

{dependencies}"#,
            self.opt_level
        )
    }
}

/// Writes `text` to `path` unless it stands there already; true if it was written.
fn write_if_changed(path: &Path, text: &str) -> Result<bool> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(false);
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(true)
}

/// Gives a slot the compiled dependencies of the first one, where those are newer, so that another notebook opens in
/// seconds, also after the library has changed. What belongs to the cells' own crate (`ctx`, and the `code_N` libraries
/// made of it) stays behind: a kernel is writing it.
fn copy_dependencies(from: &Path, to: &Path) -> Result<()> {
    let (from, to) = (from.join("cells/target"), to.join("cells/target"));
    if !from.exists() || from == to {
        return Ok(());
    }
    // Cargo takes for compiled what a fingerprint says. They are read first and written last: neither a build that ends
    // meanwhile nor a copy that is interrupted can make half a library pass for a whole one.
    let mut fingerprints = Vec::new();
    let mut files = Vec::new();
    find_newer(&from, &to, &mut |from, to| {
        let is_fingerprint = from.components().any(|part| part.as_os_str() == FINGERPRINTS);
        if is_fingerprint {
            fingerprints.push((fs::read(from)?, fs::metadata(from)?.modified()?, to.to_owned()));
        } else {
            files.push((from.to_owned(), to.to_owned()));
        }
        Ok(())
    })
    .and_then(|()| files.iter().try_for_each(|(from, to)| copy(from, to)))
    .and_then(|()| {
        fingerprints.iter().try_for_each(|(content, time, to)| {
            create_parent(to)?;
            fs::write(to, content)?;
            File::options().write(true).open(to)?.set_modified(*time)
        })
    })
    .with_context(|| format!("cannot copy the compiled dependencies to {}", to.display()))
}

/// Calls `found` with each file below `from` that is missing below `to` or older there, and with its place there.
fn find_newer(from: &Path, to: &Path, found: &mut impl FnMut(&Path, &Path) -> io::Result<()>) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if ["ctx-", "libctx", "code_", "libcode_", "incremental", ".cargo-lock"].iter().any(|p| text.starts_with(p)) {
            continue;
        }
        let target = to.join(&name);
        // A temporary file of the cell that the first slot compiles meanwhile may be gone.
        unless_gone(entry.metadata().and_then(|metadata| {
            if metadata.is_dir() {
                // Build scripts expect theirs, though it is empty.
                fs::create_dir_all(&target)?;
                return find_newer(&entry.path(), &target, found);
            }
            let there = fs::metadata(&target).and_then(|there| there.modified());
            match there {
                Ok(there) if there >= metadata.modified()? => Ok(()),
                _ => found(&entry.path(), &target),
            }
        }))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    create_parent(to)?;
    // Cargo compares times to know what is fresh.
    unless_gone(fs::metadata(from).and_then(|metadata| {
        fs::copy(from, to)?;
        File::options().write(true).open(to)?.set_modified(metadata.modified()?)
    }))
}

fn create_parent(file: &Path) -> io::Result<()> {
    file.parent().map_or(Ok(()), fs::create_dir_all)
}

fn unless_gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(config: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir_all(root.path().join("notebooks/solutions")).expect("folders");
        fs::write(root.path().join("notebooks/evcxr.toml"), config).expect("evcxr.toml");
        fs::write(root.path().join("Cargo.lock"), "version = 4\n").expect("a lock");
        root
    }

    const CONFIG: &str =
        "[evcxr]\nopt_level = \"2\"\nprelude = \"use lab::x;\"\n[dependencies]\nlab = { path = \"..\" }\n";

    #[test]
    fn a_slot_holds_the_pinned_lock_and_the_dependencies() {
        let root = course(CONFIG);
        let cells = Cells::prepare(&root.path().join("notebooks/solutions")).expect("found from below");
        let slot = cells.tmpdir().parent().expect("inside its slot").to_owned();
        assert!(slot.ends_with("notebooks/.evcxr/1"), "{}", slot.display());
        assert_eq!(fs::read_to_string(slot.join("Cargo.lock")).expect("a lock"), "version = 4\n");
        let manifest: Table = fs::read_to_string(slot.join("Cargo.toml")).expect("written").parse().expect("TOML");
        let path = manifest["target"]["cfg(any())"]["dependencies"]["lab"]["path"].as_str().expect("a path");
        assert_eq!(Path::new(path), root.path().canonicalize().expect("it exists"));
        assert_eq!(manifest["profile"]["dev"]["opt-level"].as_integer(), Some(3));
        assert_eq!(manifest["profile"]["dev"]["package"]["ctx"]["opt-level"].as_integer(), Some(2));
        assert_eq!(cells.first_cell(), format!(":dep lab = {{ path = \"{path}\" }}\nuse lab::x;\n"));
    }

    #[test]
    fn the_lock_is_seeded_again_only_when_the_repository_changes() {
        let root = course(CONFIG);
        let notebooks = root.path().join("notebooks");
        let lock = notebooks.join(".evcxr/1/Cargo.lock");
        drop(Cells::prepare(&notebooks).expect("prepared"));
        fs::write(&lock, "as cargo left it").expect("written");
        drop(Cells::prepare(&notebooks).expect("prepared again"));
        assert_eq!(fs::read_to_string(&lock).expect("a lock"), "as cargo left it");
        fs::write(root.path().join("Cargo.lock"), "version = 5\n").expect("written");
        drop(Cells::prepare(&notebooks).expect("prepared again"));
        assert_eq!(fs::read_to_string(&lock).expect("a lock"), "version = 5\n");
    }

    #[test]
    fn two_kernels_never_share_a_slot_and_the_second_gets_the_dependencies() {
        let root = course(CONFIG);
        let notebooks = root.path().join("notebooks");
        let first = Cells::prepare(&notebooks).expect("prepared");
        let deps = first.tmpdir().join("target/debug/deps");
        fs::create_dir_all(&deps).expect("a folder");
        fs::write(deps.join("liblab.so"), "library").expect("written");
        fs::write(deps.join("libctx.so"), "cell").expect("written");
        let second = Cells::prepare(&notebooks).expect("prepared");
        assert!(second.tmpdir().ends_with("2/cells"), "{}", second.tmpdir().display());
        let copied = second.tmpdir().join("target/debug/deps");
        assert_eq!(fs::read_to_string(copied.join("liblab.so")).expect("copied"), "library");
        assert!(!copied.join("libctx.so").exists(), "a cell of the other kernel");
        let time = |folder: &Path| fs::metadata(folder.join("liblab.so")).and_then(|m| m.modified()).expect("a time");
        assert_eq!(time(&copied), time(&deps));
        drop(second);
        // The library has changed, and the first slot has compiled it since.
        fs::write(deps.join("liblab.so"), "changed").expect("written");
        let fingerprint = first.tmpdir().join("target/debug/.fingerprint/lab-1/lib-lab");
        fs::create_dir_all(fingerprint.parent().expect("it has one")).expect("a folder");
        fs::write(&fingerprint, "new").expect("written");
        fs::write(copied.join("libother.so"), "its own").expect("written");
        let second = Cells::prepare(&notebooks).expect("prepared");
        assert_eq!(fs::read_to_string(copied.join("liblab.so")).expect("copied"), "changed");
        assert_eq!(fs::read_to_string(copied.join("libother.so")).expect("kept"), "its own");
        let copied = second.tmpdir().join("target/debug/.fingerprint/lab-1/lib-lab");
        assert_eq!(fs::read_to_string(copied).expect("copied"), "new");
        drop(first);
        let third = Cells::prepare(&notebooks).expect("prepared");
        assert!(third.tmpdir().ends_with("1/cells"), "a slot that was given back is taken again");
    }

    #[test]
    fn what_is_missing_is_named() {
        let nowhere = tempfile::tempdir().expect("a temporary folder");
        let error = Cells::prepare(nowhere.path()).expect_err("no evcxr.toml");
        assert!(error.to_string().contains("no evcxr.toml in"), "{error}");
        let root = course("[dependencies]\nlab = { path = \"../gone\" }\n");
        let error = Cells::prepare(&root.path().join("notebooks")).expect_err("no such dependency");
        assert!(error.to_string().contains("the dependency lab is not at"), "{error}");
        let root = course("[dependencies\n");
        let error = Cells::prepare(&root.path().join("notebooks")).expect_err("not TOML");
        assert!(error.to_string().contains("is not valid TOML"), "{error}");
    }
}
