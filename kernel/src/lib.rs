//! The Jupyter kernel of the course, on the `evcxr` library.
//!
//! | module | what it does |
//! |---|---|
//! | [`cells`] | where cells are compiled: pinned dependencies, optimised, one folder per open notebook |
//! | `engine` | runs cells: output while they run, errors with their place, interruption |
//! | `headless` | runs notebooks without Jupyter |
//! | `jupyter` | speaks Jupyter's protocol over the engine |
//! | [`kernelspec`] | registers the kernel with Jupyter |
//! | [`reading`] | which crates rust-analyzer reads for the types of variables |
//!
//! The kernel and the headless test runner share the engine. Both are also the process in which the cells run: see
//! `start_process`.

#![deny(missing_docs)]

pub mod cells;
#[cfg(feature = "engine")]
pub mod engine;
#[cfg(feature = "engine")]
pub mod headless;
#[cfg(feature = "engine")]
pub mod jupyter;
pub mod kernelspec;
pub mod reading;

/// Must be the first call in `main`: where evcxr or the headless runner has started this binary for its own purposes, it
/// does not return.
#[cfg(feature = "engine")]
pub fn start_process() {
    engine::start_process();
    headless::serve_if_worker();
}
