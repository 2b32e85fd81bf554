//! The count VAE.

mod annealing;
pub(in crate::model) mod batch;
pub(in crate::model) mod condition;
mod config;
mod contract;
pub(in crate::model) mod count_vae;
mod counterfactual;
mod draw;
mod generate;
pub(in crate::model) mod latents;
mod look;
mod net;
mod reference;
pub(in crate::model) mod sample;

pub use annealing::KlAnnealing;
pub use batch::{CellSource, CellView, EffectSource, Observed, VaeBatch};
pub use condition::{ConditionBatch, ConditionEncoder, Vocabulary};
pub use config::{LibrarySize, Likelihood, ThetaScope, VaeConfig};
pub use contract::VaeSettings;
pub use count_vae::CountVae;
pub use latents::Carrier;
pub use look::{Collapse, Elbo};
pub use net::{Decoded, Posterior, VaeNet};
pub use reference::{REFERENCE_CELLS, Reference};
