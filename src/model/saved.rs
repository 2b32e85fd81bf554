//! A saved model: `model.json` says what it is, `model.safetensors` holds its weights.

use super::{
    condition::Vocabulary,
    config::VaeConfig,
    count_vae::{CountVae, TrainedOn, on_device},
};
use crate::{
    Error, Result,
    device::Device,
    files::write_atomically,
    nn::{load_params, save_params},
};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Raised when a saved model of the version before could not be read any more.
const FORMAT: u32 = 1;
const KIND: &str = "count-vae";
const DESCRIPTION: &str = "model.json";
const WEIGHTS: &str = "model.safetensors";

/// The content of `model.json`.
#[derive(Serialize, Deserialize)]
struct Saved {
    format: u32,
    model: String,
    /// The version of this library that wrote it.
    genailab: String,
    trained_on: TrainedOn,
    with_remainder: bool,
    config: VaeConfig,
    vocabulary: Vocabulary,
}

/// What must be right before the rest of `model.json` is read.
#[derive(Deserialize)]
struct Header {
    format: u32,
    model: String,
}

impl CountVae {
    /// Writes what the model is, without weights, to `dir/model.json`: an interrupted training can then be resumed.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn save_description(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).map_err(|e| Error::io("create the folder", dir, e))?;
        let text = serde_json::to_string_pretty(&self.description()).expect("names and numbers always serialise");
        write_atomically(&dir.join(DESCRIPTION), text.as_bytes())
    }

    /// Checks that `dir/model.json` describes this model, so that a training which is resumed there is the same one.
    ///
    /// # Errors
    /// No description there, or one of another model: the settings that differ, or what else does.
    pub fn check_description(&self, dir: &Path) -> Result<()> {
        let path = dir.join(DESCRIPTION);
        let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
        let then: Saved = serde_json::from_str(&text).map_err(|e| damaged(&path, &e))?;
        let now = self.description();
        let mut differences = Vec::new();
        if then.config != now.config {
            let fields = |config| match serde_json::to_value(config) {
                Ok(serde_json::Value::Object(fields)) => fields,
                _ => unreachable!("a struct of named fields serialises as an object"),
            };
            let (then, now) = (fields(&then.config), fields(&now.config));
            let changed = then.iter().filter(|(name, value)| now.get(*name) != Some(value));
            differences.extend(changed.map(|(name, value)| format!("{name} was {value} and is now {}", now[name])));
        }
        if then.vocabulary != now.vocabulary
            || then.trained_on != now.trained_on
            || then.with_remainder != now.with_remainder
        {
            differences.push(
                "the data, the split or the seed differ (other genes, perturbations, lanes or library sizes)"
                    .to_owned(),
            );
        }
        if differences.is_empty() {
            return Ok(());
        }
        Err(Error::config(format!(
            "cannot resume with another model than that of {}: {}; give the same data and settings, or train anew in \
             another folder",
            path.display(),
            differences.join(", ")
        )))
    }

    fn description(&self) -> Saved {
        Saved {
            format: FORMAT,
            model: KIND.to_owned(),
            genailab: env!("CARGO_PKG_VERSION").to_owned(),
            trained_on: self.trained_on,
            with_remainder: self.with_remainder,
            config: self.config.clone(),
            vocabulary: self.vocabulary.clone(),
        }
    }

    /// Writes the model to a folder: `model.json` and `model.safetensors`.
    ///
    /// # Errors
    /// A folder that cannot be written; nothing is left half-written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        self.save_description(dir)?;
        on_device!(&self.net, net => save_params(net, &dir.join(WEIGHTS)))
    }

    /// Reads a model back from its folder.
    ///
    /// # Errors
    /// No model there, a model of another kind or of a newer format, weights that do not fit.
    pub fn load(dir: &Path, device: Device) -> Result<Self> {
        let path = dir.join(DESCRIPTION);
        let text = std::fs::read_to_string(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::config(format!(
                "{} holds no model (no {DESCRIPTION} there); give the folder that `genailab train --out` wrote",
                dir.display()
            )),
            _ => Error::io("read", &path, e),
        })?;
        let header: Header = serde_json::from_str(&text).map_err(|e| damaged(&path, &e))?;
        if header.model != KIND {
            return Err(Error::config(format!(
                "{} holds a model of kind {:?}, where {KIND:?} was expected",
                path.display(),
                header.model
            )));
        }
        if header.format != FORMAT {
            return Err(Error::config(format!(
                "{} was written in format {}, but this version reads format {FORMAT}; use the genailab that wrote it, \
                 or train again",
                path.display(),
                header.format
            )));
        }
        let saved: Saved = serde_json::from_str(&text).map_err(|e| damaged(&path, &e))?;
        let mut model =
            Self::build(saved.config, saved.vocabulary, saved.trained_on, saved.with_remainder, None, 0, device)?;
        let weights = dir.join(WEIGHTS);
        if !weights.exists() {
            return Err(Error::config(format!(
                "{} has no {WEIGHTS}: its training did not come to its end; finish it with the command that began it \
                 and `--resume`",
                dir.display()
            )));
        }
        on_device!(&mut model.net, net => load_params(net, &weights))?;
        Ok(model)
    }
}

fn damaged(path: &Path, error: &serde_json::Error) -> Error {
    Error::data(format!("{} is damaged or of another tool: {error}; train again", path.display()))
}
