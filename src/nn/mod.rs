//! Layers and fused operations on dfdx's tape.
//!
//! Every weight is `(in, out)`: a layer computes `y = x W + b`, rows are cells. Shapes are run-time values.
//! A fused operation runs its forward pass in plain Rust and puts its backward pass on dfdx's open tape; the trait
//! [`Backend`] names them all, and its default methods are the same mathematics composed of dfdx's own operations, so
//! that any dfdx device runs every model.

mod activation;
mod backend;
mod batch_norm;
#[doc(hidden)]
pub mod composed;
mod dropout;
mod embedding;
mod fused;
pub mod init;
mod layer_norm;
mod linear;
mod mlp;
mod params;
mod raw;
mod sparse_linear;

pub use activation::Activation;
pub use backend::{
    Backend, BatchMoments, CountTarget, Dispersion, LOG_THETA_MAX, LOG_THETA_MIN, Matrix, Scalar, Vector,
};
pub use batch_norm::BatchNorm;
pub use dropout::Dropout;
pub use embedding::{Embedding, IndexSets};
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use mlp::{Block, Finish, FinishConfig, Mlp, Norm};
pub use params::{Params, Visitor, VisitorMut};
pub(crate) use params::{join, walk_params};
pub use sparse_linear::SparseLinear;
