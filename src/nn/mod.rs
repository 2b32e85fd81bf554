//! Layers and fused operations on dfdx's tape.
//!
//! Every weight is `(in, out)`: a layer computes `y = x W + b`, rows are cells. Shapes are run-time values.
//! A fused operation runs its forward pass in plain Rust and puts its backward pass on dfdx's open tape; the trait
//! [`Backend`] names them all, and its default methods are the same mathematics composed of dfdx's own operations, so
//! that any dfdx device runs every model.

mod activation;
mod attention;
mod backend;
mod batch_norm;
mod checkpoint;
#[doc(hidden)]
pub mod composed;
mod dropout;
mod ema;
mod embedding;
mod feed_forward;
mod film;
mod fourier;
mod frozen;
mod fused;
mod gradients;
pub mod init;
mod layer_norm;
mod linear;
mod loss_ops;
mod losses;
mod mlp;
pub mod ops;
mod optim;
mod params;
mod pooling;
mod raw;
mod row_sets;
mod set_distance;
mod set_encoder;
mod simd;
mod snapshot;
mod sparse_linear;
mod step;
mod token_ops;
mod transformer;
pub mod vicreg;

pub use activation::Activation;
pub use attention::{AttentionConfig, AttentionSpec, MultiHeadAttention, WeightDropout};
pub use backend::{
    Backend, BatchMoments, CountTarget, Dispersion, LOG_THETA_MAX, LOG_THETA_MIN, Matrix, Scalar, Vector,
};
pub use batch_norm::BatchNorm;
pub use checkpoint::{Checkpoint, load_params, save_params};
pub use dropout::Dropout;
pub use ema::{Ema, EmaMomentum, ema_update};
pub use embedding::{Embedding, IndexSets};
pub use feed_forward::FeedForward;
pub use film::Film;
pub use fourier::FourierFeatures;
pub use frozen::Frozen;
pub use gradients::GradientBuffers;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use loss_ops::LossOps;
pub use losses::{EmbeddingLoss, layer_normed};
pub use mlp::{Block, Finish, FinishConfig, Mlp, Norm};
pub use optim::{Adam, AdamConfig, WeightDecay};
pub use params::{Params, TensorInfo, Visitor, VisitorMut, check_finite, count_params, tensors};
pub(crate) use params::{join, walk_params};
pub use pooling::{AttentionPool, mean_pool};
pub use row_sets::RowSets;
pub use set_distance::{SetDistance, median_gamma};
pub use set_encoder::{SetEncoder, SetEncoderConfig};
pub use snapshot::{HostTensor, Snapshot, copy_params};
pub use sparse_linear::SparseLinear;
pub use step::{AdamStep, Moments, OptimStep, composed as composed_step};
pub use token_ops::TokenOps;
pub use transformer::{CrossAttentionBlock, TransformerBlock};
