//! The little of HDF5 that `.h5ad` needs: opening with a clear error, text, lengths, and reading in blocks.
//!
//! A block is a whole number of the file's chunks, so that no chunk is decompressed twice, and bounded, so that a
//! matrix is never in memory twice.

use super::size::{check_attribute, check_size};
use crate::{Error, ErrorKind, Result, guard};
use hdf5::{
    Container, Dataset, File, FileBuilder, Group, H5Type, Location, LocationType, MinorErrorCode,
    filters::Filter,
    types::{FixedAscii, FixedUnicode, TypeDescriptor, VarLenAscii, VarLenUnicode},
};
use std::{io::Read, ops::Range, path::Path};

/// Values read at a time: 8 MiB of `f64`.
const BLOCK: usize = 1 << 20;
/// The first eight bytes of an HDF5 file without a user block.
pub(super) const SIGNATURE: [u8; 8] = *b"\x89HDF\r\n\x1a\n";

/// Opens a file for reading.
///
/// # Errors
/// A file that is not there or cannot be read, a folder, a file that is not HDF5, or one that ends too early.
pub(super) fn open(path: &Path) -> Result<File> {
    // HDF5 prints its own error stack to stderr unless told not to; ours is the one line that the user sees.
    hdf5::silence_errors(true);
    let mut start = [0; 8];
    let mut file = std::fs::File::open(path).map_err(|e| Error::io("read", path, e))?;
    if file.metadata().is_ok_and(|m| m.is_dir()) {
        return Err(Error::data(format!("{} is a folder; give the path of an .h5ad file", path.display())));
    }
    let length = read_fully(&mut file, &mut start).map_err(|e| Error::io("read", path, e))?;
    unlocked().open(path).map_err(|error| {
        let path = path.display();
        if length == 0 {
            Error::data(format!("{path} is empty (0 bytes), not an .h5ad file"))
        } else if error.contains_minor(MinorErrorCode::NotHdf5) || !SIGNATURE.starts_with(&start[..length]) {
            Error::data(format!("{path} is not an HDF5 file, so it cannot be an .h5ad file"))
        } else {
            Error::data(format!(
                "{path} is truncated or damaged; download or copy it again (HDF5: {})",
                innermost(&error)
            ))
        }
    })
}

/// HDF5's file access without file locks (HDF5 1.10.7 or newer).
///
/// A file is only read, or written beside its place and renamed, so locks guard nothing. They do harm: network file
/// systems refuse them, and a child process that starts while a file is open keeps its lock.
pub(super) fn unlocked() -> FileBuilder {
    let mut builder = File::with_options();
    builder.with_fapl(|access| access.file_locking(false));
    builder
}

fn read_fully(file: &mut std::fs::File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..])? {
            0 => break,
            n => length += n,
        }
    }
    Ok(length)
}

/// What HDF5 says deepest in its error stack, where the cause is.
fn innermost(error: &hdf5::Error) -> String {
    error
        .stack()
        .and_then(|stack| stack.iter().last().map(|frame| frame.desc().to_owned()))
        .unwrap_or_else(|| error.to_string())
}

/// What the operating system said, where it was that which failed: `No space left on device`.
pub(super) fn system_error(error: &hdf5::Error) -> Option<String> {
    let stack = error.stack()?;
    let said =
        stack.iter().find_map(|frame| frame.desc().split_once("error message = '").map(|(_, rest)| rest.to_owned()))?;
    said.split_once('\'').map(|(said, _)| said.to_owned())
}

/// An error of HDF5 while `doing` (a verb phrase) at `place`.
pub(super) fn failed(doing: &str, place: &str, error: &hdf5::Error) -> Error {
    Error::new(
        ErrorKind::Data,
        format!("cannot {doing} `{place}` (HDF5: {}); the file may be damaged", innermost(error)),
    )
}

/// An error of HDF5 while reading the values of an array: that its compression is not known here, where that is so.
pub(super) fn unreadable(array: &Dataset, error: &hdf5::Error) -> Error {
    if array.dcpl().is_ok_and(|plist| !plist.all_filters_avail()) {
        let names = array.filters().iter().map(filter_name).collect::<Vec<_>>().join(" and ");
        return Error::data(format!(
            "`{}` is compressed with {names}, which is not built in; write the file again with gzip",
            place(array)
        ));
    }
    failed("read", &place(array), error)
}

