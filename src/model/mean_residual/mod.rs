//! Expression from metadata: a conditional mean, and a distribution of the residual around it.
//!
//! ```text
//! y = mu(m) + s(m) r                                            log expression of a sample, (genes,)
//! mu(m) = W phi(m) + b + w f(m) B                               mean
//! r ~ N(0, L'L + diag(psi))    or    r = t C + noise, t ~ flow(. | m)        residual
//! ```
//!
//! m is the metadata of the sample (tissue, disease, drug, dose, age, …) and phi(m) its 0/1 columns and numbers
//! ([`MetadataEncoder`](crate::data::MetadataEncoder)). W is a ridge regression, f a network on embeddings of the levels whose
//! output are coordinates in the principal components B `(components, genes)` of what the regression leaves over, and w in 0..=1
//! how far the network is trusted.
//!
//! **Cross-fitting.** The rows are divided into folds. Penalty, w and the residual's distribution are all fitted to predictions of
//! rows by fits that have not seen them: the residuals of rows that were fitted are too small, and intervals made of them too
//! narrow. The final regression is fitted to all rows, and f is the mean of the networks of the folds.
//!
//! | file | what |
//! |---|---|
//! | `config` | the settings |
//! | `net` | f in training |
//! | `mean` | cross-fitting: mu, and the residual of each row |
//! | `residual` | s, and the distribution of r |
//! | `model` | [`MeanResidual`]: the contract of models |
//!
//! Predicting expression from metadata is the idea of GEM-1 (Synthesize Bio), which was trained on public archives; the networks here are
//! small and trained on one data set. Factor analysis: Rubin and Thayer, Psychometrika 1982. Cross-fitting: Chernozhukov et al. 2018.

mod config;
mod mean;
mod model;
mod net;
mod residual;

pub use config::{HoldOut, MeanConfig, MeanResidualSettings, MetadataConfig, ResidualConfig, ResidualKind};
pub use model::MeanResidual;
pub use net::{MeanBatch, MeanNet};
