//! Adam and AdamW with clipping by the global norm, as PyTorch computes them.
//!
//! With gradient g, weight w, learning rate lr and weight decay d, at the t-th update of a weight:
//!
//! ```text
//! g <- g min(1, clip / (||all g|| + 1e-6))            if a norm to clip at is given
//! g <- g + d w              (L2)    or   w <- (1 - lr d) w   (decoupled: AdamW)
//! m <- beta1 m + (1 - beta1) g           v <- beta2 v + (1 - beta2) g^2
//! w <- w - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
//! ```
//!
//! Sources: Kingma & Ba 2015 (Adam), Loshchilov & Hutter 2019 (AdamW), `torch.optim.Adam`, `torch.optim.AdamW`,
//! `torch.nn.utils.clip_grad_norm_`.

use super::{AdamStep, Backend, HostTensor, Moments, Params, Snapshot, Visitor, VisitorMut};
use crate::{Error, ErrorKind, Result};
use dfdx::prelude::{Gradients, HasShape, Shape, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Added to the norm that a clipped gradient is divided by; PyTorch's value.
const CLIP_EPSILON: f64 = 1e-6;

/// How the weights are pulled towards zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightDecay {
    /// As a term of the gradient: `torch.optim.Adam`.
    L2,
    /// Beside the gradient: `torch.optim.AdamW`.
    Decoupled,
}

/// Settings of [`Adam`] that stay the same over a training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamConfig {
    /// Decay of the first moment. Default 0.9 (Kingma & Ba 2015).
    pub beta1: f64,
    /// Decay of the second moment. Default 0.999 (Kingma & Ba 2015).
    pub beta2: f64,
    /// Added to the denominator. Default 1e-8 (Kingma & Ba 2015).
    pub epsilon: f64,
    /// Strength of the weight decay. Default 0.
    pub weight_decay: f64,
    /// Form of the weight decay. Default decoupled (AdamW); with a strength of 0 both are Adam.
    pub decay: WeightDecay,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, decay: WeightDecay::Decoupled }
    }
}

impl AdamConfig {
    /// Checks that the settings make sense.
    ///
    /// # Errors
    /// A setting out of its range, with its name.
    pub fn validate(&self) -> Result<()> {
        let fails = |name: &str, value: f64, range: &str| {
            Err(Error::config(format!("{name} = {value}, but it must be {range}")))
        };
        match *self {
            Self { beta1, .. } if !(0.0..1.0).contains(&beta1) => fails("beta1", beta1, "at least 0 and below 1"),
            Self { beta2, .. } if !(0.0..1.0).contains(&beta2) => fails("beta2", beta2, "at least 0 and below 1"),
            Self { epsilon, .. } if !(epsilon > 0.0 && epsilon.is_finite()) => fails("epsilon", epsilon, "above 0"),
            Self { weight_decay, .. } if !(weight_decay >= 0.0 && weight_decay.is_finite()) => {
                fails("weight_decay", weight_decay, "0 or more")
            }
            _ => Ok(()),
        }
    }
}

/// The optimizer: its settings, and the moments of each weight that had a gradient so far.
pub struct Adam<D: Backend> {
    config: AdamConfig,
    moments: BTreeMap<String, Moments<D>>,
}

impl<D: Backend> Adam<D> {
    /// An optimizer that has made no step.
    ///
    /// # Errors
    /// A setting out of its range.
    pub fn new(config: AdamConfig) -> Result<Self> {
        config.validate()?;
        Ok(Self { config, moments: BTreeMap::new() })
    }

    /// Updates every weight of `model` that has a gradient, leaves the gradients at zero, and gives the global norm that
    /// the gradients had before clipping.
    ///
    /// A weight whose gradient is zero in every element counts as one without a gradient, as dfdx does not tell the two
    /// apart: it stays as it is, and so do its moments.
    ///
    /// # Errors
    /// A gradient that is not finite ([`ErrorKind::Numeric`], naming the weight); nothing is updated then.
    pub fn step<M: Params<D>>(
        &mut self,
        model: &mut M,
        gradients: &mut Gradients<f32, D>,
        learning_rate: f64,
        clip_norm: Option<f64>,
    ) -> Result<f64> {
        let mut norms = Norms { gradients, squared: Vec::new() };
        model.walk("", &mut norms)?;
        let squared = norms.squared;
        let norm = squared.iter().sum::<f64>().sqrt();
        let clip = clip_norm.map_or(1.0, |at| (at / (norm + CLIP_EPSILON)).min(1.0));
        let update = &mut Update {
            config: &self.config,
            moments: &mut self.moments,
            gradients,
            squared: squared.into_iter(),
            learning_rate,
            clip,
        };
        model.walk_mut("", update)?;
        D::refresh(model)?;
        Ok(norm)
    }

