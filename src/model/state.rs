//! A model as data, and the one saver and loader of all models.
//!
//! ```text
//! DIR/model.json           format, kind, description, and the shape of every array
//! DIR/model.safetensors    the arrays, in single precision
//! DIR/PART/                a model that this one is made of, in the same form
//! ```

use crate::{
    Error, Result,
    files::write_atomically,
    nn::{Backend, Checkpoint, HostTensor, Params, Snapshot},
};
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Raised when saved models of the version before could not be read any more.
const FORMAT: u32 = 5;
const DESCRIPTION: &str = "model.json";
/// The file of a finished model's arrays.
pub const WEIGHTS: &str = "model.safetensors";

/// The note of what is trained, beside the checkpoint.
pub(super) const BEGINNING: &str = "training.json";

/// Names of earlier versions, and what to use in their place.
const RENAMED: [(&str, &str); 6] = [
    ("count-vae", "it is called vae"),
    ("jepa-sets", "it is called jepa"),
    ("jepa-pairs", "it is called jepa"),
    ("cell-jepa", "it is phase A of jepa, `genailab train --model jepa --phase a`"),
    ("effect-diffusion", "it is called diffusion"),
    ("latent-diffusion", "it is called diffusion"),
];

/// A model as data: a description, named arrays, and the models that it is made of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    description: Value,
    arrays: Snapshot,
    parts: BTreeMap<String, (String, State)>,
}

/// The content of `model.json`.
#[derive(Serialize, Deserialize)]
struct Description {
    format: u32,
    model: String,
    /// The version of this library that wrote it.
    genailab: String,
    description: Value,
    /// Shape of each array in the file of arrays.
    arrays: BTreeMap<String, Vec<usize>>,
    /// The kind of each part, by the name of its folder.
    #[serde(default)]
    parts: BTreeMap<String, String>,
}

impl State {
    /// A state with this description and no arrays yet.
    pub fn new(description: &impl Serialize) -> Self {
        let description = serde_json::to_value(description).expect("names and numbers always serialise");
        Self { description, ..Self::default() }
    }

    /// Adds the weights of a network under `name/`.
    ///
    /// # Errors
    /// Those of the network's walk.
    pub fn with_network<D: Backend>(mut self, name: &str, network: &impl Params<D>) -> Result<Self> {
        for (tensor, values) in Snapshot::of(network)?.into_tensors() {
            self.arrays.insert(format!("{name}/{tensor}"), values);
        }
        Ok(self)
    }

    /// Adds an array `(rows, columns)`.
    pub fn with_array(mut self, name: &str, array: &Array2<f64>) -> Self {
        let values = array.iter().map(|&value| value as f32).collect();
        self.arrays.insert(name, HostTensor { shape: array.shape().to_vec(), values });
        self
    }

    /// Adds a vector.
    pub fn with_vector(mut self, name: &str, vector: &Array1<f64>) -> Self {
        let values = vector.iter().map(|&value| value as f32).collect();
        self.arrays.insert(name, HostTensor { shape: vec![vector.len()], values });
        self
    }

