//! The combination model: mean effects of combinations of perturbations, from the effects of single ones.
//!
//! A combination is predicted in three steps. Each starts from what the previous one leaves, its *residual*:
//!
//! 1. the scaled sum of the single effects (`scaled_sum`);
//! 2. kernel ridge regression on the residuals of similar training combinations (`kernel_ridge`);
//! 3. a small network for the same residuals (`network`), with a share that is close to zero on the data seen so far.
//!
//! The training combinations are divided into folds. One network is trained without each fold and predicts it, and so do a
//! scaled sum and a kernel ridge. The shares of kernel ridge and network are those with the smallest error on these
//! left-out combinations, so an estimate that does not carry over to unseen combinations is not used.
//!
//! A gene that was perturbed alone is represented by its single effect, another gene by its features (`unseen`). Sources:
//! Assran et al. 2023 (I-JEPA: predicted embeddings, moving-average teacher), Bardes et al. 2022 (variance and covariance),
//! Wolpert 1992 (stacked generalization).

mod config;
mod contract;
mod kernel_ridge;
mod model;
mod network;
mod scaled_sum;
mod singles;
mod unseen;

pub use config::{CombinationConfig, CombinationSettings};
pub use kernel_ridge::Mixture;
pub use model::CombinationModel;
pub use unseen::{GeneFeature, UnseenChoice};
