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
//!     cargo-home/                  decides what rust-analyzer reads: see `reading`
//! notebooks/.evcxr/1.lock          held while a kernel lives: the next one takes slot 2
//! ```
//!
//! A notebook in a folder without `evcxr.toml`, somewhere else on the machine, gets the one of the library's course.
//! Its cells are compiled in the user's cache folder, which begins as a copy of what the course has compiled.

use crate::reading::{self, Choice};
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
/// The folder of the library's course.
const COURSE: &str = "notebooks";
/// The folder in a slot that rust-analyzer takes for cargo's.
const CARGO_HOME: &str = "cargo-home";
/// More kernels than this at once are a mistake rather than a wish: each needs its own build of the dependencies.
const MAX_SLOTS: usize = 16;
/// Where the dynamic linker looks for libraries first.
const LIBRARY_PATH: &str = if cfg!(target_os = "macos") { "DYLD_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };
/// How well the cells are optimised unless `evcxr.toml` says otherwise; the dependencies always are, fully.
const DEFAULT_OPT_LEVEL: &str = "1";

/// The environment variable that names the library for notebooks outside its course. `install` writes it into the
/// kernelspec.
pub const LIBRARY: &str = "GENAILAB_LIBRARY";

/// A prepared build folder, held for this process until dropped.
#[derive(Debug)]
pub struct Cells {
    place: Place,
    slot: PathBuf,
    config: Config,
    /// The user's folder of cargo.
    cargo_home: PathBuf,
    _lock: File,
}

/// The folders of a notebook, absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// Where the cells run.
    notebooks: PathBuf,
    /// Where `evcxr.toml` is.
    config: PathBuf,
    /// Where everything is built.
    build: PathBuf,
    /// Where the same may be built already.
    seed: Option<PathBuf>,
}

impl Place {
    /// The nearest folder with an `evcxr.toml`, from `start` upwards; without one, `library`'s course lends its own.
    fn find(start: &Path, library: &Path, cache: impl FnOnce() -> Result<PathBuf>) -> Result<Self> {
        let start = start.canonicalize().with_context(|| format!("cannot enter {}", start.display()))?;
        let has_config = |folder: &&Path| folder.join(CONFIG_FILE).is_file();
        if let Some(course) = start.ancestors().find(has_config) {
            let config = course.to_owned();
            let build = course.join(BUILD_DIR);
            let build = if can_be_loaded_from(&build) { build } else { cache()? };
            return Ok(Self { notebooks: config.clone(), config, build, seed: None });
        }
        let config = library.join(COURSE);
        if !has_config(&config.as_path()) {
            bail!(
                "no {CONFIG_FILE} in {} or above it, and the library is not in {} any more: run `genailab-kernel \
                 install` where it is now, or put an {CONFIG_FILE} with [dependencies] beside the notebook",
                start.display(),
                library.display()
            );
        }
        let seed = Some(config.join(BUILD_DIR));
        Ok(Self { notebooks: start, config, build: cache()?, seed })
    }
}

/// evcxr sends the process of the cells the paths of what it has to load with spaces between them.
fn can_be_loaded_from(folder: &Path) -> bool {
    !folder.to_string_lossy().contains(' ')
}

/// The library for notebooks outside a course: named by [`LIBRARY`], or what this binary was compiled beside.
pub fn library() -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"));
    env::var_os(LIBRARY).map_or_else(|| beside.to_owned(), PathBuf::from)
}

/// The folder of the user's for what can be made again.
fn cache() -> Result<PathBuf> {
    let from = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || from("HOME").ok_or_else(|| anyhow!("HOME is not set: there is no folder for what is compiled"));
    let folder = match from("XDG_CACHE_HOME") {
        Some(folder) => folder,
        None if cfg!(target_os = "macos") => home()?.join("Library/Caches"),
        None => home()?.join(".cache"),
    };
    let folder = folder.join("genailab/notebooks");
    match can_be_loaded_from(&folder) {
        true => Ok(folder),
        false => bail!("there is a space in {}: name another folder in XDG_CACHE_HOME", folder.display()),
    }
}

impl Cells {
    /// Finds the notebooks' folder from `start` upwards (so that `notebooks/solutions` works too), takes a free slot
    /// in it and prepares the workspace there.
    ///
    /// # Errors
    /// No `evcxr.toml` from `start` upwards and no library, an `evcxr.toml` that cannot be read, a dependency that is
    /// not there, a folder that cannot be written.
    pub fn prepare(start: &Path) -> Result<Self> {
        Self::prepare_in(Place::find(start, &library(), cache)?)
    }

