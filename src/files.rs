//! Files that are either there whole or not there at all.
//!
//! A file is written beside its place, synchronised to the disk and renamed over it: a reader, a crash or a full disk
//! never meets half of one, and the older file stays until the new one is complete.

use crate::{Error, Result};
use std::{fs::File, io::Write, path::Path};
use tempfile::{Builder, NamedTempFile};

/// Replaces the file at `path` by `bytes`, all or nothing.
///
/// # Errors
/// A folder that is missing or cannot be written, a full disk. An older file is then unchanged.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomically_with(path, |file, _| file.write_all(bytes))
}

/// Replaces the file at `path` by what `write` puts into the file that it is given (open, and by its temporary path).
///
/// # Errors
/// As [`write_atomically`].
pub fn write_atomically_with(path: &Path, write: impl FnOnce(&mut File, &Path) -> std::io::Result<()>) -> Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // The kind alone: the whole message would name the temporary file, which the user knows nothing of.
    let mut beside = temporary_in(folder).map_err(|e| Error::io("write", path, e.kind().into()))?;
    let place = beside.path().to_path_buf();
    write(beside.as_file_mut(), &place)
        .and_then(|()| beside.as_file().sync_all())
        .map_err(|e| Error::io("write", path, e))?;
    beside.persist(path).map_err(|e| Error::io("write", path, e.error))?;
    // The rename itself is on the disk once the folder is. Not every file system can synchronise a folder, and the
    // file is complete either way, so a refusal is not an error.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// A temporary file that the user's umask applies to (the crate's own default is readable by the owner alone).
pub(crate) fn temporary_in(folder: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(".genailab-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}
