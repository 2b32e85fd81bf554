//! From a file to counts: reading, cleaning, splitting, simulating, fetching.

mod anndata;
mod counts;
mod dataset;
mod effects;
mod labels;
mod names;
mod open;
mod perturbation;
mod table;

pub use anndata::{AnnData, AnnDataWriter, MatrixKind, MatrixRef, MatrixSummary, Uns};
pub use counts::Counts;
pub use dataset::Dataset;
pub use effects::Effects;
pub use open::{OpenOptions, Opened, is_effects, open, open_with};
pub use perturbation::{Naming, Perturbation};
pub use table::{Column, Table};
