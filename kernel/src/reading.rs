//! Which crates rust-analyzer reads.
//!
//! evcxr asks rust-analyzer for the types of variables. Before it can name the first, rust-analyzer expands the macros
//! of every crate that it knows: 20 seconds of one core for the library's 200 dependencies, of which a cell's types
//! name a handful. evcxr offers no choice, but rust-analyzer learns which crates there are from `cargo metadata`, and
//! runs the cargo in `$CARGO_HOME/bin` for it. So the kernel gives itself a [`CARGO_HOME`](make_home) in which this
//! binary stands under that name: it runs the real cargo and leaves crates out of its answer (`answer`).
//!
//! evcxr starts with a cell that needs nothing, before it knows the libraries. rust-analyzer would read the standard
//! library for that one, and once more with them, so it gets nothing to read until they are there.
//!
//! What compiles the cells is the real cargo with the real home, and knows nothing of this.

use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio, exit},
};

/// Where cargo keeps what it has downloaded.
const HOME: &str = "CARGO_HOME";
/// What [`HOME`] is for everything but rust-analyzer.
const REAL_HOME: &str = "GENAILAB_CARGO_HOME";
/// The [`Choice`], as JSON.
const CHOICE: &str = "GENAILAB_READ_CRATES";
/// The folder beside it in which evcxr makes the crate of the cells.
pub const CELLS: &str = "cells";
/// The name under which this binary stands in for cargo.
const NAME: &str = "cargo";
/// The crates of the standard library whose items are in the types of variables.
const STANDARD: [&str; 5] = ["alloc", "core", "proc_macro", "std", "std_detect"];

/// Names of the packages that are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// The dependencies in `evcxr.toml`.
    pub libraries: Vec<String>,
    /// What is read of all that these depend on.
    pub dependencies: Vec<String>,
}

impl Choice {
    fn to_json(&self) -> Value {
        serde_json::json!([self.libraries, self.dependencies])
    }

    fn from_json(text: &str) -> Option<Self> {
        let (libraries, dependencies) = serde_json::from_str(text).ok()?;
        Some(Self { libraries, dependencies })
    }
}

/// The home of cargo that the user has.
///
/// # Errors
/// Neither `CARGO_HOME` nor `HOME` is set.
pub fn real_home() -> Result<PathBuf> {
    let from = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    from(REAL_HOME)
        .or_else(|| from(HOME))
        .or_else(|| Some(from("HOME")?.join(".cargo")))
        .ok_or_else(|| anyhow!("neither {HOME} nor HOME is set: cargo keeps its files there"))
}

/// Makes the folder `home`, in which everything but `bin` is what it is in `real`.
///
/// # Errors
/// A folder that cannot be written.
pub fn make_home(home: &Path, real: &Path) -> Result<()> {
    let cannot = || format!("cannot prepare {}", home.display());
    let binary = env::current_exe().context("cannot find this binary")?;
    // Without it, cargo would make the folder here and download everything again.
    fs::create_dir_all(real.join("registry")).with_context(cannot)?;
    fs::create_dir_all(home.join("bin")).with_context(cannot)?;
    link(&binary, &home.join("bin").join(NAME)).with_context(cannot)?;
    for entry in fs::read_dir(real).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        if entry.file_name() != "bin" {
            link(&entry.path(), &home.join(entry.file_name())).with_context(cannot)?;
        }
    }
    Ok(())
}

/// Makes `place` a link to `target`. A file of cargo's that stands there stays.
fn link(target: &Path, place: &Path) -> io::Result<()> {
    match fs::read_link(place) {
        Ok(old) if old == target => Ok(()),
        Ok(_) => fs::remove_file(place).and_then(|()| symlink(target, place)),
        Err(_) if place.exists() => Ok(()),
        Err(_) => symlink(target, place),
    }
}

/// Puts cargo on the path of programs where it is not yet: what a desktop starts has not read the shell's settings.
///
/// # Safety
/// It sets an environment variable: no other thread may run yet.
pub unsafe fn find_rust(home: &Path) {
    let bin = home.join("bin");
    let path = env::var_os("PATH").unwrap_or_default();
    if env::split_paths(&path).any(|folder| folder.join(NAME).is_file()) || !bin.join(NAME).is_file() {
        return;
    }
    if let Ok(path) = env::join_paths(env::split_paths(&path).chain([bin])) {
        // SAFETY: the caller promises that this is the only thread.
        unsafe { env::set_var("PATH", path) };
    }
}

/// Lets rust-analyzer, in this process, ask the cargo in `home`.
///
/// # Safety
/// It sets environment variables: no other thread may run yet.
pub unsafe fn enter_home(home: &Path, real: &Path, choice: &Choice) {
    // SAFETY: the caller promises that this is the only thread.
    unsafe {
        env::set_var(REAL_HOME, real);
        env::set_var(HOME, home);
        env::set_var(CHOICE, choice.to_json().to_string());
    }
}

