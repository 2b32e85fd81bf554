//! A copy of all tensors of a model in host memory: what checkpoints save and what early stopping goes back to.

use super::{
    Backend, Params, Visitor, VisitorMut,
    params::{TensorInfo, host},
};
use crate::{Error, Result};
use dfdx::prelude::{HasShape, Shape, Tensor};
use std::collections::BTreeMap;

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
    /// None of its own; those of the model's walk.
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

    /// The tensors by name, each for the taking.
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
        Ok(())
    }
    fn buffer<S: Shape>(&mut self, name: &str, tensor: &mut Tensor<S, f32, D>) -> Result<()> {
        self.param(name, tensor)
    }
}

/// Copies all weights and buffers of `from` to `to`, a model of the same make.
///
/// # Errors
/// Tensors that differ in name or shape; `to` is then unchanged.
pub fn copy_params<D: Backend, M: Params<D>, N: Params<D>>(from: &M, to: &mut N) -> Result<()> {
    Snapshot::of(from)?.restore(to)
}
