//! What is on the GPU while a model runs there.
//!
//! A session belongs to a thread and lasts from the first [`enter`] to the end of what it returned. Tensors are known by
//! dfdx's ids, which no two tensors of different content share, apart from a weight before and after an update: what
//! updates weights on the host tells the session ([`forget`]).

use super::context::Gpu;
use crate::{
    Error, Result,
    nn::{gpu::NAME, ops, raw},
};
use dfdx::{
    optim::UnusedTensors,
    prelude::{Cpu, Shape, Tensor, UniqueId},
    tensor::CpuError,
};
use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    marker::PhantomData,
};
use wgpu::Buffer;

/// Outputs that are kept where no tape keeps them: enough for a chain with a residual connection.
const RECENT: usize = 4;

thread_local! {
    static SESSION: RefCell<Option<Session>> = const { RefCell::new(None) };
}

/// As long as it lives, operations of this thread run on the GPU.
#[must_use = "the operations run on the CPU again as soon as this is dropped"]
pub struct Entered(PhantomData<*const ()>);

/// Lets the operations of this thread run on the GPU. May be nested: what is on the GPU is freed at the outermost end.
///
/// # Errors
/// No GPU there.
pub fn enter() -> Result<Entered> {
    let gpu = Gpu::get()?;
    SESSION.with_borrow_mut(|session| session.get_or_insert_with(|| Session::new(gpu)).depth += 1);
    Ok(Entered(PhantomData))
}

impl Drop for Entered {
    fn drop(&mut self) {
        SESSION.with_borrow_mut(|session| {
            if let Some(open) = session {
                open.depth -= 1;
                if open.depth == 0 {
                    *session = None;
                }
            }
        });
    }
}

/// Whether operations of this thread run on the GPU.
pub fn is_active() -> bool {
    SESSION.with_borrow(Option::is_some)
}

/// Runs `f` on the session.
pub(super) fn with<R>(f: impl FnOnce(&mut Session) -> Result<R>) -> Result<R> {
    SESSION.with_borrow_mut(|session| match session {
        Some(session) => f(session),
        None => Err(Error::config(format!("{NAME}: the model left the device before its backward pass"))),
    })
}

/// The same within a backward pass, where only dfdx's errors can be returned: [`failure`] gives the real one.
pub(super) fn backward<R>(f: impl FnOnce(&mut Session) -> Result<R>) -> Result<R, CpuError> {
    with(f).map_err(|error| {
        SESSION.with_borrow_mut(|session| {
            if let Some(session) = session {
                session.failure.get_or_insert(error);
            }
        });
        CpuError::OutOfMemory
    })
}

/// The error behind a failed backward pass.
pub(crate) fn failure() -> Option<Error> {
    SESSION.with_borrow_mut(|session| session.as_mut()?.failure.take())
}

/// Frees what belonged to the step before.
pub(crate) fn begin_step() {
    SESSION.with_borrow_mut(|session| {
        if let Some(session) = session {
            session.outputs.clear();
            session.recent.clear();
            session.norms.clear();
            // What the optimizer did not take is no part of the next gradient.
            session.weights.values_mut().filter(|weight| weight.has_gradient).for_each(|weight| {
                (weight.gradient, weight.has_gradient) = (None, false);
            });
        }
    });
}

/// Frees all that is there: a new training begins, for which weights may have been changed on the host.
pub(crate) fn start_afresh() {
    SESSION.with_borrow_mut(|session| {
        if let Some(open) = session {
            *open = Session { depth: open.depth, ..Session::new(open.gpu) };
        }
    });
}

/// The host's copy of a tensor was changed: the GPU's is no longer valid.
pub(crate) fn forget<S: Shape>(tensor: &Tensor<S, f32, Cpu>) {
    SESSION.with_borrow_mut(|session| session.as_mut().map(|session| session.weights.remove(&id(tensor))));
}

/// The gradient of a weight that is on the GPU, for tests: `None` if there is none.
///
/// # Errors
/// A device that fails.
#[doc(hidden)]
pub fn gradient<S: Shape>(weight: &Tensor<S, f32, Cpu>) -> Result<Option<Vec<f32>>> {
    with(|session| match session.weights.get(&id(weight)) {
        Some(Weight { gradient: Some(gradient), has_gradient: true, len, .. }) => {
            let (gradient, len) = (gradient.clone(), *len);
            session.read(&gradient, len).map(Some)
        }
        _ => Ok(None),
    })
}