    /// The moments of every weight as tensors (`first/NAME`, `second/NAME`), and how many updates each weight had.
    ///
    /// # Errors
    /// A device that fails.
    pub fn export(&self) -> Result<(Snapshot, BTreeMap<String, u64>)> {
        let mut snapshot = Snapshot::default();
        for (name, moments) in &self.moments {
            for (kind, tensor) in [("first", &moments.first), ("second", &moments.second)] {
                let values = D::values(tensor)?;
                snapshot.insert(format!("{kind}/{name}"), HostTensor { shape: vec![values.len()], values });
            }
        }
        Ok((snapshot, self.moments.iter().map(|(name, moments)| (name.clone(), moments.steps)).collect()))
    }

    /// Goes back to what [`Self::export`] gave.
    ///
    /// # Errors
    /// A moment that is missing or of another length than its weight in `model`.
    pub fn import<M: Params<D>>(
        &mut self,
        snapshot: &Snapshot,
        steps: &BTreeMap<String, u64>,
        model: &M,
        device: &D,
    ) -> Result<()> {
        let lengths: BTreeMap<String, usize> =
            super::tensors(model)?.into_iter().map(|tensor| (tensor.name.clone(), tensor.len())).collect();
        let read = |kind: &str, name: &str| {
            let saved = snapshot.tensors().get(&format!("{kind}/{name}"));
            let (saved, length) = saved.zip(lengths.get(name)).ok_or_else(|| {
                Error::data(format!(
                    "the optimizer's {kind} moment of `{name}` is missing, or the model has no `{name}`"
                ))
            })?;
            if saved.values.len() != *length {
                return Err(Error::data(format!(
                    "the optimizer's {kind} moment of `{name}` has {} elements, where the weight has {length}",
                    saved.values.len()
                )));
            }
            let tensor = device.try_tensor_from_vec(saved.values.clone(), (*length,));
            tensor.map_err(|e| Error::device("restore the optimizer", e))
        };
        self.moments = steps
            .iter()
            .map(|(name, &steps)| {
                Ok((name.clone(), Moments { first: read("first", name)?, second: read("second", name)?, steps }))
            })
            .collect::<Result<_>>()?;
        Ok(())
    }
}

/// The squared norm of each weight's gradient, in the order of the walk.
struct Norms<'a, D: Backend> {
    gradients: &'a mut Gradients<f32, D>,
    squared: Vec<f64>,
}

impl<D: Backend> Visitor<D> for Norms<'_, D> {
    fn param<S: Shape>(&mut self, name: &str, tensor: &Tensor<S, f32, D>) -> Result<()> {
        let squared = D::squared_norm(tensor, self.gradients)?;
        if !squared.is_finite() {
            return Err(Error::new(ErrorKind::Numeric, format!("the gradient of `{name}` is not finite")));
        }
        self.squared.push(squared);
        Ok(())
    }
}

struct Update<'a, D: Backend> {
    config: &'a AdamConfig,
    moments: &'a mut BTreeMap<String, Moments<D>>,
    gradients: &'a mut Gradients<f32, D>,
    squared: std::vec::IntoIter<f64>,
    learning_rate: f64,
    clip: f64,
}

impl<D: Backend> VisitorMut<D> for Update<'_, D> {
    fn param<S: Shape>(&mut self, name: &str, tensor: &mut Tensor<S, f32, D>) -> Result<()> {
        if self.squared.next().is_none_or(|squared| squared == 0.0) {
            return Ok(());
        }
        if !self.moments.contains_key(name) {
            let elements = (tensor.shape().num_elements(),);
            let zeros = || tensor.device().try_zeros_like(&elements).map_err(|e| Error::device("Adam's moments", e));
            self.moments.insert(name.to_owned(), Moments { first: zeros()?, second: zeros()?, steps: 0 });
        }
        let moments = self.moments.get_mut(name).expect("it was inserted if it was not there");
        moments.steps += 1;
        let AdamConfig { beta1, beta2, epsilon, weight_decay, decay } = *self.config;
        // Exact to the last bit for any number of steps that a training can make: f64 holds every integer below 2^53.
        let t = moments.steps as f64;
        let by = AdamStep {
            clip: self.clip,
            l2: if decay == WeightDecay::L2 { weight_decay } else { 0.0 },
            shrink: if decay == WeightDecay::Decoupled { 1.0 - self.learning_rate * weight_decay } else { 1.0 },
            beta1,
            beta2,
            epsilon,
            step_size: self.learning_rate / (1.0 - beta1.powf(t)),
            scale: (1.0 - beta2.powf(t)).sqrt().recip(),
        };
        D::adam(tensor, self.gradients, moments, &by)
    }
}