    fn prepare_in(place: Place) -> Result<Self> {
        let config = Config::read(&place.config)?;
        let build = &place.build;
        fs::create_dir_all(build).with_context(|| format!("cannot create {}", build.display()))?;
        let (number, lock) = take_slot(build)?;
        let slot = build.join(number.to_string());
        config.write_workspace(&slot)?;
        let cargo_home = reading::real_home()?;
        reading::make_home(&slot.join(CARGO_HOME), &cargo_home)?;
        for built in [Some(build), place.seed.as_ref()].into_iter().flatten() {
            copy_dependencies(&built.join("1"), &slot)?;
        }
        Ok(Self { place, slot, config, cargo_home, _lock: lock })
    }

    /// Makes the notebooks' folder this process's working folder and names the slot to evcxr.
    ///
    /// # Errors
    /// The folder cannot be entered.
    ///
    /// # Safety
    /// It sets environment variables: no other thread may run yet.
    pub unsafe fn enter(&self) -> Result<()> {
        let Place { notebooks, config, .. } = &self.place;
        env::set_current_dir(notebooks).with_context(|| format!("cannot enter {}", notebooks.display()))?;
        // SAFETY: the caller promises that this is the only thread.
        unsafe {
            reading::find_rust(&self.cargo_home);
            if let Some(choice) = self.config.choice() {
                reading::enter_home(&self.slot.join(CARGO_HOME), &self.cargo_home, &choice);
            }
            env::set_var("EVCXR_TMPDIR", self.tmpdir());
            // evcxr looks for its settings in the working folder, then here.
            env::set_var("EVCXR_CONFIG_DIR", config);
            // evcxr, when it starts as a kernel, refreshes the kernelspec `rust` that it finds under this path: with
            // the default path it would redirect a user's own evcxr to this binary.
            env::set_var("JUPYTER_PATH", &self.slot);
            for (name, _) in env::vars_os().filter(|(name, _)| is_of_outer_cargo(&name.to_string_lossy())) {
                env::remove_var(name);
            }
            let before = env::var_os(LIBRARY_PATH).unwrap_or_default();
            // An empty entry would stand for the working folder.
            let kept = env::split_paths(&before)
                .filter(|folder| !folder.as_os_str().is_empty() && !self.holds_another_build(folder));
            let searched = kept.chain(standard_library());
            env::set_var(LIBRARY_PATH, env::join_paths(searched).context("a folder's name has a colon")?);
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
        &self.place.notebooks
    }

    /// What evcxr has to run before the first cell, so that cells see the dependencies and the prelude of
    /// `evcxr.toml`: commands, then Rust code. evcxr's own `:load_config` does the same in two cells.
    pub fn first_cell(&self) -> String {
        let Config { dependencies, prelude, .. } = &self.config;
        let commands: String = dependencies.iter().map(|(name, value)| format!(":dep {name} = {value}\n")).collect();
        let home = self.config.choice().map(|_| reading::command(&self.cargo_home)).unwrap_or_default();
        format!("{home}{commands}{prelude}\n")
    }

    /// The file that asks the running cell to end, absolute.
    pub fn interrupt_file(&self) -> PathBuf {
        self.slot.join("interrupt")
    }

    /// What evcxr calls tmpdir, absolute.
    pub fn tmpdir(&self) -> PathBuf {
        self.slot.join(reading::CELLS)
    }
}

/// The folder of Rust's standard library, which every cell is linked to. The path in a cell's library leads there from the
/// folder where the compiler wrote it; evcxr moves the library one folder up, from where the path leads nowhere unless it
/// happens to pass the root. (`cargo run` and `cargo test` put the folder on the search path themselves.)
fn standard_library() -> Option<PathBuf> {
    let said = std::process::Command::new("rustc").args(["--print", "target-libdir"]).output().ok()?;
    let folder = String::from_utf8(said.stdout).ok()?;
    said.status.success().then(|| PathBuf::from(folder.trim()))
}

/// Whether `cargo run` or `cargo test` set this variable to describe the package that it runs. Build scripts watch
/// them: with them in the environment, dependencies would be compiled again whenever a kernel follows a test.
fn is_of_outer_cargo(name: &str) -> bool {
    const EXACT: [&str; 5] =
        ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_CRATE_NAME", "CARGO_BIN_NAME", "CARGO_TARGET_TMPDIR"];
    EXACT.contains(&name) || name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_BIN_EXE_")
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
    /// What rust-analyzer reads of the dependencies' own dependencies; `None`: everything.
    read: Option<Vec<String>>,
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
        let read = config.get("types").and_then(|types| types.get("from")).and_then(Value::as_array);
        let read = read.map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        Ok(Self { dependencies, opt_level, prelude, lock, read })
    }

