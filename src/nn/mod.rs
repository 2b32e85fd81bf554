//! Layers and fused operations on dfdx's tape.
//!
//! Every weight is `(in, out)`: a layer computes `y = x W + b`, rows are cells. Shapes are run-time values.
//! A fused operation runs its forward pass in plain Rust and puts its backward pass on dfdx's open tape; the trait
//! [`Backend`] names them all, and its default methods are the same mathematics composed of dfdx's own operations, so
//! that any dfdx device runs every model.

mod backend;
mod checkpoint;
mod ema;
mod gradients;
mod optim;
mod params;
mod snapshot;
mod step;

pub use backend::{Backend, CountTarget, Dispersion, Matrix, Scalar, Vector};
pub use checkpoint::{Checkpoint, load_params, save_params};
pub use ema::{Ema, EmaMomentum, ema_update};
pub use gradients::GradientBuffers;
pub use optim::{Adam, AdamConfig, WeightDecay};
pub use params::{Params, TensorInfo, Visitor, VisitorMut, check_finite, count_params, tensors};
pub(crate) use params::{join, walk_params};
pub use snapshot::{HostTensor, Snapshot, copy_params};
pub use step::{AdamStep, Moments, OptimStep, composed};