/// What evcxr has to be told, so that the cells are compiled with the real home.
pub fn command(real: &Path) -> String {
    format!(":build_env {HOME}={}\n", real.display())
}

/// Gives a process of the user's the real home back.
///
/// # Safety
/// It sets an environment variable: no other thread may run yet.
pub unsafe fn leave_home() {
    if let Some(real) = env::var_os(REAL_HOME) {
        // SAFETY: the caller promises that this is the only thread.
        unsafe { env::set_var(HOME, real) };
    }
}

/// Where this binary is run as cargo, answers for it and does not return.
pub fn stand_in() {
    let mut args = env::args_os();
    let is_cargo = args.next().is_some_and(|name| Path::new(&name).file_name().is_some_and(|name| name == NAME));
    let Some(choice) = env::var(CHOICE).ok().and_then(|text| Choice::from_json(&text)) else { return };
    if !is_cargo {
        return;
    }
    let args: Vec<_> = args.collect();
    let says = |word: &str| args.iter().any(|arg| arg == word);
    let mut cargo = real_cargo();
    cargo.args(&args);
    let answered = match says("metadata") && !says("--no-deps") {
        true => answer(&mut cargo, &choice),
        false => cargo.status().context("cargo did not start"),
    };
    match answered {
        Ok(status) => exit(status.code().unwrap_or(1)),
        Err(error) => {
            eprintln!("error: {error:#}");
            exit(1)
        }
    }
}

/// The cargo that rust-analyzer would have run. rustup's stand-in for it is left out where the toolchain is known.
fn real_cargo() -> Command {
    let toolchain = env::var_os("RUSTUP_TOOLCHAIN").map(|path| PathBuf::from(path).join("bin"));
    let home = real_home().ok().map(|home| home.join("bin"));
    let folders = toolchain.iter().filter(|path| path.is_absolute()).chain(&home);
    let found = folders.map(|folder| folder.join(NAME)).find(|path| path.is_file());
    let mut cargo = Command::new(found.unwrap_or_else(|| PathBuf::from(NAME)));
    if let Some(real) = env::var_os(REAL_HOME) {
        cargo.env(HOME, real);
    }
    cargo
}

/// Prints the metadata that `cargo` prints, without the packages that are not read.
fn answer(cargo: &mut Command, choice: &Choice) -> Result<ExitStatus> {
    let output = cargo.stderr(Stdio::inherit()).output().context("cargo did not start")?;
    if output.status.success() {
        let mut metadata: Value = serde_json::from_slice(&output.stdout).context("cargo's metadata is not JSON")?;
        let kept = read_packages(&metadata, choice, are_named(&choice.libraries)?);
        keep(&mut metadata, &kept);
        println!("{metadata}");
    }
    Ok(output.status)
}

/// Whether the crate of the cells depends on one of `libraries` by now.
fn are_named(libraries: &[String]) -> Result<bool> {
    let home = env::var_os(HOME).map(PathBuf::from).ok_or_else(|| anyhow!("{HOME} is not set"))?;
    let manifest = home.with_file_name(CELLS).join("Cargo.toml");
    let text = fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    let manifest: toml::Table = text.parse().with_context(|| format!("{} is damaged", manifest.display()))?;
    let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
    Ok(dependencies.is_some_and(|dependencies| libraries.iter().any(|name| dependencies.contains_key(name))))
}

/// The ids of the packages that are read. `named`: the cells depend on the libraries by now.
fn read_packages(metadata: &Value, choice: &Choice, named: bool) -> BTreeSet<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let id_of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let names: BTreeMap<String, String> =
        list(&metadata["packages"]).iter().map(|package| (id_of(&package["id"]), id_of(&package["name"]))).collect();
    let name = |id: &str| names.get(id).map_or("", String::as_str);
    let members: Vec<String> = list(&metadata["workspace_members"]).iter().map(id_of).collect();
    if members.iter().any(|id| name(id) == "core") {
        if !named {
            return BTreeSet::new();
        }
        return names.keys().filter(|id| STANDARD.contains(&name(id))).cloned().collect();
    }
    let depends: BTreeMap<String, Vec<String>> = list(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| (id_of(&node["id"]), list(&node["dependencies"]).iter().map(id_of).collect()))
        .collect();
    let needs = |id: &str| depends.get(id).cloned().unwrap_or_default();
    let mut kept: BTreeSet<String> = members.iter().cloned().collect();
    // What a cell has added is read with everything that it needs, as it may use all of that.
    let mut pending: Vec<(String, bool)> =
        members.iter().flat_map(|id| needs(id)).map(|id| (id.clone(), is(&choice.libraries, name(&id)))).collect();
    let mut seen = BTreeSet::new();
    while let Some((id, limited)) = pending.pop() {
        if !seen.insert((id.clone(), limited)) {
            continue;
        }
        let next = needs(&id).into_iter().filter(|id| !limited || is(&choice.dependencies, name(id)));
        pending.extend(next.map(|id| (id, limited)));
        kept.insert(id);
    }
    kept
}

