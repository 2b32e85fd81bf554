//! The optimizer's part: gradients, moments and weights stay on the GPU; the host gets norms, and the weights after each
//! step.

use super::{
    commands::spread,
    kernels::{ADAM, SQUARED_NORM},
    session::{Session, id, with},
};
use crate::{
    Error, Result,
    nn::{AdamStep, Moments, Params, Visitor, VisitorMut, raw},
};
use dfdx::prelude::{Cpu, Gradients, HasShape, Shape, Tensor, UniqueId};
use std::vec::IntoIter;
use wgpu::Buffer;

/// Workgroups that share one norm: each leaves a partial sum.
const PARTS: usize = 64;

/// Whether a weight is on the GPU, so that it is updated there.
pub(crate) fn is_resident<S: Shape>(weight: &Tensor<S, f32, Cpu>) -> bool {
    with(|s| Ok(s.weights.contains_key(&id(weight)))).unwrap_or(false)
}

/// See [`OptimStep::squared_norm`](crate::nn::OptimStep::squared_norm). What operations of the CPU added to the gradient
/// is sent, and added to the GPU's.
pub(crate) fn squared_norm<S: Shape>(weight: &Tensor<S, f32, Cpu>, gradients: &mut Gradients<f32, Cpu>) -> Result<f64> {
    let host = gradients.get_or_alloc_mut(weight).map_err(|e| Error::device("norm of a gradient", e))?;
    with(|s| {
        let id = id(weight);
        if host.iter().any(|&g| g != 0.0) {
            let (sum, more) = (s.gradient(id)?, s.upload(host)?);
            s.add(&sum, &more, 0, host.len())?;
            host.fill(0.0);
            s.norms.remove(&id);
        }
        match s.weights.get(&id) {
            Some(weight) if weight.has_gradient => {}
            _ => return Ok(0.0),
        }
        if !s.norms.contains_key(&id) {
            s.compute_norms()?;
        }
        Ok(s.norms[&id])
    })
}

impl Session {
    /// The squared norms of all gradients that have none yet, with one wait for the device.
    fn compute_norms(&mut self) -> Result<()> {
        let wanted: Vec<(UniqueId, Buffer, usize)> = self
            .weights
            .iter()
            .filter(|(id, weight)| weight.has_gradient && !self.norms.contains_key(id))
            .filter_map(|(&id, weight)| Some((id, weight.gradient.clone()?, weight.len)))
            .collect();
        let partial = self.array(wanted.len() * PARTS)?;
        for (number, (_, gradient, len)) in wanted.iter().enumerate() {
            let numbers = [*len as u32, (number * PARTS) as u32];
            self.run(&SQUARED_NORM, &numbers, &[gradient, &partial], [PARTS as u32, 1, 1])?;
        }
        let partial = self.read(&partial, wanted.len() * PARTS)?;
        for ((id, ..), partial) in wanted.iter().zip(partial.chunks_exact(PARTS)) {
            self.norms.insert(*id, partial.iter().map(|&sum| f64::from(sum)).sum());
        }
        Ok(())
    }

    /// An array of the optimizer that begins with what the host has.
    fn moment(&mut self, host: &Tensor<(usize,), f32, Cpu>) -> Result<Buffer> {
        let id = id(host);
        if let Some(there) = self.moments.get(&id) {
            return Ok(there.clone());
        }
        let there = self.upload(&raw::slice(host))?;
        self.moments.insert(id, there.clone());
        Ok(there)
    }
}

/// See [`OptimStep::adam`](crate::nn::OptimStep::adam); only recorded: [`refresh`] sends it.
pub(crate) fn adam<S: Shape>(weight: &Tensor<S, f32, Cpu>, moments: &Moments<Cpu>, by: &AdamStep) -> Result<()> {
    with(|s| {
        let id = id(weight);
        let (first, second) = (s.moment(&moments.first)?, s.moment(&moments.second)?);
        let gradient = s.gradient(id)?;
        s.norms.remove(&id);
        let there = s.weights.get_mut(&id).expect("it has a gradient");
        (there.has_gradient, there.is_newer) = (false, true);
        let (len, values) = (there.len, there.values.clone());
        let reals =
            [by.clip, by.l2, by.shrink, 1.0 - by.beta1, by.beta2, 1.0 - by.beta2, by.epsilon, by.step_size, by.scale];
        let mut numbers = vec![len as u32];
        numbers.extend(reals.map(|real| (real as f32).to_bits()));
        s.run(&ADAM, &numbers, &[&values, &gradient, &first, &second], spread(len, 256))
    })
}

/// The values of a tensor of the optimizer: the GPU's where they are there.
pub(crate) fn values<S: Shape>(tensor: &Tensor<S, f32, Cpu>) -> Result<Vec<f32>> {
    with(|s| match s.moments.get(&id(tensor)).cloned() {
        Some(there) => s.read(&there, tensor.shape().num_elements()),
        None => Ok(tensor.as_vec()),
    })
}

/// Brings the weights that were updated on the GPU to the host, with one wait for the device.
pub(crate) fn refresh<M: Params<Cpu>>(model: &mut M) -> Result<()> {
    let mut newer = Newer(Vec::new());
    model.walk("", &mut newer)?;
    if newer.0.is_empty() {
        return Ok(());
    }
    let values = with(|s| {
        let found: Vec<(Buffer, usize)> =
            newer.0.iter().map(|id| &s.weights[id]).map(|w| (w.values.clone(), w.len)).collect();
        let arrays: Vec<(&Buffer, usize)> = found.iter().map(|(buffer, len)| (buffer, *len)).collect();
        let values = s.read_all(&arrays)?;
        newer.0.iter().for_each(|id| s.weights.get_mut(id).expect("it was found above").is_newer = false);
        Ok(values)
    })?;
    let mut expected = newer.0.into_iter().zip(values);
    let next = expected.next();
    model.walk_mut("", &mut Write { expected, next })
}

/// The weights whose host copy is older, in the order of the walk.
struct Newer(Vec<UniqueId>);

impl Visitor<Cpu> for Newer {
    fn param<S: Shape>(&mut self, _: &str, tensor: &Tensor<S, f32, Cpu>) -> Result<()> {
        let id = id(tensor);
        with(|s| {
            if s.weights.get(&id).is_some_and(|weight| weight.is_newer) {
                self.0.push(id);
            }
            Ok(())
        })
    }
}

/// Writes values to the tensors that they belong to, in the same order.
struct Write {
    expected: std::iter::Zip<IntoIter<UniqueId>, IntoIter<Vec<f32>>>,
    next: Option<(UniqueId, Vec<f32>)>,
}

impl VisitorMut<Cpu> for Write {
    fn param<S: Shape>(&mut self, name: &str, tensor: &mut Tensor<S, f32, Cpu>) -> Result<()> {
        let id = id(tensor);
        if let Some((_, values)) = self.next.take_if(|(next, _)| *next == id) {
            let shape = *tensor.shape();
            let host = raw::slice_mut(tensor);
            host.ok_or_else(|| Error::shape(name, shape, "a weight that is no view"))?.copy_from_slice(&values);
            self.next = self.expected.next();
        }
        Ok(())
    }
}
