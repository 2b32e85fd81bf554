//! A model of which a part is trained: chosen weights, and low-rank additions to others.
//!
//! [`Adapted`] wraps any model of named tensors. A [`Mask`] says which weights are trained as they are, and which have a
//! [`Lora`] beside them; all others are walked as buffers, so that neither gradients nor weight decay reach them. In each step
//! the merged weight `W + (alpha / r) A B` takes the place of W in its layer, on the tape: the layer need not know of it, and
//! the gradient goes on to A and B.
//!
//! [`AdapterFile`] holds what was trained and nothing else.

use super::{
    AdapterFile, Backend, Lora, LoraConfig, Matrix, Movable, Params, Snapshot, TensorInfo, Visitor, VisitorMut,
    adapter_file::short_hash, join, tensors,
};
use crate::{
    Error, Result,
    train::{Loss, StepContext, Trainable},
};
use dfdx::prelude::{HasShape, NoneTape, Shape, SplitTape, Tape, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::{any::Any, collections::BTreeMap};

/// Where the additions stand in the walk.
const LORA: &str = "lora";
/// The last part of the name of a matrix that a layer multiplies by.
const WEIGHT: &str = "weight";

/// What is trained of a model, by the names of its weights: a pattern is one or more whole parts of a name, so that
/// `encoder.blocks` and `blocks` both match `encoder.blocks.0.norm.weight`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Mask {
    /// Weights that are trained as they are.
    pub trained: Vec<String>,
    /// Matrices `weight` that a low-rank addition is trained for.
    pub low_rank: Vec<String>,
    /// Of the trained weights, those that stay until an epoch, counted from 0: a freezing schedule.
    pub from_epoch: Vec<(String, usize)>,
}

impl Mask {
    fn trains(&self, name: &str) -> bool {
        self.trained.iter().any(|pattern| matches(name, pattern))
    }

    fn trains_in(&self, name: &str, epoch: usize) -> bool {
        self.trains(name) && !self.from_epoch.iter().any(|(pattern, from)| epoch < *from && matches(name, pattern))
    }

    fn adds_to(&self, name: &str) -> bool {
        name.ends_with(WEIGHT) && self.low_rank.iter().any(|pattern| matches(name, pattern))
    }
}

/// Whether the parts of a pattern are consecutive parts of a name.
fn matches(name: &str, pattern: &str) -> bool {
    format!(".{name}.").contains(&format!(".{pattern}."))
}

/// A model, the mask, and the low-rank additions to its weights.
#[derive(Debug, Clone)]
pub struct Adapted<D: Backend, M> {
    /// The model, with merged weights.
    pub model: M,
    mask: Mask,
    epoch: usize,
    /// W of each weight with an addition.
    base: BTreeMap<String, Matrix<D>>,
    /// A and B of each.
    lora: BTreeMap<String, Lora<D>>,
}

impl<D: Backend, M: Params<D>> Params<D> for Adapted<D, M> {
    fn walk<V: Visitor<D>>(&self, path: &str, visitor: &mut V) -> Result<()> {
        self.model.walk(path, &mut Masked(visitor, &self.mask, self.epoch))?;
        let mut of = |(name, lora): (&String, &Lora<D>)| lora.walk(&join(path, format!("{LORA}.{name}")), visitor);
        self.lora.iter().try_for_each(&mut of)
    }
    fn walk_mut<V: VisitorMut<D>>(&mut self, path: &str, visitor: &mut V) -> Result<()> {
        self.model.walk_mut(path, &mut Masked(visitor, &self.mask, self.epoch))?;
        self.lora.iter_mut().try_for_each(|(name, lora)| lora.walk_mut(&join(path, format!("{LORA}.{name}")), visitor))
    }
}

impl<D: Backend, M: Movable> Movable for Adapted<D, M> {
    type On<E: Backend> = Adapted<E, M::On<E>>;

    fn copied_to<E: Backend>(&self, device: &E) -> Result<Self::On<E>> {
        Ok(Adapted {
            model: self.model.copied_to(device)?,
            mask: self.mask.clone(),
            epoch: self.epoch,
            base: self.base.copied_to(device)?,
            lora: self.lora.copied_to(device)?,
        })
    }
}

