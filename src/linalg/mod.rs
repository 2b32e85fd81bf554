//! The linear algebra that models and their judges share: systems, eigenvectors, principal components.
//!
//! | file | what |
//! |---|---|
//! | `cholesky` | systems of a positive definite matrix |
//! | `eigen` | all eigenvectors of a symmetric matrix |
//! | `pca` | the leading components of many rows |
//! | `directions` | the space that effects lie in |

pub(crate) mod cholesky;
mod directions;
mod eigen;
mod pca;

pub(crate) use directions::{EXACT_ROWS, directions};
pub(crate) use eigen::symmetric_eigen;
pub use pca::Pca;
