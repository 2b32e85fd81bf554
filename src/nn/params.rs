//! The parameter walk: every named tensor of a model, in a fixed order.
//!
//! The optimizer, EMA, checkpoints and counting all hang on this one walk.

use super::Backend;
use crate::Result;
use dfdx::prelude::{Shape, Tensor};

/// What is done with each tensor of a model, read only.
pub trait Visitor<D: Backend> {
    /// A trained weight.
    fn param<S: Shape>(&mut self, name: &str, tensor: &Tensor<S, f32, D>) -> Result<()>;
    /// A tensor that is saved but not trained (running statistics). Does nothing unless overridden.
    fn buffer<S: Shape>(&mut self, name: &str, tensor: &Tensor<S, f32, D>) -> Result<()> {
        let _ = (name, tensor);
        Ok(())
    }
}

/// What is done with each tensor of a model, in place.
pub trait VisitorMut<D: Backend> {
    /// A trained weight.
    fn param<S: Shape>(&mut self, name: &str, tensor: &mut Tensor<S, f32, D>) -> Result<()>;
    /// A tensor that is saved but not trained. Does nothing unless overridden.
    fn buffer<S: Shape>(&mut self, name: &str, tensor: &mut Tensor<S, f32, D>) -> Result<()> {
        let _ = (name, tensor);
        Ok(())
    }
}

/// A layer or model whose tensors can be walked. Names are paths: `encoder.0.weight`.
pub trait Params<D: Backend> {
    /// Visits every tensor, read only, in a fixed order.
    fn walk<V: Visitor<D>>(&self, path: &str, visitor: &mut V) -> Result<()>;
    /// Visits every tensor, in place, in the same order.
    fn walk_mut<V: VisitorMut<D>>(&mut self, path: &str, visitor: &mut V) -> Result<()>;
}

/// Implements [`Params`] for a struct `Name<D>`: fields under `params` are trained, those under `buffers` only saved,
/// those under `layers` walk themselves.
macro_rules! walk_params {
    ($name:ident { params: [$($p:ident),*], buffers: [$($b:ident),*], layers: [$($l:ident),*] }) => {
        impl<D: $crate::nn::Backend> $crate::nn::Params<D> for $name<D> {
            #[allow(unused_variables)]
            fn walk<V: $crate::nn::Visitor<D>>(&self, path: &str, visitor: &mut V) -> $crate::Result<()> {
                $(visitor.param(&$crate::nn::join(path, stringify!($p)), &self.$p)?;)*
                $(visitor.buffer(&$crate::nn::join(path, stringify!($b)), &self.$b)?;)*
                $(self.$l.walk(&$crate::nn::join(path, stringify!($l)), visitor)?;)*
                Ok(())
            }
            #[allow(unused_variables)]
            fn walk_mut<V: $crate::nn::VisitorMut<D>>(&mut self, path: &str, visitor: &mut V) -> $crate::Result<()> {
                $(visitor.param(&$crate::nn::join(path, stringify!($p)), &mut self.$p)?;)*
                $(visitor.buffer(&$crate::nn::join(path, stringify!($b)), &mut self.$b)?;)*
                $(self.$l.walk_mut(&$crate::nn::join(path, stringify!($l)), visitor)?;)*
                Ok(())
            }
        }
    };
}
pub(crate) use walk_params;

/// `path.field`, or `field` at the top.
pub(crate) fn join(path: &str, field: impl std::fmt::Display) -> String {
    if path.is_empty() { field.to_string() } else { format!("{path}.{field}") }
}

impl<D: Backend, P: Params<D>> Params<D> for Vec<P> {
    fn walk<V: Visitor<D>>(&self, path: &str, visitor: &mut V) -> Result<()> {
        self.iter().enumerate().try_for_each(|(i, layer)| layer.walk(&join(path, i), visitor))
    }
    fn walk_mut<V: VisitorMut<D>>(&mut self, path: &str, visitor: &mut V) -> Result<()> {
        self.iter_mut().enumerate().try_for_each(|(i, layer)| layer.walk_mut(&join(path, i), visitor))
    }
}

impl<D: Backend, P: Params<D>> Params<D> for Option<P> {
    fn walk<V: Visitor<D>>(&self, path: &str, visitor: &mut V) -> Result<()> {
        self.iter().try_for_each(|layer| layer.walk(path, visitor))
    }
    fn walk_mut<V: VisitorMut<D>>(&mut self, path: &str, visitor: &mut V) -> Result<()> {
        self.iter_mut().try_for_each(|layer| layer.walk_mut(path, visitor))
    }
}