/// Shows the weights that the mask does not train as buffers.
struct Masked<'a, V>(&'a mut V, &'a Mask, usize);

impl<D: Backend, V: Visitor<D>> Visitor<D> for Masked<'_, V> {
    fn param<S: Shape>(&mut self, name: &str, tensor: &Tensor<S, f32, D>) -> Result<()> {
        if self.1.trains_in(name, self.2) { self.0.param(name, tensor) } else { self.0.buffer(name, tensor) }
    }
    fn buffer<S: Shape>(&mut self, name: &str, tensor: &Tensor<S, f32, D>) -> Result<()> {
        self.0.buffer(name, tensor)
    }
}

impl<D: Backend, V: VisitorMut<D>> VisitorMut<D> for Masked<'_, V> {
    fn param<S: Shape>(&mut self, name: &str, tensor: &mut Tensor<S, f32, D>) -> Result<()> {
        if self.1.trains_in(name, self.2) { self.0.param(name, tensor) } else { self.0.buffer(name, tensor) }
    }
    fn buffer<S: Shape>(&mut self, name: &str, tensor: &mut Tensor<S, f32, D>) -> Result<()> {
        self.0.buffer(name, tensor)
    }
}

/// How many numbers are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainedShare {
    /// Numbers that are trained.
    pub trained: usize,
    /// Weights of the model without additions.
    pub of: usize,
}

impl TrainedShare {
    /// Trained numbers per weight of the base model.
    pub fn share(self) -> f64 {
        self.trained as f64 / self.of.max(1) as f64
    }
}

impl<D: Backend, M: Params<D>> Adapted<D, M> {
    /// Wraps a model; the additions are zero. Only matrices whose sides are both larger than the rank get one: of a smaller
    /// matrix A and B would have more numbers than the matrix.
    ///
    /// # Errors
    /// A rank or scale out of range; a device without memory for it.
    pub fn new(model: M, device: &D, mask: Mask, config: LoraConfig, rng: &mut ChaCha8Rng) -> Result<Self> {
        config.validate()?;
        let mut found = Matrices { mask: &mask, rank: config.rank, found: BTreeMap::new() };
        model.walk("", &mut found)?;
        let base = found.found;
        let lora = base
            .iter()
            .map(|(name, weight)| Ok((name.clone(), Lora::new(device, *weight.shape(), config, rng)?)))
            .collect::<Result<_>>()?;
        Ok(Self { model, mask, epoch: 0, base, lora })
    }

    /// The additions by the name of their weight.
    pub fn additions(&self) -> &BTreeMap<String, Lora<D>> {
        &self.lora
    }

    /// What is trained, and of how many weights.
    ///
    /// # Errors
    /// Those of the walk.
    pub fn share(&self) -> Result<TrainedShare> {
        let count = |tensors: Vec<TensorInfo>| tensors.iter().map(TensorInfo::len).sum();
        let of_model = tensors(&self.model)?;
        let of = count(of_model.iter().filter(|tensor| tensor.trained).cloned().collect());
        Ok(TrainedShare { trained: count(self.learned()?), of })
    }

    /// The tensors that are trained in any epoch.
    fn learned(&self) -> Result<Vec<TensorInfo>> {
        let is_addition = |name: &str| name.strip_prefix(LORA).is_some_and(|rest| rest.starts_with('.'));
        let of_model = tensors(&self.model)?;
        let own = of_model.into_iter().filter(|tensor| tensor.trained && self.mask.trains(&tensor.name));
        Ok(own.chain(tensors(self)?.into_iter().filter(|tensor| is_addition(&tensor.name))).collect())
    }

    /// Computes the merged weights anew and puts them into the model.
    ///
    /// # Errors
    /// A device that fails.
    pub fn merge(&mut self) -> Result<()> {
        self.put_merged(NoneTape).map(drop)
    }

    /// Puts the weights of the base back in place of the merged ones; the additions stay.
    ///
    /// # Errors
    /// Those of the walk.
    pub fn unmerge(&mut self) -> Result<()> {
        self.model.walk_mut("", &mut Replace(self.base.clone()))
    }

