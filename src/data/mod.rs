//! From a file to counts: reading, cleaning, splitting, simulating, fetching.

mod anndata;
mod counts;
mod dataset;
mod perturbation;
mod table;

pub use anndata::{AnnData, MatrixKind, MatrixSummary};
pub use counts::Counts;
pub use dataset::{Dataset, Effects};
pub use perturbation::Perturbation;
pub use table::{Column, Table};
