//! The models, one a file.

mod annealing;
mod arrays;
mod batch;
mod condition;
mod config;
mod count_vae;
mod counterfactual;
pub mod diffusion;
mod draw;
pub mod flow;
mod folder;
mod generate;
pub mod jepa;
pub mod latent_diffusion;
mod latents;
mod look;
mod reference;
mod sample;
mod saved;
mod vae;

pub use annealing::KlAnnealing;
pub use batch::{CellSource, CellView, EffectSource, NORMALISED_TOTAL, Observed, VaeBatch};
pub use condition::{ConditionBatch, ConditionEncoder, Vocabulary};
pub use config::{LibrarySize, Likelihood, ThetaScope, VaeConfig};
pub use count_vae::{CountVae, TrainedOn};
pub use folder::saved_kind;
pub use generate::Generated;
pub use latents::Carrier;
pub use look::{Collapse, Elbo};
pub use reference::{REFERENCE_CELLS, Reference};
pub use vae::{Decoded, Posterior, VaeNet};
