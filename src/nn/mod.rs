//! Layers and fused operations on dfdx's tape.
//!
//! Every weight is `(in, out)`: a layer computes `y = x W + b`, rows are cells. Shapes are run-time values.
//! A fused operation runs its forward pass in plain Rust and puts its backward pass on dfdx's open tape; the trait
//! [`Backend`] names them all, and its default methods are the same mathematics composed of dfdx's own operations, so
//! that any dfdx device runs every model.

mod backend;
pub mod ops;
mod params;

pub use backend::{Backend, CountTarget, Dispersion, Matrix, Scalar, Vector};
pub use params::{Params, Visitor, VisitorMut};
pub(crate) use params::{join, walk_params};