/// dfdx's id of a tensor, which has no getter but through this list of its own.
pub(super) fn id<S: Shape, T>(tensor: &Tensor<S, f32, Cpu, T>) -> UniqueId {
    let mut list = UnusedTensors::default();
    list.add(tensor);
    list.ids[0]
}

/// A weight on the GPU.
pub(super) struct Weight {
    pub(super) len: usize,
    pub(super) values: Buffer,
    /// Zero wherever `has_gradient` is false.
    pub(super) gradient: Option<Buffer>,
    /// Whether a gradient was added since the last update.
    pub(super) has_gradient: bool,
    /// Whether the host's copy is older.
    pub(super) is_newer: bool,
}

pub(super) struct Session {
    pub(super) gpu: &'static Gpu,
    depth: usize,
    pub(super) encoder: Option<wgpu::CommandEncoder>,
    pub(super) weights: HashMap<UniqueId, Weight>,
    /// Adam's moments, by the ids of their host tensors.
    pub(super) moments: HashMap<UniqueId, Buffer>,
    /// Squared norms of the gradients of this step.
    pub(super) norms: HashMap<UniqueId, f64>,
    /// Outputs of the operations of this step's tape.
    outputs: HashMap<UniqueId, Buffer>,
    /// Outputs that belong to no tape.
    recent: VecDeque<(UniqueId, Buffer)>,
    failure: Option<Error>,
}

impl Session {
    fn new(gpu: &'static Gpu) -> Self {
        Self {
            gpu,
            depth: 0,
            encoder: None,
            weights: HashMap::new(),
            moments: HashMap::new(),
            norms: HashMap::new(),
            outputs: HashMap::new(),
            recent: VecDeque::new(),
            failure: None,
        }
    }

    /// An activation: from the operation that computed it, else from the host.
    pub(super) fn activation<S: Shape, T>(&mut self, tensor: &Tensor<S, f32, Cpu, T>) -> Result<Buffer> {
        let id = id(tensor);
        let kept = self.outputs.get(&id).or_else(|| self.recent.iter().find(|(of, _)| *of == id).map(|(_, b)| b));
        match kept {
            Some(buffer) => Ok(buffer.clone()),
            None => self.upload(&raw::slice(tensor)),
        }
    }

    /// Keeps the output of an operation for those that read it.
    pub(super) fn keep<S: Shape, T>(&mut self, tensor: &Tensor<S, f32, Cpu, T>, buffer: Buffer, is_taped: bool) {
        if is_taped {
            self.outputs.insert(id(tensor), buffer);
            return;
        }
        self.recent.truncate(RECENT - 1);
        self.recent.push_front((id(tensor), buffer));
    }

    /// A weight, sent when it is first used.
    pub(super) fn weight<S: Shape>(&mut self, tensor: &Tensor<S, f32, Cpu>) -> Result<Buffer> {
        let id = id(tensor);
        if let Some(weight) = self.weights.get(&id) {
            return Ok(weight.values.clone());
        }
        let host = raw::slice(tensor);
        let values = self.upload(&host)?;
        let weight =
            Weight { len: host.len(), values: values.clone(), gradient: None, has_gradient: false, is_newer: false };
        self.weights.insert(id, weight);
        Ok(values)
    }

    /// The gradient of a weight, to add to.
    pub(super) fn gradient(&mut self, id: UniqueId) -> Result<Buffer> {
        let len = self.weights.get(&id).map(|weight| weight.len);
        let len = len.ok_or_else(|| Error::config(format!("{NAME}: a weight was changed before the backward pass")))?;
        let zeros = match self.weights[&id].gradient {
            None => Some(self.array(len)?),
            Some(_) => None,
        };
        let weight = self.weights.get_mut(&id).expect("it was found above");
        weight.has_gradient = true;
        Ok(weight.gradient.get_or_insert_with(|| zeros.expect("made where there was none")).clone())
    }

    /// The host tensor of an operation's output.
    pub(super) fn output<S: Shape>(
        &mut self,
        operation: &str,
        buffer: Buffer,
        shape: S,
        device: &Cpu,
        is_taped: bool,
    ) -> Result<Tensor<S, f32, Cpu>> {
        let values = self.read(&buffer, shape.num_elements())?;
        let tensor = ops::tensor(operation, values, shape, device)?;
        self.keep(&tensor, buffer, is_taped);
        Ok(tensor)
    }
}

/// `sum += values`, on the host.
pub(super) fn add_to(sum: &mut [f32], values: &[f32]) {
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
}
