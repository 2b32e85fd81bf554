//! What was trained of an [`Adapted`](super::Adapted) model and nothing else, as a file: safetensors, with the SHA-256 of the
//! base that it belongs to and a description of how it was trained.

use super::{Backend, Checkpoint, HostTensor, Params, Snapshot};
use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, path::Path};

/// Metadata entries of the file.
const BASE: &str = "base";
const ABOUT: &str = "about";

/// SHA-256 over names, shapes and values of all tensors of a model.
///
/// # Errors
/// Those of the walk.
pub fn hash_of<D: Backend, M: Params<D>>(model: &M) -> Result<String> {
    let mut hash = Sha256::new();
    for (name, HostTensor { shape, values }) in Snapshot::of(model)?.into_tensors() {
        hash.update(format!("{name} {shape:?}\n"));
        values.iter().for_each(|value| hash.update(value.to_le_bytes()));
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// As many digits of a hash as a message needs.
pub(super) fn short_hash(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

/// What was trained of an [`Adapted`](super::Adapted) model, apart from its base.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterFile {
    /// [`hash_of`] the base.
    pub base: String,
    /// How it was trained, for a reader and for whoever builds the same wrapper again.
    pub about: serde_json::Value,
    tensors: Snapshot,
}

impl AdapterFile {
    pub(super) fn new(base: &str, about: &serde_json::Value, tensors: Snapshot) -> Self {
        Self { base: base.to_owned(), about: about.clone(), tensors }
    }

    pub(super) fn tensors(&self) -> &BTreeMap<String, HostTensor> {
        self.tensors.tensors()
    }

    /// Writes a safetensors file, all or nothing.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let about = [(BASE.to_owned(), self.base.clone()), (ABOUT.to_owned(), self.about.to_string())];
        Checkpoint { tensors: self.tensors.clone(), metadata: about.into() }.write(path)
    }

    /// Reads what [`Self::write`] wrote.
    ///
    /// # Errors
    /// No such file; a file that is damaged or no adapter.
    pub fn read(path: &Path) -> Result<Self> {
        let Checkpoint { tensors, mut metadata } = Checkpoint::read(path)?;
        let mut take = |name: &str| {
            metadata.remove(name).ok_or_else(|| {
                Error::data("it holds no adapter; give the adapter.safetensors that `genailab adapt` wrote")
                    .at(path.display())
            })
        };
        let (base, about) = (take(BASE)?, take(ABOUT)?);
        let about = serde_json::from_str(&about)
            .map_err(|e| Error::data(format!("its description is damaged: {e}")).at(path.display()))?;
        Ok(Self { base, about, tensors })
    }
}
