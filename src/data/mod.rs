//! From a file to counts: reading, cleaning, splitting, simulating, fetching.

mod counts;
mod dataset;
pub mod fetch;
mod perturbation;
mod table;

pub use counts::Counts;
pub use dataset::{Dataset, Effects};
pub use fetch::fetch;
pub use perturbation::Perturbation;
pub use table::{Column, Table};
