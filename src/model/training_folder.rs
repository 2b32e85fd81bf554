//! The folder of a training: the note of what is trained there, its checkpoints, and whether it can go on.

use super::{
    WEIGHTS,
    state::{BEGINNING, has_begun},
};
use crate::{
    Error, Result,
    data::TrainingData,
    files::write_atomically,
    train::{CHECKPOINT, EVENTS, HISTORY, has_checkpoint},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::Path;

/// What a training depends on: a resumed one must agree in all of it, but for the number of epochs.
#[derive(Serialize, Deserialize)]
pub(super) struct Beginning {
    model: String,
    seed: u64,
    settings: Value,
    /// SHA-256 of genes, conditions and the split.
    data: String,
}

impl Beginning {
    pub fn of(kind: &str, settings: Value, data: &TrainingData, seed: u64) -> Result<Self> {
        Ok(Self { model: kind.to_owned(), seed, settings, data: fingerprint(data)? })
    }

    /// What differs, in words.
    fn differences(&self, now: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if self.model != now.model {
            found.push(format!("the model was {} and is now {}", self.model, now.model));
        }
        if self.seed != now.seed {
            found.push(format!("seed was {} and is now {}", self.seed, now.seed));
        }
        changed("", &self.settings, &now.settings, &mut found);
        if self.data != now.data {
            found.push("the data or the split differ".to_owned());
        }
        found
    }
}

/// Lists the settings that differ, by the name of the innermost key.
fn changed(name: &str, then: &Value, now: &Value, found: &mut Vec<String>) {
    match (then, now) {
        (Value::Object(then), Value::Object(now)) => {
            for (key, value) in then {
                changed(key, value, now.get(key).unwrap_or(&Value::Null), found);
            }
        }
        _ if then == now || name == "epochs" => {}
        _ => found.push(format!("{name} was {then} and is now {now}")),
    }
}

pub(super) fn fingerprint(data: &TrainingData) -> Result<String> {
    let mut hash = Sha256::new();
    let mut add = |text: &str| hash.update([text.as_bytes(), b"\n"].concat());
    data.genes.iter().for_each(|gene| add(gene));
    match &data.cells {
        Some(cells) => {
            cells.conditions.iter().for_each(|condition| add(&condition.to_string()));
            add(&serde_json::to_string(&cells.split).expect("numbers always serialise"));
            cells.data.library_size.iter().for_each(|size| add(&size.to_bits().to_string()));
        }
        None => {
            for table in [data.effects()?, data.validation()?] {
                table.conditions.iter().for_each(|condition| add(&condition.to_string()));
                table.effects.iter().for_each(|value| add(&value.to_bits().to_string()));
            }
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Notes what is trained in `dir`; what an earlier training left there goes, so that its weights are never taken for
/// those of this one. A resumed training must be the one that was noted.
pub(super) fn begin(dir: &Path, now: &Beginning, resume: bool) -> Result<()> {
    let path = dir.join(BEGINNING);
    if resume {
        let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
        let then: Beginning = serde_json::from_str(&text)
            .map_err(|e| Error::data(format!("{} is damaged: {e}; train anew in another folder", path.display())))?;
        let differences = then.differences(now);
        return match differences.is_empty() {
            true => Ok(()),
            false => Err(Error::config(format!(
                "cannot resume with other settings or data than those noted in {}: {}; give the same ones, or train anew in \
                 another folder",
                path.display(),
                differences.join(", ")
            ))),
        };
    }
    std::fs::create_dir_all(dir).map_err(|e| Error::io("create the folder", dir, e))?;
    for name in ["model.json", WEIGHTS, "metrics.json", "report.html", "split.json"] {
        let file = dir.join(name);
        match std::fs::remove_file(&file) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("remove", &file, e)),
            _ => {}
        }
    }
    forget_checkpoints(dir)?;
    let text = serde_json::to_string_pretty(now).expect("names and numbers always serialise");
    write_atomically(&path, text.as_bytes())
}

/// Removes the note and the records of a training that failed before its first checkpoint, and the folder if nothing else is in it.
/// That the training failed is what the user must know; a file that cannot be removed is no second error.
pub(super) fn forget_beginning(dir: &Path) {
    if holds_checkpoint(dir) {
        return;
    }
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name == BEGINNING || name == HISTORY || name.starts_with(EVENTS) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    let _ = std::fs::remove_dir(dir);
}

/// Removes the checkpoints of an earlier training and of its parts: a part that is resumed must not find an old one.
///
/// # Errors
/// A folder that cannot be read, a file that cannot be removed.
pub fn forget_checkpoints(dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir).map_err(|e| Error::io("read the folder", dir, e))? {
        let path = entry.map_err(|e| Error::io("read the folder", dir, e))?.path();
        if path.is_dir() {
            forget_checkpoints(&path)?;
        } else if path.file_name().is_some_and(|name| name == CHECKPOINT) {
            std::fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))?;
        }
    }
    Ok(())
}

/// Whether a training may begin in `dir`, or be resumed there.
///
/// # Errors
/// Nothing to resume; the checkpoint of a training that was stopped, without `resume`.
pub fn check_folder(dir: &Path, resume: bool) -> Result<()> {
    let done = dir.join(WEIGHTS).exists();
    match resume {
        true if !has_begun(dir) => Err(Error::config(format!(
            "nothing to resume: there is no {}; give the folder of the training that was stopped, or leave out --resume",
            dir.join(CHECKPOINT).display()
        ))),
        false if !done && holds_checkpoint(dir) => Err(Error::config(format!(
            "{} holds the checkpoint of a training that was stopped: add --resume to go on with it, or give another --out",
            dir.display()
        ))),
        _ => Ok(()),
    }
}

/// Whether the folder, or that of a part of the model, holds a checkpoint.
fn holds_checkpoint(dir: &Path) -> bool {
    has_checkpoint(dir)
        || std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .any(|entry| entry.path().is_dir() && holds_checkpoint(&entry.path()))
}