    /// Adds vectors of one length as the rows of an array; `columns` is that length.
    pub fn with_rows<'a>(self, name: &str, columns: usize, rows: impl IntoIterator<Item = &'a Array1<f64>>) -> Self {
        let mut array = Array2::zeros((0, columns));
        rows.into_iter().for_each(|row| array.push_row(row.view()).expect("rows are of one length"));
        self.with_array(name, &array)
    }

    /// Adds a model that this one is made of.
    pub fn with_part(mut self, name: &str, kind: &str, part: State) -> Self {
        self.parts.insert(name.to_owned(), (kind.to_owned(), part));
        self
    }

    /// Reads the description.
    ///
    /// # Errors
    /// It is not that of such a model.
    pub fn description<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_value(self.description.clone())
            .map_err(|e| Error::data(format!("{DESCRIPTION} is damaged or was edited: {e}; train again")))
    }

    /// Fills a network with the weights that were added under `name/`.
    ///
    /// # Errors
    /// Weights that are missing or have other shapes; the network is then unchanged.
    pub fn fill<D: Backend>(&self, name: &str, network: &mut impl Params<D>) -> Result<()> {
        let start = format!("{name}/");
        let mut own = Snapshot::default();
        for (tensor, values) in self.arrays.tensors() {
            if let Some(tensor) = tensor.strip_prefix(&start) {
                own.insert(tensor, values.clone());
            }
        }
        own.restore(network)
    }

    /// Takes an array `(rows, columns)`; `None` for a side that may have any length.
    ///
    /// # Errors
    /// It is missing, or has another shape.
    pub fn array(&self, name: &str, rows: Option<usize>, columns: Option<usize>) -> Result<Array2<f64>> {
        let tensor = self.tensor(name)?;
        let fits = |wanted: Option<usize>, found: usize| wanted.is_none_or(|wanted| wanted == found);
        let [found_rows, found_columns] = tensor.shape[..] else {
            return Err(misfit(name, &tensor.shape, "two dimensions"));
        };
        if !fits(rows, found_rows) || !fits(columns, found_columns) {
            let side = |side: Option<usize>| side.map_or("any".to_owned(), |n| n.to_string());
            return Err(misfit(name, &tensor.shape, &format!("({}, {})", side(rows), side(columns))));
        }
        let values = tensor.values.iter().map(|&value| f64::from(value)).collect();
        Array2::from_shape_vec((found_rows, found_columns), values)
            .map_err(|_| misfit(name, &tensor.shape, "as many values as its shape says"))
    }

    /// Takes a vector of this length.
    ///
    /// # Errors
    /// It is missing, or has another length.
    pub fn vector(&self, name: &str, length: usize) -> Result<Array1<f64>> {
        let tensor = self.tensor(name)?;
        if tensor.shape != [length] {
            return Err(misfit(name, &tensor.shape, &format!("({length},)")));
        }
        Ok(tensor.values.iter().map(|&value| f64::from(value)).collect())
    }

    /// Takes a model that this one is made of.
    ///
    /// # Errors
    /// There is none of this name, or it is of another kind.
    pub fn part(&mut self, name: &str, kind: &str) -> Result<State> {
        match self.parts.remove(name) {
            Some((found, part)) if found == kind => Ok(part),
            Some((found, _)) => Err(Error::data(format!("its part `{name}` is a {found}, not a {kind}; train again"))),
            None => Err(Error::data(format!("its part `{name}` is missing; train again"))),
        }
    }

    /// Whether there is a part of this name.
    pub fn has_part(&self, name: &str) -> bool {
        self.parts.contains_key(name)
    }

    /// Number of values in all arrays, those of its parts included.
    pub fn n_values(&self) -> usize {
        let own: usize = self.arrays.tensors().values().map(|tensor| tensor.values.len()).sum();
        own + self.parts.values().map(|(_, part)| part.n_values()).sum::<usize>()
    }

    fn tensor(&self, name: &str) -> Result<&HostTensor> {
        self.arrays
            .tensors()
            .get(name)
            .ok_or_else(|| Error::data(format!("the array `{name}` is missing; copy the whole folder, or train again")))
    }

    /// Writes the model to a folder, made if it is not there. The description goes last: a folder with a description
    /// and arrays is whole.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn write(&self, dir: &Path, kind: &str) -> Result<()> {
        std::fs::create_dir_all(dir).map_err(|e| Error::io("create the folder", dir, e))?;
        for (name, (kind, part)) in &self.parts {
            part.write(&dir.join(name), kind)?;
        }
        let arrays = self.arrays.tensors().iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect();
        Checkpoint { tensors: self.arrays.clone(), metadata: BTreeMap::new() }.write(&dir.join(WEIGHTS))?;
        let description = Description {
            format: FORMAT,
            model: kind.to_owned(),
            genailab: env!("CARGO_PKG_VERSION").to_owned(),
            description: self.description.clone(),
            arrays,
            parts: self.parts.iter().map(|(name, (kind, _))| (name.clone(), kind.clone())).collect(),
        };
        let text = serde_json::to_string_pretty(&description).expect("names and numbers always serialise");
        write_atomically(&dir.join(DESCRIPTION), text.as_bytes())
    }

    /// Reads a model of this kind, and checks the shape of every array against the description.
    ///
    /// # Errors
    /// No model there, one of another kind or version; a damaged file; arrays that are not those of the description.
    pub fn read(dir: &Path, kind: &str) -> Result<Self> {
        let path = dir.join(DESCRIPTION);
        let found = describe(dir)?;
        if found.model != kind {
            return Err(Error::config(format!(
                "{} holds a model of kind {:?}, where {kind:?} was expected",
                path.display(),
                found.model
            )));
        }
        let weights = dir.join(WEIGHTS);
        if !weights.exists() {
            return Err(unfinished(dir));
        }
        let arrays = Checkpoint::read(&weights)?.tensors;
        check_shapes(&found.arrays, &arrays).map_err(|e| e.at(weights.display()))?;
        let part = |(name, kind): (String, String)| {
            if !is_plain_name(&name) {
                return Err(Error::data(format!("{}: {name:?} is no name of a folder in it", path.display())));
            }
            let part = Self::read(&dir.join(&name), &kind)?;
            Ok((name, (kind, part)))
        };
        let parts = found.parts.into_iter().map(part).collect::<Result<_>>()?;
        Ok(Self { description: found.description, arrays, parts })
    }
}

