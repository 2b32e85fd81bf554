//! What stands around evcxr so that a notebook of this repository compiles the pinned dependencies, optimised, from
//! any folder of the course, with several notebooks open at once. The kernel and the headless test runner share it.

#![deny(missing_docs)]

pub mod cells;
pub mod kernelspec;