    fn choice(&self) -> Option<Choice> {
        let libraries = self.dependencies.keys().cloned().collect();
        self.read.clone().map(|dependencies| Choice { libraries, dependencies })
    }

    fn write_workspace(&self, slot: &Path) -> Result<()> {
        fs::create_dir_all(slot.join(reading::CELLS)).with_context(|| format!("cannot create {}", slot.display()))?;
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

    #[test]
    fn the_standard_library_is_where_cells_are_told() {
        let folder = standard_library().expect("rustc says where");
        let names: Vec<String> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        let start = format!("{}std-", env::consts::DLL_PREFIX);
        assert!(
            names.iter().any(|name| name.starts_with(&start) && name.ends_with(env::consts::DLL_SUFFIX)),
            "{names:?}"
        );
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
        assert_eq!(cells.config.choice(), None, "everything is read");
    }

    #[test]
    fn what_types_come_from_is_read_and_cells_are_compiled_with_the_real_cargo_home() {
        let root = course(&format!("{CONFIG}[types]\nfrom = [\"tensors\"]\n"));
        let cells = Cells::prepare(&root.path().join("notebooks")).expect("prepared");
        let choice = cells.config.choice().expect("a choice");
        assert_eq!((choice.libraries, choice.dependencies), (vec!["lab".to_owned()], vec!["tensors".to_owned()]));
        let home = reading::real_home().expect("a home");
        assert!(cells.first_cell().starts_with(&format!(":build_env CARGO_HOME={}\n:dep", home.display())));
        assert!(cells.slot.join("cargo-home/bin/cargo").exists());
    }

    #[test]
    fn a_notebook_outside_a_course_gets_the_librarys() {
        let root = course(CONFIG);
        let built = root.path().join("notebooks/.evcxr/1/cells/target/debug/deps");
        fs::create_dir_all(&built).expect("a folder");
        fs::write(built.join("liblab.so"), "library").expect("written");
        let elsewhere = tempfile::tempdir().expect("a temporary folder");
        let start = elsewhere.path().join("my work");
        fs::create_dir_all(&start).expect("a folder");
        let cache = || Ok(elsewhere.path().join("cache"));
        let place = Place::find(&start, root.path(), cache).expect("found");
        assert_eq!(place.notebooks, start.canonicalize().expect("it exists"));
        let cells = Cells::prepare_in(place).expect("prepared");
        assert!(cells.tmpdir().ends_with("cache/1/cells"), "{}", cells.tmpdir().display());
        assert!(cells.tmpdir().join("target/debug/deps/liblab.so").is_file(), "copied from the course");
        assert!(cells.first_cell().contains("use lab::x;"));
        // A folder with a space in its name cannot hold what is compiled.
        fs::copy(root.path().join("notebooks/evcxr.toml"), start.join("evcxr.toml")).expect("copied");
        let cache = || Ok(elsewhere.path().join("cache"));
        assert!(Place::find(&start, root.path(), cache).expect("found").build.ends_with("cache"));
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
        let cache = || bail!("is not asked for");
        let error = Place::find(nowhere.path(), Path::new("/gone"), cache).expect_err("no evcxr.toml");
        assert!(error.to_string().contains("no evcxr.toml in") && error.to_string().contains("/gone"), "{error}");
        let root = course("[dependencies]\nlab = { path = \"../gone\" }\n");
        let error = Cells::prepare(&root.path().join("notebooks")).expect_err("no such dependency");
        assert!(error.to_string().contains("the dependency lab is not at"), "{error}");
        let root = course("[dependencies\n");
        let error = Cells::prepare(&root.path().join("notebooks")).expect_err("not TOML");
        assert!(error.to_string().contains("is not valid TOML"), "{error}");
    }
}