/// The name of a compression; those beyond HDF5's own by their registered number.
fn filter_name(filter: &Filter) -> String {
    match filter {
        Filter::User(32001, _) => "Blosc".to_owned(),
        Filter::User(32004, _) => "LZ4".to_owned(),
        Filter::User(32008, _) => "Bitshuffle".to_owned(),
        Filter::User(32015, _) => "Zstandard".to_owned(),
        Filter::User(32026, _) => "Blosc2".to_owned(),
        Filter::User(number, _) => format!("HDF5 filter {number}"),
        known => format!("{known:?}"),
    }
}

/// What stands at `name` in `group`, links followed; `None` where nothing does.
pub(super) fn kind_of(group: &Group, name: &str) -> Option<LocationType> {
    if !group.link_exists(name) {
        return None;
    }
    group.loc_type_by_name(name).ok()
}

/// The group at `name`, or `None` where there is none.
pub(super) fn group(parent: &Group, name: &str) -> Result<Option<Group>> {
    match kind_of(parent, name) {
        Some(LocationType::Group) => parent.group(name).map(Some).map_err(|e| failed("open", name, &e)),
        _ => Ok(None),
    }
}

/// The dataset `name`.
///
/// # Errors
/// It is not there, is something else, or is larger than what the file holds of it can be.
pub(super) fn dataset(parent: &Group, name: &str) -> Result<Dataset> {
    let place = join(&parent.name(), name);
    match kind_of(parent, name) {
        Some(LocationType::Dataset) => {
            let array = parent.dataset(name).map_err(|e| failed("open", &place, &e))?;
            check_size(&array).map(|()| array)
        }
        Some(_) => Err(Error::data(format!("`{place}` is a group where an array is expected"))),
        None => Err(Error::data(format!("`{place}` is missing; the file is damaged or is not an .h5ad file"))),
    }
}

/// Names of what a group holds, in HDF5's order (by name).
pub(super) fn members(parent: &Group) -> Result<Vec<String>> {
    parent.member_names().map_err(|e| failed("list", &parent.name(), &e))
}

/// `a/b` without a leading slash.
pub(super) fn join(parent: &str, name: &str) -> String {
    let parent = parent.trim_matches('/');
    if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") }
}

/// Where a location stands, for messages: without the leading slash.
pub(super) fn place(location: &Location) -> String {
    location.name().trim_start_matches('/').to_owned()
}

/// Whether an array or attribute holds nothing by its very shape (h5py's `Empty`): it must not be read.
pub(super) fn is_null(container: &Container) -> bool {
    container.space().is_ok_and(|space| space.is_null())
}

/// A text attribute, scalar; `None` where it is missing or is not text.
pub(super) fn text_attr(location: &Location, name: &str) -> Option<String> {
    let attribute = location.attr(name).ok().filter(|attribute| check_attribute(attribute).is_ok())?;
    strings(&attribute, &[]).ok()?.into_iter().next()
}

/// An attribute that lists texts; `None` where it is missing. An empty list may be of any type.
pub(super) fn texts_attr(location: &Location, name: &str) -> Result<Option<Vec<String>>> {
    let Ok(attribute) = location.attr(name) else { return Ok(None) };
    if is_null(&attribute) || attribute.size() == 0 {
        return Ok(Some(Vec::new()));
    }
    check_attribute(&attribute)?;
    strings(&attribute, &[]).map(Some).map_err(|e| e.at(format!("attribute `{name}` of `{}`", place(location))))
}

/// An attribute that holds one or more whole numbers.
pub(super) fn integers_attr(location: &Location, name: &str) -> Option<Vec<i64>> {
    let attribute = location.attr(name).ok().filter(|attribute| check_attribute(attribute).is_ok())?;
    if is_null(&attribute) { None } else { attribute.read_raw::<i64>().ok() }
}

