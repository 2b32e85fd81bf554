//! Level 0 of the JEPA: from the mean state of control to the mean state of a perturbation.
//!
//! The only level for effects datasets, which have one row a perturbation. A combination is predicted in three steps,
//! each of which starts from what the one before it left over:
//!
//! 1. the scaled sum of its single effects (`scaled_sum`), which no prediction falls far below;
//! 2. the departure that similar training combinations show (`memory`);
//! 3. the departure that the predictor decodes from the embedding it predicts (`net`).
//!
//! The training combinations are divided into folds. A member of the ensemble is trained without one fold and predicts
//! it; how much of each departure is used is what makes these predictions of unseen combinations best. So everything is
//! chosen inside the training fold, and departures that do not carry over are left out by themselves.
//!
//! A gene that was perturbed alone is represented by its single effect, another one by its features (`unseen`). Source of
//! the parts: Assran et al. 2023 (I-JEPA: predicted embeddings, moving-average teacher), Bardes et al. 2022 (variance and
//! covariance), Wolpert 1992 (stacked generalization).

mod combinations;
mod config;
mod contract;
mod fit;
mod member;
mod memory;
mod net;
mod scaled_sum;
mod singles;
mod space;
mod stack;
mod unseen;

pub use config::CombinationConfig;
pub use contract::CombinationSettings;
pub use fit::CombinationModel;
pub use stack::Mixture;
pub use unseen::{GeneFeature, UnseenChoice};
