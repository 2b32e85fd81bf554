//! Unstructured entries (`uns`): texts, numbers, arrays, and dictionaries of them.

use super::hdf;
use crate::{Error, Result};
use hdf5::{Dataset, Group, LocationType, types::TypeDescriptor};
use ndarray::{Array, ArrayD, Dimension};

/// An entry of `uns`.
#[derive(Debug, Clone, PartialEq)]
pub enum Uns {
    /// One text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
    /// One number.
    Number(f64),
    /// An array of numbers of any shape.
    Array(ArrayD<f32>),
    /// Named entries, in order.
    Dict(Vec<(String, Uns)>),
}

impl Uns {
    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The list of texts, if it is one.
    pub fn as_texts(&self) -> Option<&[String]> {
        if let Self::Texts(texts) = self { Some(texts) } else { None }
    }

    /// The number, if it is one.
    pub fn as_number(&self) -> Option<f64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    /// The array, if it is one.
    pub fn as_array(&self) -> Option<&ArrayD<f32>> {
        if let Self::Array(array) = self { Some(array) } else { None }
    }

    /// The entry `key`, if this is a dictionary that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Dict(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, entry)| entry),
            _ => None,
        }
    }
}

impl From<&str> for Uns {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Uns {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<String>> for Uns {
    fn from(texts: Vec<String>) -> Self {
        Self::Texts(texts)
    }
}

impl From<f64> for Uns {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl<D: Dimension> From<Array<f32, D>> for Uns {
    fn from(array: Array<f32, D>) -> Self {
        Self::Array(array.into_dyn())
    }
}

impl<K: Into<String>, V: Into<Uns>> FromIterator<(K, V)> for Uns {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self::Dict(entries.into_iter().map(|(key, entry)| (key.into(), entry.into())).collect())
    }
}

/// Reads the entry at `path` (`a/b/c`) of `uns`; `None` where there is none, or it is of a kind that [`Uns`] has no
/// place for. Entries of such kinds are left out of a dictionary, too.
pub(super) fn read(parent: &Group, path: &str) -> Result<Option<Uns>> {
    match hdf::kind_of(parent, path) {
        Some(LocationType::Group) => {
            let group = parent.group(path).map_err(|e| hdf::failed("open", path, &e))?;
            // A group that is no plain dictionary is a data frame, a sparse matrix or the like.
            if hdf::text_attr(&group, "encoding-type").is_some_and(|kind| kind != "dict") {
                return Ok(None);
            }
            let mut entries = Vec::new();
            for name in hdf::members(&group)? {
                if let Some(entry) = read(&group, &name)? {
                    entries.push((name, entry));
                }
            }
            Ok(Some(Uns::Dict(entries)))
        }
        Some(LocationType::Dataset) => value(&hdf::dataset(parent, path)?),
        _ => Ok(None),
    }
}

fn value(array: &Dataset) -> Result<Option<Uns>> {
    let shape = array.shape();
    let Ok(descriptor) = array.dtype().and_then(|dtype| dtype.to_descriptor()) else { return Ok(None) };
    if hdf::is_null(array) {
        return Ok(None);
    }
    Ok(match descriptor {
        TypeDescriptor::FixedAscii(_)
        | TypeDescriptor::FixedUnicode(_)
        | TypeDescriptor::VarLenAscii
        | TypeDescriptor::VarLenUnicode => {
            let texts = hdf::strings(array, &shape)?;
            if shape.is_empty() { texts.into_iter().next().map(Uns::Text) } else { Some(Uns::Texts(texts)) }
        }
        TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_) | TypeDescriptor::Float(_) => {
            if shape.is_empty() {
                hdf::numbers::<f64>(array)?.first().copied().map(Uns::Number)
            } else {
                let values = hdf::numbers::<f32>(array)?;
                let array = ArrayD::from_shape_vec(shape, values)
                    .map_err(|e| Error::data(format!("`{}`: {e}", hdf::place(array))))?;
                Some(Uns::Array(array))
            }
        }
        _ => None,
    })
}