fn is(names: &[String], name: &str) -> bool {
    names.iter().any(|other| other == name)
}

/// Removes all packages but `kept`.
fn keep(metadata: &mut Value, kept: &BTreeSet<String>) {
    let stays = |id: &Value| id.as_str().is_some_and(|id| kept.contains(id));
    let filter = |list: &mut Value, key: Option<&str>| {
        if let Some(list) = list.as_array_mut() {
            list.retain(|value| stays(key.map_or(value, |key| &value[key])));
        }
    };
    filter(&mut metadata["packages"], Some("id"));
    filter(&mut metadata["workspace_members"], None);
    filter(&mut metadata["workspace_default_members"], None);
    let nodes = &mut metadata["resolve"]["nodes"];
    filter(nodes, Some("id"));
    for node in nodes.as_array_mut().into_iter().flatten() {
        filter(&mut node["dependencies"], None);
        filter(&mut node["deps"], Some("pkg"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Packages that are called as their ids are, each with what it needs.
    fn metadata(members: &[&str], needs: &[(&str, &[&str])]) -> Value {
        let packages: Vec<Value> = needs.iter().map(|(id, _)| json!({"id": id, "name": id})).collect();
        let nodes: Vec<Value> = needs
            .iter()
            .map(|(id, needs)| {
                let deps: Vec<Value> = needs.iter().map(|need| json!({"name": need, "pkg": need})).collect();
                json!({"id": id, "dependencies": needs, "deps": deps})
            })
            .collect();
        json!({"packages": packages, "workspace_members": members, "workspace_default_members": members,
            "resolve": {"nodes": nodes}})
    }

    fn names(metadata: &Value) -> Vec<&str> {
        metadata["packages"].as_array().expect("a list").iter().filter_map(|package| package["id"].as_str()).collect()
    }

    #[test]
    fn of_what_a_library_needs_the_chosen_is_read_and_of_what_a_cell_added_all() {
        let mut metadata = metadata(
            &["ctx"],
            &[
                ("ctx", &["lab", "added"]),
                ("lab", &["tensors", "plots"]),
                ("tensors", &["numbers", "kernels"]),
                ("numbers", &[]),
                ("kernels", &[]),
                ("plots", &["numbers"]),
                ("added", &["its"]),
                ("its", &[]),
            ],
        );
        let choice = Choice {
            libraries: vec!["lab".to_owned()],
            dependencies: vec!["tensors".to_owned(), "numbers".to_owned()],
        };
        let kept = read_packages(&metadata, &choice, true);
        keep(&mut metadata, &kept);
        assert_eq!(names(&metadata), ["ctx", "lab", "tensors", "numbers", "added", "its"]);
        let lab = &metadata["resolve"]["nodes"][1];
        assert_eq!(lab["dependencies"], json!(["tensors"]));
        assert_eq!(lab["deps"], json!([{"name": "tensors", "pkg": "tensors"}]));
        assert_eq!(Choice::from_json(&choice.to_json().to_string()), Some(choice));
    }

    #[test]
    fn of_the_standard_library_what_types_name_is_read() {
        let mut metadata = metadata(
            &["core", "std", "coretests"],
            &[("core", &[]), ("std", &["libc"]), ("coretests", &[]), ("libc", &[])],
        );
        let kept = read_packages(&metadata, &Choice::default(), true);
        assert!(read_packages(&metadata, &Choice::default(), false).is_empty(), "before the libraries are named");
        keep(&mut metadata, &kept);
        assert_eq!(names(&metadata), ["core", "std"]);
        assert_eq!(metadata["workspace_members"], json!(["core", "std"]));
    }

    #[test]
    fn a_home_has_what_the_real_one_has_but_another_cargo() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let (home, real) = (root.path().join("home"), root.path().join("real"));
        fs::create_dir_all(real.join("bin")).expect("a folder");
        fs::write(real.join("config.toml"), "[net]").expect("written");
        for _ in 0..2 {
            make_home(&home, &real).expect("made");
        }
        assert_eq!(fs::read_to_string(home.join("config.toml")).expect("linked"), "[net]");
        assert!(home.join("registry").is_dir());
        let this = env::current_exe().expect("this binary");
        assert_eq!(fs::read_link(home.join("bin/cargo")).expect("linked"), this);
    }
}