/// What to use in place of the name that a model had in earlier versions.
fn renamed(name: &str) -> Option<&'static str> {
    RENAMED.iter().find(|(old, _)| *old == name).map(|(_, instead)| *instead)
}

/// Refuses the name that a model had in earlier versions.
///
/// # Errors
/// The name was one; the message says what to use.
pub(crate) fn check_renamed(name: &str) -> Result<()> {
    match renamed(name) {
        Some(instead) => Err(Error::config(format!("there is no model {name:?} any more: {instead}"))),
        None => Ok(()),
    }
}

/// Whether a training was begun in a folder.
pub(super) fn has_begun(dir: &Path) -> bool {
    dir.join(BEGINNING).exists()
}

/// The kind of the model in a folder: [`Model::KIND`](super::Model::KIND).
///
/// # Errors
/// No model there; a description that is damaged or of another version.
pub fn saved_kind(dir: &Path) -> Result<String> {
    Ok(describe(dir)?.model)
}

fn describe(dir: &Path) -> Result<Description> {
    #[derive(Deserialize)]
    struct Header {
        format: u32,
        model: String,
    }
    let path: PathBuf = dir.join(DESCRIPTION);
    let damaged = |error: &serde_json::Error| {
        Error::data(format!("{} is damaged or of another tool: {error}; train again", path.display()))
    };
    let text = std::fs::read_to_string(&path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound if has_begun(dir) => unfinished(dir),
        std::io::ErrorKind::NotFound => Error::config(format!(
            "{} holds no model (no {DESCRIPTION} there); give the folder that `genailab train --out` wrote",
            dir.display()
        )),
        _ => Error::io("read", &path, e),
    })?;
    let header: Header = serde_json::from_str(&text).map_err(|e| damaged(&e))?;
    if header.format != FORMAT {
        let renamed = renamed(&header.model).map_or(String::new(), |now| format!(" ({now})"));
        return Err(Error::config(format!(
            "{} was written in format {}{renamed}, but this version reads format {FORMAT}; use the genailab that wrote it, \
             or train again",
            path.display(),
            header.format
        )));
    }
    serde_json::from_str(&text).map_err(|e| damaged(&e))
}

fn unfinished(dir: &Path) -> Error {
    Error::config(format!(
        "{} has no {WEIGHTS}: its training did not come to its end; finish it with the command that began it and `--resume`",
        dir.display()
    ))
}

/// A part is in a folder directly below its model's.
fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

fn check_shapes(described: &BTreeMap<String, Vec<usize>>, arrays: &Snapshot) -> Result<()> {
    for (name, shape) in described {
        match arrays.tensors().get(name) {
            None => return Err(Error::data(format!("the array `{name}` that {DESCRIPTION} lists is missing"))),
            Some(found) if found.shape != *shape => return Err(misfit(name, &found.shape, &format!("{shape:?}"))),
            Some(_) => {}
        }
    }
    match arrays.tensors().keys().find(|name| !described.contains_key(*name)) {
        Some(name) => Err(Error::data(format!("there is an array `{name}` that {DESCRIPTION} does not list"))),
        None => Ok(()),
    }
}

fn misfit(name: &str, found: &[usize], expected: &str) -> Error {
    Error::data(format!(
        "the array `{name}` has shape {found:?}, where {DESCRIPTION} asks for {expected}: the folder mixes two models or was \
         edited; train again"
    ))
}
