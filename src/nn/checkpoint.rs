//! The tensors of a model apart from it: a [`Snapshot`] in host memory, a [`Checkpoint`] on disk.
//!
//! Early stopping goes back to a snapshot. A checkpoint is a safetensors file that PyTorch's `safetensors.torch.load_file`
//! reads: named f32 tensors and one metadata entry, `genailab`, a JSON object with the format's version and whatever the
//! writer adds. Format: <https://github.com/huggingface/safetensors>.

use super::{
    Backend, Params, Visitor, VisitorMut,
    params::{TensorInfo, host},
};
use crate::{Error, Result, files::write_atomically_with};
use dfdx::prelude::{HasShape, Shape, Tensor};
use safetensors::{Dtype, SafeTensors, tensor::SafeTensorError};
use std::{borrow::Cow, collections::BTreeMap, collections::HashMap, io, path::Path};

/// One tensor in host memory.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    /// Shape, row-major.
    pub shape: Vec<usize>,
    /// Values, row-major; as many as the product of `shape`.
    pub values: Vec<f32>,
}

/// All tensors of a model (weights and buffers) by name, in host memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    tensors: BTreeMap<String, HostTensor>,
}

impl Snapshot {
    /// Copies all tensors of `model`.
    ///
    /// # Errors
    /// Those of the walk over the model's parameters.
    pub fn of<D: Backend, M: Params<D>>(model: &M) -> Result<Self> {
        let mut snapshot = Self::default();
        model.walk("", &mut Take(&mut snapshot))?;
        Ok(snapshot)
    }

    /// Copies the values back into `model`, whose tensors must be these by name and shape, no more and no fewer.
    ///
    /// # Errors
    /// A tensor that is missing here, has another shape, or is not in the model; the model is then unchanged.
    pub fn restore<D: Backend, M: Params<D>>(&self, model: &mut M) -> Result<()> {
        self.check(&super::tensors(model)?)?;
        model.walk_mut("", &mut Put(self))
    }

    /// The tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, HostTensor> {
        &self.tensors
    }

    /// Gives up the tensors, by name.
    pub fn into_tensors(self) -> BTreeMap<String, HostTensor> {
        self.tensors
    }

    /// Adds a tensor, or replaces the one of that name.
    pub fn insert(&mut self, name: impl Into<String>, tensor: HostTensor) {
        self.tensors.insert(name.into(), tensor);
    }

    /// Checks names and shapes against those of a model before anything is overwritten.
    fn check(&self, model: &[TensorInfo]) -> Result<()> {
        const OTHER: &str = "it belongs to another model, other settings or another version";
        for TensorInfo { name, shape, .. } in model {
            match self.tensors.get(name) {
                None => return Err(Error::data(format!("there is no tensor `{name}` of shape {shape:?}: {OTHER}"))),
                Some(saved) if saved.shape != *shape => {
                    return Err(Error::data(format!(
                        "the tensor `{name}` has shape {:?}, where the model has {shape:?}: {OTHER}",
                        saved.shape
                    )));
                }
                Some(_) => {}
            }
        }
        match self.tensors.iter().find(|(name, _)| !model.iter().any(|tensor| tensor.name == **name)) {
            None => Ok(()),
            Some((name, saved)) => Err(Error::data(format!(
                "there is a tensor `{name}` of shape {:?} that the model does not have: {OTHER}",
                saved.shape
            ))),
        }
    }
}

struct Take<'a>(&'a mut Snapshot);

impl<D: Backend> Visitor<D> for Take<'_> {
    fn param<S: Shape>(&mut self, name: &str, tensor: &Tensor<S, f32, D>) -> Result<()> {
        let tensor = HostTensor { shape: tensor.shape().concrete().into(), values: host(tensor) };
        match self.0.tensors.insert(name.to_owned(), tensor) {
            None => Ok(()),
            Some(_) => Err(Error::config(format!("the model names two of its tensors `{name}`"))),
        }
    }
    fn buffer<S: Shape>(&mut self, name: &str, tensor: &Tensor<S, f32, D>) -> Result<()> {
        self.param(name, tensor)
    }
}

struct Put<'a>(&'a Snapshot);

impl<D: Backend> VisitorMut<D> for Put<'_> {
    fn param<S: Shape>(&mut self, name: &str, tensor: &mut Tensor<S, f32, D>) -> Result<()> {
        tensor.copy_from(&self.0.tensors[name].values);
        D::overwritten(tensor);
        Ok(())
    }
    fn buffer<S: Shape>(&mut self, name: &str, tensor: &mut Tensor<S, f32, D>) -> Result<()> {
        self.param(name, tensor)
    }
}

/// Copies all weights and buffers of `from` to `to`, which has the same tensors.
///
/// # Errors
/// Tensors that differ in name or shape; `to` is then unchanged.
pub fn copy_params<D: Backend, M: Params<D>, N: Params<D>>(from: &M, to: &mut N) -> Result<()> {
    Snapshot::of(from)?.restore(to)
}

