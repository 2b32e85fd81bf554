//! Formats other than `.h5ad`, through the tool: files that Python writes (`tests/reference/formats.py`), and what becomes of them.

mod guarded;
mod opened;
mod python;
mod tables;

pub use python::files;