/// The values of a numeric array `place` in memory order, converted by HDF5.
pub(super) fn numbers<T: H5Type>(dataset: &Dataset) -> Result<Vec<T>> {
    if is_null(dataset) {
        return Ok(Vec::new());
    }
    dataset.read_raw::<T>().map_err(|e| unreadable(dataset, &e))
}

/// All texts of an array or attribute, of fixed or variable length, ASCII or UTF-8, in memory order.
///
/// `rows` bounds what is read at a time for long fixed texts: pass the shape of a dataset, nothing for an attribute.
///
/// # Errors
/// The values are not text.
pub(super) fn strings(container: &Container, rows: &[usize]) -> Result<Vec<String>> {
    if is_null(container) {
        return Ok(Vec::new());
    }
    let descriptor =
        container.dtype().and_then(|t| t.to_descriptor()).map_err(|e| failed("read", &place(container), &e))?;
    let text = match descriptor {
        TypeDescriptor::VarLenAscii => read_texts::<VarLenAscii>(container, rows, |t| t.as_bytes().to_vec()),
        TypeDescriptor::VarLenUnicode => read_texts::<VarLenUnicode>(container, rows, |t| t.as_bytes().to_vec()),
        TypeDescriptor::FixedAscii(length) => match length {
            0..=32 => read_texts::<FixedAscii<32>>(container, rows, |t| t.as_bytes().to_vec()),
            33..=256 => read_texts::<FixedAscii<256>>(container, rows, |t| t.as_bytes().to_vec()),
            257..=4096 => read_texts::<FixedAscii<4096>>(container, rows, |t| t.as_bytes().to_vec()),
            _ => return Err(too_long(container, length)),
        },
        TypeDescriptor::FixedUnicode(length) => match length {
            0..=32 => read_texts::<FixedUnicode<32>>(container, rows, |t| t.as_bytes().to_vec()),
            33..=256 => read_texts::<FixedUnicode<256>>(container, rows, |t| t.as_bytes().to_vec()),
            257..=4096 => read_texts::<FixedUnicode<4096>>(container, rows, |t| t.as_bytes().to_vec()),
            _ => return Err(too_long(container, length)),
        },
        other => return Err(Error::data(format!("`{}` holds {other} where text is expected", place(container)))),
    };
    text.map_err(|e| failed("read the text of", &place(container), &e))
}

fn too_long(container: &Container, length: usize) -> Error {
    Error::data(format!("`{}` holds texts of {length} bytes each; at most 4,096 are read", place(container)))
}

/// Reads texts in blocks, since a fixed text takes its full length in memory.
fn read_texts<T: H5Type>(
    container: &Container,
    rows: &[usize],
    bytes: impl Fn(&T) -> Vec<u8>,
) -> hdf5::Result<Vec<String>> {
    let text = |value: &T| match String::from_utf8(bytes(value)) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    };
    match rows {
        [length] => {
            let mut all = Vec::with_capacity(*length);
            for range in ranges(*length, (BLOCK / size_of::<T>()).max(1)) {
                all.extend(container.read_slice_1d::<T, _>(range)?.iter().map(text));
            }
            Ok(all)
        }
        _ => Ok(container.read_raw::<T>()?.iter().map(text).collect()),
    }
}

/// `0..length` cut into ranges of at most `block`.
pub(super) fn ranges(length: usize, block: usize) -> impl Iterator<Item = Range<usize>> {
    (0..length).step_by(block.max(1)).map(move |start| {
        guard::progress();
        start..(start + block.max(1)).min(length)
    })
}

/// How many values of a one-dimensional array to read at a time: whole chunks.
pub(super) fn block_length(dataset: &Dataset) -> usize {
    match dataset.chunk().as_deref() {
        Some(&[chunk]) if chunk > 0 => chunk * (BLOCK / chunk).max(1),
        _ => BLOCK,
    }
}

/// How many rows of a two-dimensional array to read at a time: whole chunks, as long as that stays below 32 blocks.
pub(super) fn block_rows(dataset: &Dataset, columns: usize) -> usize {
    let wanted = (BLOCK / columns.max(1)).max(1);
    match dataset.chunk().as_deref() {
        Some(&[chunk, _]) if chunk > 0 && chunk * columns <= 32 * BLOCK => chunk * (wanted / chunk).max(1),
        _ => wanted,
    }
}
