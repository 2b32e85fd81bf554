//! Weights that are kept and saved, but not trained: a teacher's.

use super::{Backend, Params, Visitor, VisitorMut};
use crate::Result;
use dfdx::prelude::{Shape, Tensor};

/// A model that is saved but not trained: all its weights are walked as buffers.
#[derive(Debug, Clone)]
pub struct Frozen<M>(pub M);

struct AsBuffers<'a, V>(&'a mut V);

impl<D: Backend, V: Visitor<D>> Visitor<D> for AsBuffers<'_, V> {
    fn param<S: Shape>(&mut self, name: &str, tensor: &Tensor<S, f32, D>) -> Result<()> {
        self.0.buffer(name, tensor)
    }
    fn buffer<S: Shape>(&mut self, name: &str, tensor: &Tensor<S, f32, D>) -> Result<()> {
        self.0.buffer(name, tensor)
    }
}

impl<D: Backend, V: VisitorMut<D>> VisitorMut<D> for AsBuffers<'_, V> {
    fn param<S: Shape>(&mut self, name: &str, tensor: &mut Tensor<S, f32, D>) -> Result<()> {
        self.0.buffer(name, tensor)
    }
    fn buffer<S: Shape>(&mut self, name: &str, tensor: &mut Tensor<S, f32, D>) -> Result<()> {
        self.0.buffer(name, tensor)
    }
}

impl<D: Backend, M: Params<D>> Params<D> for Frozen<M> {
    fn walk<V: Visitor<D>>(&self, path: &str, visitor: &mut V) -> Result<()> {
        self.0.walk(path, &mut AsBuffers(visitor))
    }
    fn walk_mut<V: VisitorMut<D>>(&mut self, path: &str, visitor: &mut V) -> Result<()> {
        self.0.walk_mut(path, &mut AsBuffers(visitor))
    }
}
