//! What a user writes to name a prediction file: `[NAME=]FILE[:KIND][:layer=NAME|:obsm=NAME][:column=NAME]`.

use super::PredictionKind;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Where in the file the predictions are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PredictionMatrix {
    /// `X`.
    #[default]
    X,
    /// A layer.
    Layer(String),
    /// An array of `obsm` with one column per gene of `var`, in its order.
    Obsm(String),
}

/// A prediction file, and what the user says of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PredictionSource {
    /// The name of its model; without it, the name of the file without its ending.
    pub name: Option<String>,
    /// The `.h5ad` file.
    pub file: PathBuf,
    /// What its rows are, where the file does not say.
    pub kind: Option<PredictionKind>,
    /// Which of its matrices holds the predictions.
    pub matrix: PredictionMatrix,
    /// The column of `obs` that names perturbations; found by its usual names if not given.
    pub column: Option<String>,
}

impl PredictionSource {
    /// Reads `[NAME=]FILE[:KIND][:layer=NAME|:obsm=NAME][:column=NAME]`, in any order after the file. The path itself may
    /// hold a `=` or a `:`: what exists as a file is one.
    ///
    /// # Errors
    /// Something after a colon that is none of these, where the file before it exists.
    pub fn parse(given: &str) -> Result<Self> {
        let mut source = Self::default();
        let mut rest = given;
        while !exists(rest) {
            let Some((file, option)) = rest.rsplit_once(':') else { break };
            if !source.set(option) {
                // A colon of a path that is not there stays with the path, so that the message names it whole.
                if exists(file) {
                    return Err(Error::config(format!(
                        "{given}: {option:?} after the file is none of effects, profiles, cells, layer=NAME, obsm=NAME and \
                         column=NAME"
                    )));
                }
                break;
            }
            rest = file;
        }
        let (name, file) = named(rest);
        source.name = name.map(str::to_owned);
        source.file = PathBuf::from(file);
        Ok(source)
    }

    /// Takes one option; whether it is one.
    fn set(&mut self, option: &str) -> bool {
        match option.split_once('=') {
            Some(("layer", name)) => self.matrix = PredictionMatrix::Layer(name.to_owned()),
            Some(("obsm", name)) => self.matrix = PredictionMatrix::Obsm(name.to_owned()),
            Some(("column", name)) => self.column = Some(name.to_owned()),
            Some(_) => return false,
            None => match option.parse() {
                Ok(kind) => self.kind = Some(kind),
                Err(_) => return false,
            },
        }
        true
    }

    /// The name that the model has in tables.
    pub fn model(&self) -> String {
        let stem = || self.file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        self.name.clone().unwrap_or_else(stem)
    }
}

fn exists(given: &str) -> bool {
    Path::new(given).exists() || Path::new(named(given).1).exists()
}

/// Cuts `NAME=` off, unless the whole is a file.
fn named(given: &str) -> (Option<&str>, &str) {
    match given.split_once('=') {
        Some((name, file)) if !name.is_empty() && !name.contains(['/', ':']) && !Path::new(given).exists() => {
            (Some(name), file)
        }
        _ => (None, given),
    }
}
