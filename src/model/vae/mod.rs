//! The count VAE.
//!
//! | file | content |
//! |---|---|
//! | `config` | settings of the network and of its training |
//! | `batch` | batches of cells and of effects, and the names behind them |
//! | `net` | the equations: condition, encoder, decoder, loss |
//! | `model` | [`CountVae`]: training, saving, the contract of all models |
//! | `decode` | predictions: reconstructions, counterfactuals, drawn cells, effects |
//! | `inspect` | latents, likelihood bound, collapse |

mod batch;
mod config;
mod decode;
mod inspect;
mod model;
mod net;

pub use batch::{CellSource, CellView, ConditionBatch, EffectSource, Observed, VaeBatch, Vocabulary};
pub use config::{KlAnnealing, LibrarySize, Likelihood, ThetaScope, VaeConfig, VaeSettings};
pub use decode::{CellCovariates, CountModel, sample_counts};
pub use inspect::{Collapse, Elbo};
pub use model::CountVae;
pub(in crate::model) use model::output_bias;
pub use net::{ConditionEncoder, Decoded, Posterior, REFERENCE_CELLS, Reference, VaeNet};
