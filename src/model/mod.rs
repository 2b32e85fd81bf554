//! The models, one a file.

mod annealing;
mod batch;
mod condition;
mod count_vae;
mod reference;
mod sample;
mod saved;
mod vae;

pub use annealing::KlAnnealing;
pub use batch::{CellSource, CellView, EffectSource, NORMALISED_TOTAL, Observed, VaeBatch};
pub use condition::{ConditionBatch, ConditionEncoder, Vocabulary};
pub use count_vae::{Collapse, CountVae, Elbo, Generated, TrainedOn};
pub use reference::{REFERENCE_CELLS, Reference};
pub use vae::{Decoded, LibrarySize, Likelihood, Posterior, ThetaScope, VaeConfig, VaeNet};
