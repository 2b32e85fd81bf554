//! Exponential moving average of a model's weights: `average <- momentum * average + (1 - momentum) * weight`.
//!
//! A teacher network follows its student this way (BYOL, Grill et al. 2020; I-JEPA, Assran et al. 2023), and an averaged
//! model samples better than the last one (diffusion models). Buffers are not averaged but copied.

use super::{Backend, Params, Vector, Visitor, VisitorMut};
use crate::{Error, Result};
use dfdx::prelude::{HasShape, ReshapeTo, Shape, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How the momentum changes during training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum EmaMomentum {
    /// The same at every step.
    Constant {
        /// At least 0 and at most 1.
        momentum: f64,
    },
    /// From `from` at the first step to 1 at the last: `1 - (1 - from) (cos(pi step / total) + 1) / 2` (Grill et al.
    /// 2020, section 3).
    Cosine {
        /// At least 0 and at most 1.
        from: f64,
    },
    /// From `from` at the first step to 1 at the last along a line, as I-JEPA's code has it (Assran et al. 2023: 0.996).
    /// Where `from` would be slow for so few steps, it starts lower: at the momentum that forgets half in 2 % of them.
    Ramp {
        /// At least 0 and at most 1.
        from: f64,
    },
}

/// Largest half-life at the start of a ramp, as a share of all steps.
const HALF_LIFE: f64 = 0.02;

impl Default for EmaMomentum {
    /// BYOL's: a cosine from 0.996 to 1.
    fn default() -> Self {
        Self::Cosine { from: 0.996 }
    }
}

impl EmaMomentum {
    /// I-JEPA's: a line from 0.996 to 1.
    pub fn ramp() -> Self {
        Self::Ramp { from: 0.996 }
    }

    /// The momentum of `step` (from 0) of `total` steps.
    pub fn at(&self, step: usize, total: usize) -> f64 {
        match *self {
            Self::Constant { momentum } => momentum,
            Self::Ramp { from } => {
                let total = total.max(1) as f64;
                let from = from.min(0.5_f64.powf(1.0 / (HALF_LIFE * total)));
                from + (1.0 - from) * (step as f64 / total).min(1.0)
            }
            Self::Cosine { from } => {
                let progress = step.min(total) as f64 / total.max(1) as f64;
                1.0 - (1.0 - from) * ((std::f64::consts::PI * progress).cos() + 1.0) / 2.0
            }
        }
    }
}

/// Moves the weights of `average` towards those of `model`, which has the same tensors; buffers are copied.
///
/// # Errors
/// Models whose tensors differ in name or size.
pub fn ema_update<D: Backend, M: Params<D>, N: Params<D>>(average: &mut M, model: &N, momentum: f64) -> Result<()> {
    average.walk_mut("", &mut Follow { values: Flat::of(model)?, momentum })
}

/// The averaged weights and buffers of one model, kept beside it.
pub struct Ema<D: Backend> {
    average: BTreeMap<String, Vector<D>>,
}

impl<D: Backend> Ema<D> {
    /// An average that begins at the weights of `model`.
    ///
    /// # Errors
    /// Those of the walk over the model's parameters.
    pub fn new<M: Params<D>>(model: &M) -> Result<Self> {
        Ok(Self { average: Flat::of(model)?.0 })
    }

    /// Takes in the weights that `model` has now.
    ///
    /// # Errors
    /// A model whose tensors are not those that the average began with.
    pub fn update<M: Params<D>>(&mut self, model: &M, momentum: f64) -> Result<()> {
        let values = Flat::of(model)?;
        if values.0.len() != self.average.len() {
            return Err(Error::config(format!(
                "moving average: the model has {} tensors, the average {}",
                values.0.len(),
                self.average.len()
            )));
        }
        let mut follow = Follow { values, momentum };
        self.average.iter_mut().try_for_each(|(name, average)| {
            if follow.values.1.contains(name) {
                VisitorMut::<D>::param(&mut follow, name, average)
            } else {
                VisitorMut::<D>::buffer(&mut follow, name, average)
            }
        })
    }

    /// Exchanges the model's tensors with the averaged ones: once to use the average, once more to go on training.
    ///
    /// # Errors
    /// A model whose tensors are not those that the average began with.
    pub fn swap<M: Params<D>>(&mut self, model: &mut M) -> Result<()> {
        model.walk_mut("", &mut Swap(&mut self.average))
    }
}

/// The tensors of a model as vectors that share their memory, and the names of those that are trained.
struct Flat<D: Backend>(BTreeMap<String, Vector<D>>, Vec<String>);

impl<D: Backend> Flat<D> {
    fn of<M: Params<D>>(model: &M) -> Result<Self> {
        let mut flat = Self(BTreeMap::new(), Vec::new());
        model.walk("", &mut flat)?;
        flat.1.sort_unstable();
        Ok(flat)
    }
}

impl<D: Backend> Visitor<D> for Flat<D> {
    fn param<S: Shape>(&mut self, name: &str, tensor: &Tensor<S, f32, D>) -> Result<()> {
        self.1.push(name.to_owned());
        self.buffer(name, tensor)
    }
    fn buffer<S: Shape>(&mut self, name: &str, tensor: &Tensor<S, f32, D>) -> Result<()> {
        self.0.insert(name.to_owned(), flatten(tensor)?);
        Ok(())
    }
}

struct Follow<D: Backend> {
    values: Flat<D>,
    momentum: f64,
}

impl<D: Backend> VisitorMut<D> for Follow<D> {
    fn param<S: Shape>(&mut self, name: &str, tensor: &mut Tensor<S, f32, D>) -> Result<()> {
        D::blend(tensor, counterpart(&self.values.0, name, tensor)?, self.momentum)
    }
    fn buffer<S: Shape>(&mut self, name: &str, tensor: &mut Tensor<S, f32, D>) -> Result<()> {
        D::blend(tensor, counterpart(&self.values.0, name, tensor)?, 0.0)
    }
}

struct Swap<'a, D: Backend>(&'a mut BTreeMap<String, Vector<D>>);

impl<D: Backend> VisitorMut<D> for Swap<'_, D> {
    fn param<S: Shape>(&mut self, name: &str, tensor: &mut Tensor<S, f32, D>) -> Result<()> {
        let average = counterpart(self.0, name, tensor)?.clone();
        let average = average.try_reshape_like(tensor.shape()).map_err(|e| Error::device("moving average", e))?;
        self.0.insert(name.to_owned(), flatten(tensor)?);
        *tensor = average;
        Ok(())
    }
    fn buffer<S: Shape>(&mut self, name: &str, tensor: &mut Tensor<S, f32, D>) -> Result<()> {
        self.param(name, tensor)
    }
}

fn flatten<D: Backend, S: Shape>(tensor: &Tensor<S, f32, D>) -> Result<Vector<D>> {
    let elements = (tensor.shape().num_elements(),);
    tensor.clone().try_reshape_like(&elements).map_err(|e| Error::device("moving average", e))
}

fn counterpart<'a, D: Backend, S: Shape>(
    tensors: &'a BTreeMap<String, Vector<D>>,
    name: &str,
    like: &Tensor<S, f32, D>,
) -> Result<&'a Vector<D>> {
    let elements = like.shape().num_elements();
    tensors.get(name).filter(|tensor| tensor.shape().0 == elements).ok_or_else(|| {
        Error::config(format!("moving average: there is no tensor `{name}` of {elements} elements on the other side"))
    })
}
