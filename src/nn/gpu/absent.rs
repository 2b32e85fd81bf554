//! Without the backend: every call says how to build it.

use super::{Adapter, NAME};
use crate::{Error, ErrorKind, Result};

/// There is no way to have one. No empty enum: the compiler would call what follows [`enter`] unreachable.
pub struct Entered {
    _private: (),
}

/// None: nothing is built in that could find them.
///
/// # Errors
/// Always.
pub fn adapters() -> Result<Vec<Adapter>> {
    not_built_in()
}

/// # Errors
/// Always.
pub fn enter() -> Result<Entered> {
    not_built_in()
}

fn not_built_in<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Device, format!("{NAME}: not built in; rebuild with --features metal")))
}
