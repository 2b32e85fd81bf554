//! The models, one folder per family.

mod arrays;
pub mod combination;
pub mod diffusion;
pub mod flow;
mod folder;
pub mod jepa;
pub mod latent_diffusion;
pub mod vae;

pub use crate::data::NORMALISED_TOTAL;
pub use folder::saved_kind;
pub use vae::{
    Carrier, CellSource, CellView, Collapse, ConditionBatch, ConditionEncoder, CountVae, Decoded, EffectSource, Elbo,
    Generated, KlAnnealing, LibrarySize, Likelihood, Observed, Posterior, REFERENCE_CELLS, Reference, ThetaScope,
    TrainedOn, VaeBatch, VaeConfig, VaeNet, Vocabulary,
};
