//! What a result was made by and from: `provenance.json` in an output folder, `uns["provenance"]` of predictions and embeddings.
//!
//! Data files and the folder that a command writes are noted where every command passes, so that none forgets one; models,
//! settings, gene sets and predictions by the commands that take them.

use genailab::{
    Error, Result,
    data::{Uns, fetch::hash},
    train::write_atomically,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

static FILES: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
/// Without symbolic links, so that one file under two names is known.
static RESULT: Mutex<Option<PathBuf>> = Mutex::new(None);
static FOLDER: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Notes a file, or a model's folder, that results depend on.
///
/// # Errors
/// The result is to be written in its place.
pub fn reads(file: &Path) -> Result<()> {
    FILES.lock().unwrap_or_else(PoisonError::into_inner).insert(file.to_owned());
    let result = RESULT.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let is_result = |file: &PathBuf| file.canonicalize().is_ok_and(|file| result.as_ref() == Some(&file));
    match on_disk(file).iter().find(|file| is_result(file)) {
        None => Ok(()),
        Some(file) => Err(Error::config(format!(
            "{} is read by this command and would be overwritten by its result; give the result another name",
            file.display()
        ))),
    }
}

/// Notes the file that the result goes to, where there is an older one.
pub fn writes_file(file: &Path) {
    *RESULT.lock().unwrap_or_else(PoisonError::into_inner) = file.canonicalize().ok();
}

/// Notes the folder that results go to.
pub fn writes(folder: &Path) {
    *FOLDER.lock().unwrap_or_else(PoisonError::into_inner) = Some(folder.to_owned());
}

/// Writes the record into the folder that the command has filled.
///
/// # Errors
/// A file that is gone, a folder that cannot be written any more.
pub fn write() -> Result<()> {
    let Some(folder) = FOLDER.lock().unwrap_or_else(PoisonError::into_inner).take() else { return Ok(()) };
    write_atomically(&folder.join("provenance.json"), format!("{:#}\n", record()?).as_bytes())
}

/// The record as an entry of `uns`, for a command whose result is one file.
///
/// # Errors
/// A file that is gone.
pub fn entry() -> Result<(&'static str, Uns)> {
    Ok(("provenance", Uns::from(record()?.to_string().as_str())))
}

/// The version, the command line, and size and SHA-256 of each file.
fn record() -> Result<Value> {
    let files = FILES.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let of = |file: PathBuf| {
        let sums = hash::of_file(&file)?;
        Ok(json!({ "path": file.display().to_string(), "bytes": sums.size, "sha256": sums.sha256 }))
    };
    let command: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    Ok(json!({
        "genailab": env!("CARGO_PKG_VERSION"),
        "command": command,
        "files": files.iter().flat_map(|file| on_disk(file)).map(of).collect::<Result<Vec<_>>>()?,
        "system": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
    }))
}

/// The files of a data source or model: those of a folder, and the whole of which a part was named (`FILE.h5mu:rna`).
fn on_disk(source: &Path) -> Vec<PathBuf> {
    if source.is_dir() {
        let mut files: Vec<PathBuf> = source
            .read_dir()
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_file())
            .collect();
        files.sort();
        return files;
    }
    let whole = source.to_str().and_then(|text| text.rsplit_once(':')).map(|(file, _)| PathBuf::from(file));
    let candidates = [Some(source.to_owned()), whole];
    candidates.into_iter().flatten().find(|path| path.is_file()).into_iter().collect()
}
