//! Finished trainings of a notebook, kept so that its second run does not train again.
//!
//! ```text
//! CACHE/checkpoints/jepa-0f3a…/    a saved model, in the form that `genailab train --out` writes
//! ```
//!
//! A checkpoint is found by what was trained: the version of this library, the kind of model, its settings, its seed, and the data
//! with its split, counts included. A change of any of them trains again. A file that the settings name counts by its path. A change of the library's code that leaves its version as
//! it was is not noticed, so whoever works on the library sets [`VARIABLE`] to `off`, as the targets of the Makefile do.

use super::{Model, registry::train, saved_kind, training_folder::fingerprint};
use crate::{
    Error, Result,
    data::{TrainingData, fetch::cache_dir},
    device::Device,
    train::Run,
};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
};

/// The environment variable that names another folder for checkpoints, or is `off`: nothing is read or kept.
pub const VARIABLE: &str = "GENAILAB_CHECKPOINTS";
/// Hexadecimal digits of a key in the name of a folder: 64 bits.
const DIGITS: usize = 16;

/// Where a model comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It was trained now, and kept in this folder.
    Kept(PathBuf),
    /// It was trained now and not kept, because checkpoints are off or the training was interrupted.
    Trained,
    /// It was trained now; its checkpoint could not be read or written.
    Faulty(String),
    /// It was read from this folder.
    Loaded(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept(_) => f.write_str("trained in this session, and kept for the next one"),
            Self::Trained => f.write_str("trained in this session"),
            Self::Faulty(why) => write!(f, "trained in this session ({why})"),
            Self::Loaded(_) => {
                f.write_str("loaded; an earlier session trained it with the same data, settings and seed")
            }
        }
    }
}

/// A folder of checkpoints.
#[derive(Debug, Clone)]
pub struct Checkpoints(Option<PathBuf>);

impl Checkpoints {
    /// Checkpoints in this folder, made when the first is kept.
    pub fn in_folder(dir: impl Into<PathBuf>) -> Self {
        Self(Some(dir.into()))
    }

    /// As [`VARIABLE`] says; without it `checkpoints` in [`cache_dir`]. Where there is no such folder, nothing is kept.
    pub fn of_user() -> Self {
        match env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
            Some(value) if value == "off" => Self(None),
            Some(dir) => Self::in_folder(dir),
            None => Self(cache_dir().ok().map(|dir| dir.join("checkpoints"))),
        }
    }

    /// The model that [`Model::fit`] makes of the data, read from a checkpoint where there is one.
    ///
    /// # Errors
    /// Those of the training. A checkpoint that cannot be read or written is none: [`Origin::Faulty`] says so.
    pub fn fit<M: Model>(&self, data: &TrainingData, config: &M::Config, seed: u64) -> Result<(M, Origin)> {
        self.fit_by(data, config, seed, |run| Ok(train::<M>(data, config, run)?.0))
    }

    /// The same for a model that is made in another way than by [`Model::fit`]; `settings` is everything that `train` uses
    /// besides the data and the seed.
    ///
    /// # Errors
    /// As [`Self::fit`].
    pub fn fit_by<M: Model>(
        &self,
        data: &TrainingData,
        settings: &impl Serialize,
        seed: u64,
        train: impl FnOnce(&mut Run<'_>) -> Result<M>,
    ) -> Result<(M, Origin)> {
        let dir = match &self.0 {
            Some(dir) => Some(dir.join(format!("{}-{}", M::KIND, key(M::KIND, data, settings, seed)?))),
            None => None,
        };
        let unreadable = match dir.as_deref().filter(|dir| dir.exists()).map(|dir| (dir, M::load(dir, Device::Cpu))) {
            Some((dir, Ok(model))) => return Ok((model, Origin::Loaded(dir.to_owned()))),
            Some((dir, Err(error))) => {
                // What is in the way of a new one goes; if it cannot, keeping the new one says why.
                let _ = fs::remove_dir_all(dir);
                Some(format!("its checkpoint could not be read: {error}"))
            }
            None => None,
        };
        let mut run = Run::quiet(seed);
        let model = train(&mut run)?;
        // A model answers from single precision once it was saved; the first session is to show what the later ones show.
        let model = M::restore(model.state()?, Device::Cpu)?;
        let Some(dir) = dir.filter(|_| !run.is_interrupted()) else { return Ok((model, Origin::Trained)) };
        let origin = match (keep(&model, &dir), unreadable) {
            (Err(error), _) => Origin::Faulty(format!("not kept: {error}")),
            (Ok(()), Some(why)) => Origin::Faulty(why),
            (Ok(()), None) => Origin::Kept(dir),
        };
        Ok((model, origin))
    }
}

/// [`Checkpoints::fit`] for a notebook: in the user's folder, and one line says where the model comes from.
///
/// # Errors
/// Those of the training.
pub fn fit_or_load<M: Model>(data: &TrainingData, config: &M::Config, seed: u64) -> Result<M> {
    say(Checkpoints::of_user().fit(data, config, seed)?)
}

/// [`Checkpoints::fit_by`] for a notebook.
///
/// # Errors
/// Those of the training.
pub fn fit_or_load_by<M: Model>(
    data: &TrainingData,
    settings: &impl Serialize,
    seed: u64,
    train: impl FnOnce(&mut Run<'_>) -> Result<M>,
) -> Result<M> {
    say(Checkpoints::of_user().fit_by(data, settings, seed, train)?)
}

fn say<M: Model>((model, origin): (M, Origin)) -> Result<M> {
    println!("{}: {origin}", M::KIND);
    Ok(model)
}

/// Saves a model as a whole or not at all: another session may be doing the same.
fn keep<M: Model>(model: &M, dir: &Path) -> Result<()> {
    let parent = dir.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(|e| Error::io("create the folder", parent, e))?;
    let unfinished = tempfile::tempdir_in(parent).map_err(|e| Error::io("create a folder in", parent, e))?;
    model.save(unfinished.path())?;
    match fs::rename(unfinished.path(), dir) {
        Err(_) if saved_kind(dir).is_ok_and(|kind| kind == M::KIND) => Ok(()),
        other => other.map_err(|e| Error::io("create the folder", dir, e)),
    }
}

/// What a training depends on, as the beginning of a SHA-256.
fn key(kind: &str, data: &TrainingData, settings: &impl Serialize, seed: u64) -> Result<String> {
    let settings = serde_json::to_string(settings)
        .map_err(|e| Error::config(format!("the settings of {kind} cannot be written as JSON: {e}")))?;
    let mut hash = Sha256::new();
    for text in
        [env!("CARGO_PKG_VERSION"), kind, &settings, &seed.to_string(), &data.seed.to_string(), &fingerprint(data)?]
    {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    if let Some(cells) = &data.cells {
        let counts = &cells.data.counts;
        counts.indptr().iter().for_each(|&start| hash.update((start as u64).to_le_bytes()));
        counts.indices().iter().for_each(|index| hash.update(index.to_le_bytes()));
        counts.values().iter().for_each(|value| hash.update(value.to_le_bytes()));
        cells.data.cells.columns.iter().for_each(|(name, column)| hash.update(format!("{name} {column:?}")));
    }
    Ok(hash.finalize().iter().take(DIGITS / 2).map(|byte| format!("{byte:02x}")).collect())
}
