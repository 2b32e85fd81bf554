//! The parameter walk: every named tensor of a model, in a fixed order.
//!
//! The optimizer, EMA, checkpoints and counting all hang on this one walk.

use super::Backend;
use crate::{Error, ErrorKind, Result};
use dfdx::prelude::{HasShape, Shape, Tensor};

/// Visits each tensor of a model, read only.
pub trait Visitor<D: Backend> {
    /// A trained weight.
    fn param<S: Shape>(&mut self, name: &str, tensor: &Tensor<S, f32, D>) -> Result<()>;
    /// A tensor that is saved but not trained (running statistics). Does nothing unless overridden.
    fn buffer<S: Shape>(&mut self, name: &str, tensor: &Tensor<S, f32, D>) -> Result<()> {
        let _ = (name, tensor);
        Ok(())
    }
}

/// Visits each tensor of a model, in place.
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
/// those under `layers` walk themselves. With the other fields, if there are any, under `kept` (and `device_field`), it also
/// implements [`Movable`](super::Movable); networks and tensors that are not saved are among the fields under `moved`.
macro_rules! walk_params {
    ($name:ident {
        params: [$($p:ident),*], buffers: [$($b:ident),*], layers: [$($l:ident),*]
        $(, moved: [$($m:ident),*])? $(, kept: [$($k:ident),*])? $(, device_field: $d:ident)?
    }) => {
        $crate::nn::movable!($name {
            moved: [$($p,)* $($b,)* $($l,)* $($($m),*)?], kept: [$($($k),*)?] $(, device_field: $d)?
        });

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

impl<D: Backend, P: Params<D>, const N: usize> Params<D> for [P; N] {
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

/// A weight that stands on its own, such as the dispersions of the genes.
impl<D: Backend, S: Shape> Params<D> for Tensor<S, f32, D> {
    fn walk<V: Visitor<D>>(&self, path: &str, visitor: &mut V) -> Result<()> {
        visitor.param(path, self)
    }
    fn walk_mut<V: VisitorMut<D>>(&mut self, path: &str, visitor: &mut V) -> Result<()> {
        visitor.param(path, self)
    }
}

/// A tuple of parts is a model too, its parts named by their places: enough for a network of one's own in a notebook.
macro_rules! walk_tuple {
    ($($part:ident $place:tt),*) => {
        impl<D: Backend, $($part: Params<D>),*> Params<D> for ($($part,)*) {
            fn walk<V: Visitor<D>>(&self, path: &str, visitor: &mut V) -> Result<()> {
                $(self.$place.walk(&join(path, $place), visitor)?;)*
                Ok(())
            }
            fn walk_mut<V: VisitorMut<D>>(&mut self, path: &str, visitor: &mut V) -> Result<()> {
                $(self.$place.walk_mut(&join(path, $place), visitor)?;)*
                Ok(())
            }
        }
    };
}
walk_tuple!(A 0, B 1);
walk_tuple!(A 0, B 1, C 2);
walk_tuple!(A 0, B 1, C 2, E 3);

/// Name, shape and kind of one tensor of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Path, such as `encoder.0.weight`.
    pub name: String,
    /// Shape, row-major.
    pub shape: Vec<usize>,
    /// Whether it is trained (a weight), or only saved (a buffer).
    pub trained: bool,
}

impl TensorInfo {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Every tensor of a model, in the order of the walk.
///
/// # Errors
/// Those of the walk over the model's parameters.
pub fn tensors<D: Backend, M: Params<D>>(model: &M) -> Result<Vec<TensorInfo>> {
    struct List(Vec<TensorInfo>);
    impl List {
        fn add<S: Shape>(&mut self, name: &str, shape: &S, trained: bool) {
            self.0.push(TensorInfo { name: name.to_owned(), shape: shape.concrete().into(), trained });
        }
    }
    impl<D: Backend> Visitor<D> for List {
        fn param<S: Shape>(&mut self, name: &str, tensor: &Tensor<S, f32, D>) -> Result<()> {
            self.add(name, tensor.shape(), true);
            Ok(())
        }
        fn buffer<S: Shape>(&mut self, name: &str, tensor: &Tensor<S, f32, D>) -> Result<()> {
            self.add(name, tensor.shape(), false);
            Ok(())
        }
    }
    let mut list = List(Vec::new());
    model.walk("", &mut list)?;
    Ok(list.0)
}

/// Number of trained weights of a model.
///
/// # Errors
/// Those of the walk over the model's parameters.
pub fn count_params<D: Backend, M: Params<D>>(model: &M) -> Result<usize> {
    Ok(tensors(model)?.iter().filter(|tensor| tensor.trained).map(TensorInfo::len).sum())
}

/// Checks that every weight and buffer is a finite number.
///
/// # Errors
/// [`ErrorKind::Numeric`](crate::ErrorKind::Numeric), naming the first tensor that is not, and the element.
pub fn check_finite<D: Backend, M: Params<D>>(model: &M) -> Result<()> {
    struct Finite;
    impl<D: Backend> Visitor<D> for Finite {
        fn param<S: Shape>(&mut self, name: &str, tensor: &Tensor<S, f32, D>) -> Result<()> {
            let values = host(tensor);
            match values.iter().position(|value| !value.is_finite()) {
                None => Ok(()),
                Some(at) => Err(Error::new(
                    ErrorKind::Numeric,
                    format!("`{name}` of shape {:?} holds {} at element {at}", tensor.shape().concrete(), values[at]),
                )),
            }
        }
        fn buffer<S: Shape>(&mut self, name: &str, tensor: &Tensor<S, f32, D>) -> Result<()> {
            self.param(name, tensor)
        }
    }
    model.walk("", &mut Finite)
}

/// The values of a tensor, row-major, in host memory.
pub(crate) fn host<D: Backend, S: Shape>(tensor: &Tensor<S, f32, D>) -> Vec<f32> {
    let mut values = vec![0.0; tensor.shape().num_elements()];
    tensor.copy_into(&mut values);
    values
}

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
