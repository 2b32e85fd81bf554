//! The models, one folder per family.

pub mod causal_vae;
mod checkpoints;
pub mod combination;
mod config;
mod contract;
mod courses;
pub mod diffusion;
pub mod ebm;
pub mod expression_flow;
pub mod flow;
mod from_metadata;
mod generated;
pub mod jepa;
pub mod jepa_diffusion;
pub mod latent_diffusion;
pub mod mean_residual;
pub mod presets;
pub mod registry;
mod settings;
mod state;
pub mod static_dynamic;
mod training_folder;
pub mod vae;
pub mod world;

pub use crate::data::NORMALISED_TOTAL;
pub use checkpoints::{Checkpoints, Origin, VARIABLE as CHECKPOINTS_VARIABLE, fit_or_load, fit_or_load_by};
pub use config::{ModelConfig, NoSettings};
pub use contract::{Abilities, HeldOutScore, Model, Sampling, Trained};
pub use courses::{CoursePrediction, CourseQuery};
pub use from_metadata::{ExpectedExpression, FromMetadata, INTERVAL_LEVEL};
pub use generated::Generated;
pub use mean_residual::HoldOut;
pub use settings::SettingsFile;
pub use state::{State, WEIGHTS, saved_kind};
pub use training_folder::{check_folder, forget_checkpoints};
pub use vae::{
    CellCovariates, CellSource, CellView, Collapse, ConditionBatch, ConditionEncoder, CountModel, CountVae, Decoded,
    EffectSource, Elbo, KlAnnealing, LibrarySize, Likelihood, LogLikelihood, Posterior, REFERENCE_CELLS, Reference,
    ThetaScope, VaeBatch, VaeConfig, VaeInput, VaeNet, VaeObjective, VaeSettings, Vocabulary, sample_counts,
};
