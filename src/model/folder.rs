//! The folder of a saved model: `model.json` says what it is, `model.safetensors` holds its weights.

use crate::{Error, Result, files::write_atomically};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::path::{Path, PathBuf};

/// Raised when saved models of the version before could not be read any more.
const FORMAT: u32 = 1;
const DESCRIPTION: &str = "model.json";
const WEIGHTS: &str = "model.safetensors";

/// What every `model.json` begins with, and what must be right before the rest is read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Header {
    format: u32,
    model: String,
    /// The version of this library that wrote it.
    genailab: String,
}

impl Header {
    /// That of a model of this kind, written now.
    pub fn of(kind: &str) -> Self {
        Self { format: FORMAT, model: kind.to_owned(), genailab: env!("CARGO_PKG_VERSION").to_owned() }
    }
}

/// Where the description stands.
pub(super) fn description(dir: &Path) -> PathBuf {
    dir.join(DESCRIPTION)
}

/// Where weights are written to.
pub(super) fn weights(dir: &Path) -> PathBuf {
    dir.join(WEIGHTS)
}

/// Where the weights of a finished training stand.
///
/// # Errors
/// They are not there.
pub(super) fn finished_weights(dir: &Path) -> Result<PathBuf> {
    let path = weights(dir);
    match path.exists() {
        true => Ok(path),
        false => Err(Error::config(format!(
            "{} has no {WEIGHTS}: its training did not come to its end; finish it with the command that began it and \
             `--resume`",
            dir.display()
        ))),
    }
}

/// Writes `model.json`, whose content begins with a [`Header`]; makes the folder.
///
/// # Errors
/// A folder that cannot be written.
pub(super) fn write_description(dir: &Path, content: &impl Serialize) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|e| Error::io("create the folder", dir, e))?;
    let text = serde_json::to_string_pretty(content).expect("names and numbers always serialise");
    write_atomically(&description(dir), text.as_bytes())
}

/// The settings that differ between two configurations, in words.
pub(super) fn changed_settings(then: &impl Serialize, now: &impl Serialize) -> Vec<String> {
    let fields = |config: serde_json::Result<serde_json::Value>| match config {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => unreachable!("a struct of named fields serialises as an object"),
    };
    let (then, now) = (fields(serde_json::to_value(then)), fields(serde_json::to_value(now)));
    let changed = then.iter().filter(|(name, value)| now.get(*name) != Some(value));
    changed.map(|(name, value)| format!("{name} was {value} and is now {}", now[name])).collect()
}

/// Refuses to resume a training in `dir` where something differs from what is described there.
///
/// # Errors
/// There is a difference.
pub(super) fn refuse_differences(dir: &Path, differences: &[String]) -> Result<()> {
    match differences.is_empty() {
        true => Ok(()),
        false => Err(Error::config(format!(
            "cannot resume with another model than that of {}: {}; give the same data and settings, or train anew in \
             another folder",
            description(dir).display(),
            differences.join(", ")
        ))),
    }
}

/// The kind of the model in a folder: `count-vae`, `cell-jepa`, `jepa`.
///
/// # Errors
/// No model there; a description that is damaged or of another version.
pub fn saved_kind(dir: &Path) -> Result<String> {
    Ok(header(&read(dir)?, &description(dir))?.model)
}

/// Reads `model.json` of a model of this kind.
///
/// # Errors
/// No model there, one of another kind or version, a damaged description.
pub(super) fn read_description<T: DeserializeOwned>(dir: &Path, kind: &str) -> Result<T> {
    let (path, text) = (description(dir), read(dir)?);
    let found = header(&text, &path)?;
    if found.model != kind {
        return Err(Error::config(format!(
            "{} holds a model of kind {:?}, where {kind:?} was expected",
            path.display(),
            found.model
        )));
    }
    serde_json::from_str(&text).map_err(|e| damaged(&path, &e))
}

fn read(dir: &Path) -> Result<String> {
    let path = description(dir);
    std::fs::read_to_string(&path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::config(format!(
            "{} holds no model (no {DESCRIPTION} there); give the folder that `genailab train --out` wrote",
            dir.display()
        )),
        _ => Error::io("read", &path, e),
    })
}

fn header(text: &str, path: &Path) -> Result<Header> {
    let found: Header = serde_json::from_str(text).map_err(|e| damaged(path, &e))?;
    match found.format {
        FORMAT => Ok(found),
        other => Err(Error::config(format!(
            "{} was written in format {other}, but this version reads format {FORMAT}; use the genailab that wrote it, \
             or train again",
            path.display()
        ))),
    }
}

/// What to say of a description that cannot be read.
pub(super) fn damaged(path: &Path, error: &serde_json::Error) -> Error {
    Error::data(format!("{} is damaged or of another tool: {error}; train again", path.display()))
}
