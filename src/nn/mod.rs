//! Layers and operations on dfdx's tape.
//!
//! Every weight is `(in, out)`: a layer computes `y = x W + b`, rows are cells. Shapes are run-time values. Layers call
//! the trait [`Backend`], which names all operations of a device; [`ops`] holds their equations, the fused kernels of the
//! CPU, and the same mathematics composed of dfdx's own operations, with which any dfdx device runs every model.

mod adapted;
mod adapter_file;
mod attention;
mod backend;
mod bottleneck;
mod checkpoint;
mod contrastive;
mod doser;
mod ema;
mod embedding;
mod film;
mod fourier;
mod gaussian;
pub mod gpu;
mod gradients;
mod gru;
pub mod init;
mod linear;
mod lora;
mod losses;
mod mlp;
mod norm;
pub mod ops;
mod optim;
mod params;
mod placement;
#[doc(hidden)]
pub mod raw;
mod set_encoder;
mod simd;
mod transformer;
pub mod vicreg;

pub use adapted::{Adapted, Mask, TrainedShare};
pub use adapter_file::{AdapterFile, hash_of};
pub use attention::{AttentionConfig, MultiHeadAttention};
pub use backend::Backend;
pub use bottleneck::Bottleneck;
pub use checkpoint::{Checkpoint, HostTensor, Snapshot, copy_params, load_params, save_params};
pub use contrastive::info_nce;
pub use doser::{DoseLevels, Doser};
pub use ema::{Ema, EmaMomentum, ema_update};
pub use embedding::Embedding;
pub use film::Film;
pub use fourier::FourierFeatures;
pub use gaussian::{BalancedKl, Gaussian, balanced_kl};
pub use gradients::GradientBuffers;
pub use gru::GruCell;
pub use init::seeded;
pub use linear::{Linear, SparseLinear};
pub use lora::{Lora, LoraConfig, LoraLinear};
pub use losses::layer_normed;
pub use mlp::{Block, Dropout, Finish, FinishConfig, Mlp, Norm};
pub use norm::{BatchNorm, LayerNorm};
#[doc(hidden)]
pub use ops::composed;
pub use ops::{
    Activation, AdamStep, AttentionSpec, BatchMoments, CountTarget, Dispersion, EmbeddingLoss, IndexSets,
    LOG_THETA_MAX, LOG_THETA_MIN, LinearLogits, Matrix, Moments, OptimStep, RowSets, Scalar, SetDistance, Vector,
    WeightDropout, median_gamma,
};
pub use optim::{Adam, AdamConfig, WeightDecay};
pub use params::{Frozen, Params, TensorInfo, Visitor, VisitorMut, check_finite, count_params, tensors};
pub(crate) use params::{join, walk_params};
pub use placement::Movable;
#[cfg(feature = "cuda")]
pub(crate) use placement::cuda;
pub(crate) use placement::{movable, movable_variants};
pub use set_encoder::{AttentionPool, SetEncoder, SetEncoderConfig, mean_pool};
pub use transformer::{CrossAttentionBlock, FeedForward, TransformerBlock};