/// Raised when files of the previous format can no longer be read.
const FORMAT: &str = "1";
/// The metadata entry of the format's version, within [`METADATA`].
const FORMAT_KEY: &str = "format";
/// The one metadata entry of the file. It is one JSON object, sorted by key, because the writer orders several entries
/// at random and the same model should give the same bytes.
const METADATA: &str = "genailab";

/// Named tensors and metadata, as one file holds them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checkpoint {
    /// The tensors by name.
    pub tensors: Snapshot,
    /// Free text by name; the format's version is added when it is written.
    pub metadata: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Adds the tensors of `part` under `prefix/`.
    pub fn add(&mut self, prefix: &str, part: Snapshot) {
        for (name, tensor) in part.into_tensors() {
            self.tensors.insert(format!("{prefix}/{name}"), tensor);
        }
    }

    /// Takes out the tensors that were added under `prefix/`.
    pub fn take(&mut self, prefix: &str) -> Snapshot {
        let start = format!("{prefix}/");
        let mut part = Snapshot::default();
        let mut rest = Snapshot::default();
        for (name, tensor) in std::mem::take(&mut self.tensors).into_tensors() {
            match name.strip_prefix(&start) {
                Some(name) => part.insert(name, tensor),
                None => rest.insert(name, tensor),
            }
        }
        self.tensors = rest;
        part
    }

    /// Writes the file, all or nothing.
    ///
    /// # Errors
    /// A folder that is missing or cannot be written, a full disk; an older file is then unchanged.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut metadata = self.metadata.clone();
        metadata.insert(FORMAT_KEY.to_owned(), FORMAT.to_owned());
        let metadata = serde_json::to_string(&metadata).expect("a map of texts always serialises");
        let metadata = HashMap::from([(METADATA.to_owned(), metadata)]);
        write_atomically_with(path, |_, place| {
            // The names come in the map's order, which safetensors sorts by name again.
            let tensors = self.tensors.tensors().iter().map(|(name, tensor)| (name, View(tensor)));
            safetensors::serialize_to_file(tensors, Some(metadata), place).map_err(|error| match error {
                SafeTensorError::IoError(error) => error,
                other => io::Error::other(other),
            })
        })
    }

    /// Reads a file that [`Self::write`] wrote.
    ///
    /// # Errors
    /// No file there, a truncated or damaged one, one of another tool or of another version of the format.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io("read the checkpoint", path, e))?;
        Self::parse(&bytes).map_err(|e| e.at(path.display()))
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let damaged = |error: SafeTensorError| {
            Error::data(format!(
                "not a whole safetensors file ({error}; it has {} bytes): it was cut off, damaged, or is something \
                 else; copy it again or train again",
                bytes.len()
            ))
        };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
        let metadata = header.metadata().as_ref().and_then(|entries| entries.get(METADATA)).ok_or_else(|| {
            Error::data(format!("a safetensors file, but not one that genailab wrote (no `{METADATA}` metadata)"))
        })?;
        let mut metadata: BTreeMap<String, String> = serde_json::from_str(metadata)
            .map_err(|e| Error::data(format!("the `{METADATA}` metadata is damaged: {e}")))?;
        match metadata.remove(FORMAT_KEY).as_deref() {
            Some(FORMAT) => {}
            other => {
                return Err(Error::data(format!(
                    "written in checkpoint format {}, but this version of genailab reads format {FORMAT}; use the \
                     genailab that wrote it, or train again",
                    other.unwrap_or("(none)")
                )));
            }
        }
        let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
        let mut tensors = Snapshot::default();
        for (name, view) in file.iter() {
            if view.dtype() != Dtype::F32 {
                return Err(Error::data(format!(
                    "the tensor `{name}` holds {:?} numbers, where F32 was expected",
                    view.dtype()
                )));
            }
            let (values, _) = view.data().as_chunks::<4>();
            let values = values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
            tensors.insert(name, HostTensor { shape: view.shape().to_vec(), values });
        }
        Ok(Self { tensors, metadata })
    }
}

/// Writes all tensors of `model` to a safetensors file, all or nothing.
///
/// # Errors
/// A folder that is missing or cannot be written, a full disk; an older file is then unchanged.
pub fn save_params<D: Backend, M: Params<D>>(model: &M, path: &Path) -> Result<()> {
    Checkpoint { tensors: Snapshot::of(model)?, metadata: BTreeMap::new() }.write(path)
}

/// Reads all tensors of `model` from a safetensors file that [`save_params`] wrote.
///
/// # Errors
/// As [`Checkpoint::read`]; tensors that are not those of `model` by name and shape. The model is then unchanged.
pub fn load_params<D: Backend, M: Params<D>>(model: &mut M, path: &Path) -> Result<()> {
    Checkpoint::read(path)?.tensors.restore(model).map_err(|e| e.at(path.display()))
}

struct View<'a>(&'a HostTensor);

impl safetensors::View for View<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }
    fn shape(&self) -> &[usize] {
        &self.0.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.0.values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }
    fn data_len(&self) -> usize {
        self.0.values.len() * size_of::<f32>()
    }
}
