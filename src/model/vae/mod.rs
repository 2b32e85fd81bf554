//! The count VAE.
//!
//! | file | content |
//! |---|---|
//! | `config` | settings of the network and of its training |
//! | `vocabulary` | the names behind inputs and outputs |
//! | `covariates` | columns of cells as further conditions |
//! | `batch` | batches of cells and of effects |
//! | `condition` | what a cell was given and where it was measured, as a vector |
//! | `reference` | the control cells that a trained model carries with it |
//! | `net` | the equations: encoder, decoder, likelihood |
//! | `objective` | what training may descend, with the equations |
//! | `loss` | those losses on a batch |
//! | `importance` | importance weights: the tighter bound, and estimates of the log-likelihood |
//! | `model` | [`CountVae`]: training, saving, the contract of all models |
//! | `encoding` | perturbations as indices, with doses where the training had some |
//! | `description` | what a model is made from, as its file holds it |
//! | `decode` | predictions: reconstructions, counterfactuals, drawn cells, effects |
//! | `traverse` | expected counts of latents that belong to no cell |
//! | `inspect` | latents and reference cells, likelihood bound, collapse |
//! | `log1p` | the expectation of log-normalised expression under the decoder |

mod batch;
mod condition;
mod config;
mod covariates;
mod decode;
mod description;
mod encoding;
mod importance;
mod inspect;
mod log1p;
mod loss;
mod model;
mod net;
mod objective;
mod reference;
mod traverse;
mod vocabulary;

pub use batch::{CellSource, CellView, ConditionBatch, EffectSource, VaeBatch, VaeInput};
pub(in crate::model) use batch::{counts_more_genes, output_bias};
pub use condition::ConditionEncoder;
pub use config::{KlAnnealing, LibrarySize, Likelihood, ThetaScope, VaeConfig, VaeSettings};
pub use covariates::Covariates;
pub use decode::{CountModel, sample_counts};
pub use encoding::{DoseCurve, DoseRange, EncodedPerturbations};
pub use importance::LogLikelihood;
pub use inspect::{CellCovariates, Collapse, Elbo};
pub(in crate::model) use log1p::Log1p;
pub use model::CountVae;
pub(in crate::model) use net::standard_normal;
pub use net::{Decoded, Posterior, VaeNet};
pub use objective::VaeObjective;
pub use reference::{KeptCovariates, REFERENCE_CELLS, Reference};
pub use vocabulary::Vocabulary;
