//! A saved model of cells: `model.json` says what it is, `model.safetensors` holds its weights.

use super::{
    cell_jepa::{CellJepa, on_device},
    config::CellJepaConfig,
};
use crate::{
    Error, ErrorKind, Result,
    device::Device,
    files::write_atomically,
    nn::{load_params, save_params},
};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Raised when a saved model of the version before could not be read any more.
const FORMAT: u32 = 1;
const KIND: &str = "cell-jepa";
const DESCRIPTION: &str = "model.json";
const WEIGHTS: &str = "model.safetensors";

/// The content of `model.json`.
#[derive(Serialize, Deserialize)]
struct Saved {
    format: u32,
    model: String,
    /// The version of this library that wrote it.
    genailab: String,
    config: CellJepaConfig,
    genes: Vec<String>,
}

/// What must be right before the rest of `model.json` is read.
#[derive(Deserialize)]
struct Header {
    format: u32,
    model: String,
}

impl CellJepa {
    /// Writes what the model is, without weights, to `dir/model.json`: an interrupted training can then be resumed.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn save_description(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).map_err(|e| Error::io("create the folder", dir, e))?;
        let saved = Saved {
            format: FORMAT,
            model: KIND.to_owned(),
            genailab: env!("CARGO_PKG_VERSION").to_owned(),
            config: self.config.clone(),
            genes: self.genes.clone(),
        };
        let text = serde_json::to_string_pretty(&saved).expect("names and numbers always serialise");
        write_atomically(&dir.join(DESCRIPTION), text.as_bytes())
    }

    /// Writes the model to a folder: `model.json` and `model.safetensors`.
    ///
    /// # Errors
    /// A model whose training failed (a collapse): its weights are no good; a folder that cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        if let Some(failure) = &self.failure {
            return Err(Error::new(
                ErrorKind::Numeric,
                format!("this model is not saved, because its training failed: {failure}"),
            ));
        }
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
            std::io::ErrorKind::NotFound => {
                Error::config(format!("{} holds no model (no {DESCRIPTION} there)", dir.display()))
            }
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
        let weights = dir.join(WEIGHTS);
        if !weights.exists() {
            return Err(Error::config(format!(
                "{} has no {WEIGHTS}: its training did not come to its end",
                dir.display()
            )));
        }
        let mut model = Self::build(saved.config, saved.genes, 0, device)?;
        on_device!(&mut model.net, net => load_params(net, &weights))?;
        Ok(model)
    }
}

fn damaged(path: &Path, error: &serde_json::Error) -> Error {
    Error::data(format!("{} is damaged or of another tool: {error}; train again", path.display()))
}
