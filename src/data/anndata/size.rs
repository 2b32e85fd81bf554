//! What an array states about its size, against what the file holds of it: checked before memory is taken.

use super::hdf::place;
use crate::{Error, Result};
use hdf5::{Container, Dataset};

/// An array of fewer bytes is read whatever it takes in the file: one that was never written takes nothing.
const SMALL: u128 = 64 << 20;
/// Gzip makes nothing smaller than by this factor (RFC 1951: 258 bytes in 2 bits), and LZF and shuffling do less.
const MOST_COMPRESSED: u128 = 1032;

/// Refuses an array that states more values than the bytes that the file keeps of it can hold, before memory is taken for them.
pub(super) fn check_size(array: &Dataset) -> Result<()> {
    let values: u128 = array.shape().iter().map(|&n| n as u128).product();
    let stated = values * array.dtype().map_or(1, |dtype| dtype.size()) as u128;
    let chunk = array.chunk().map_or(0, |chunk| chunk.iter().map(|&n| n as u128).product());
    if stated.max(chunk) <= SMALL {
        return Ok(());
    }
    let file = array.file().map_or(u64::MAX, |file| file.size());
    let stored = array.storage_size().min(file);
    if stated.max(chunk) <= u128::from(stored) * MOST_COMPRESSED {
        return Ok(());
    }
    Err(Error::data(format!(
        "`{}` states {stated} bytes of values, and the file holds {stored} bytes of them; the file is damaged",
        place(array)
    )))
}

/// Refuses an attribute (or a small array) that states too many values.
pub(super) fn check_attribute(container: &Container) -> Result<()> {
    let values: u128 = container.shape().iter().map(|&n| n as u128).product();
    match values * container.dtype().map_or(1, |dtype| dtype.size()) as u128 <= SMALL {
        true => Ok(()),
        false => Err(Error::data(format!(
            "an attribute of `{}` states {values} values; the file is damaged",
            place(container)
        ))),
    }
}
