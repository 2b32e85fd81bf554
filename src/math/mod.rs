//! Numerical methods: no biology, no models.

pub(crate) mod cholesky;
mod directions;
mod eigen;
pub(crate) mod loess;
pub(crate) mod logistic;
mod pca;
pub(crate) mod seeds;

pub(crate) use directions::{EXACT_ROWS, directions};
pub(crate) use eigen::symmetric_eigen;
pub use pca::Pca;