    /// Merges on a tape, which comes back.
    fn put_merged<T: Tape<f32, D>>(&mut self, mut tape: T) -> Result<T> {
        let mut merged = BTreeMap::new();
        for (name, lora) in &self.lora {
            let (weight, next) = lora.merged(&self.base[name], tape)?.split_tape();
            merged.insert(name.clone(), weight);
            tape = next;
        }
        self.model.walk_mut("", &mut Replace(merged))?;
        Ok(tape)
    }

    /// What was trained, for a base model of this hash.
    ///
    /// # Errors
    /// Those of the walk.
    pub fn adapter(&self, base: &str, about: &serde_json::Value) -> Result<AdapterFile> {
        let trained: Vec<String> = self.learned()?.into_iter().map(|tensor| tensor.name).collect();
        let mut own = Snapshot::default();
        for (name, tensor) in Snapshot::of(self)?.into_tensors() {
            if trained.contains(&name) {
                own.insert(name, tensor);
            }
        }
        Ok(AdapterFile::new(base, about, own))
    }

    /// Takes what an adapter file holds; `base` is the hash of the model that this was made of.
    ///
    /// # Errors
    /// An adapter of another base; tensors that this does not train, or that are missing. Nothing is changed then.
    pub fn load(&mut self, adapter: &AdapterFile, base: &str) -> Result<()> {
        if adapter.base != base {
            return Err(Error::config(format!(
                "the adapter belongs to the base model with hash {}, and this one has {}; give the folder that it was \
                 trained from",
                short_hash(&adapter.base),
                short_hash(base)
            )));
        }
        let mut all = Snapshot::of(self)?;
        for tensor in self.learned()? {
            match adapter.tensors().get(&tensor.name) {
                Some(found) => all.insert(tensor.name, found.clone()),
                None => return Err(Error::data(format!("the adapter lacks `{}`; adapt again", tensor.name))),
            }
        }
        if let Some(extra) = adapter.tensors().keys().find(|name| !all.tensors().contains_key(*name)) {
            return Err(Error::data(format!("the adapter has `{extra}`, which this model does not have; adapt again")));
        }
        all.restore(self)?;
        self.merge()
    }
}

/// Collects the matrices that get an addition.
struct Matrices<'a, D: Backend> {
    mask: &'a Mask,
    rank: usize,
    found: BTreeMap<String, Matrix<D>>,
}

impl<D: Backend> Visitor<D> for Matrices<'_, D> {
    fn param<S: Shape>(&mut self, name: &str, tensor: &Tensor<S, f32, D>) -> Result<()> {
        if let Some(matrix) = (tensor as &dyn Any).downcast_ref::<Matrix<D>>() {
            let (rows, columns) = *matrix.shape();
            if self.mask.adds_to(name) && rows.min(columns) > self.rank {
                self.found.insert(name.to_owned(), matrix.clone());
            }
        }
        Ok(())
    }
}

/// Puts other tensors in the place of those of the same name.
struct Replace<D: Backend>(BTreeMap<String, Matrix<D>>);

impl<D: Backend> VisitorMut<D> for Replace<D> {
    fn param<S: Shape>(&mut self, name: &str, tensor: &mut Tensor<S, f32, D>) -> Result<()> {
        if let Some(new) = self.0.remove(name) {
            *(tensor as &mut dyn Any).downcast_mut::<Matrix<D>>().expect("it was found as a matrix") = new;
        }
        Ok(())
    }
}

impl<D: Backend, M: Trainable<D>> Trainable<D> for Adapted<D, M> {
    type Batch = M::Batch;

    fn loss<T: Tape<f32, D>>(
        &mut self,
        batch: &Self::Batch,
        tape: T,
        context: &mut StepContext<'_>,
    ) -> Result<Loss<D, T>> {
        let tape = self.put_merged(tape)?;
        self.model.loss(batch, tape, context)
    }

    fn after_step(&mut self, context: &StepContext<'_>) -> Result<()> {
        self.merge()?;
        // The next step begins with a walk, before it hears of its epoch.
        self.epoch = context.epoch + usize::from(context.ends_epoch());
        self.model.after_step(context)
    }
}
