//! Numerical methods: no biology, no models.

#[doc(hidden)]
pub mod cholesky;
mod directions;
mod eigen;
mod lanczos;
pub(crate) mod left_out;
#[doc(hidden)]
pub mod loess;
pub(crate) mod logistic;
mod pca;
#[doc(hidden)]
pub mod ridge;
pub(crate) mod seeds;
mod sinkhorn;
mod statistics;

pub(crate) use directions::{EXACT_ROWS, directions};
#[doc(hidden)]
pub use eigen::symmetric_eigen;
pub(crate) use lanczos::{TOLERANCE as LANCZOS_TOLERANCE, leading_eigenvectors};
pub use pca::Pca;
pub use sinkhorn::{Coupling, SinkhornConfig, sinkhorn, squared_distances};
#[doc(hidden)]
pub use statistics::median;
pub(crate) use statistics::sum_factor;
