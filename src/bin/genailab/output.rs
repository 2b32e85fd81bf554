//! Where a command writes to: known to be writable before any work is done, and one process at a time in a folder.

use crate::provenance;
use genailab::{
    Error, Result,
    files::{Listed, behind_links, check_place, check_writable, folder_of, remove_abandoned},
};
use std::{
    fs::{File, TryLockError},
    ops::Deref,
    path::{Path, PathBuf},
};

/// Held by the process that writes into the folder, and gone when it has ended.
const LOCK: &str = ".genailab.lock";

/// The output folder of a command. It is removed again if the command made it and left nothing in it.
pub struct OutputFolder {
    path: PathBuf,
    made: bool,
    /// `None` where the file system cannot lock.
    _lock: Option<File>,
    _listed: Option<Listed>,
}

impl OutputFolder {
    /// [`Self::new`] for results that are no model: they would replace the report and the provenance of a model there.
    ///
    /// # Errors
    /// As [`Self::new`]; the folder of a model.
    pub fn for_results(path: &Path) -> Result<Self> {
        if path.join("model.json").is_file() {
            return Err(Error::config(format!("{} holds a model; give another --out", path.display())));
        }
        Self::new(path)
    }

    /// Makes the folder, so that one that cannot be written is known before any work is done, and removes what a process that
    /// was killed had half written.
    ///
    /// # Errors
    /// A folder that cannot be made or written; one that another process writes into.
    pub fn new(path: &Path) -> Result<Self> {
        if path.is_file() {
            return Err(Error::config(format!("{} is a file; --out names a folder: give another", path.display())));
        }
        let made = !path.exists();
        std::fs::create_dir_all(path).map_err(|e| Error::io("create the folder", path, e))?;
        let mut folder = Self { path: path.to_owned(), made, _lock: None, _listed: None };
        check_writable(path).map_err(|e| Error::io("write into the folder", path, e))?;
        folder._lock = lock(path)?;
        // Not before it is this process's own.
        folder._listed = folder._lock.as_ref().map(|_| Listed::new(&path.join(LOCK)));
        remove_abandoned_below(path);
        provenance::writes(path);
        Ok(folder)
    }
}

impl Deref for OutputFolder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl Drop for OutputFolder {
    fn drop(&mut self) {
        if self._lock.is_some() {
            // While it is still locked, so that it cannot be the lock of another process.
            let _ = std::fs::remove_file(self.path.join(LOCK));
        }
        if self.made {
            // Refused, as it should be, unless the folder is empty.
            let _ = std::fs::remove_dir(&self.path);
        }
    }
}

fn lock(folder: &Path) -> Result<Option<File>> {
    let path = folder.join(LOCK);
    loop {
        let file = File::create(&path).map_err(|e| Error::io("write into the folder", folder, e))?;
        match file.try_lock() {
            // The process that had it may have removed the file before it let it go.
            Ok(()) if !is_at(&file, &path) => {}
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) => {
                return Err(Error::config(format!(
                    "another genailab writes into {}; wait until it has ended, or give another --out",
                    folder.display()
                )));
            }
            Err(TryLockError::Error(_)) => {
                let _ = std::fs::remove_file(&path);
                return Ok(None);
            }
        }
    }
}

/// Whether the open file is the one that the path leads to.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let same = |(a, b): (std::fs::Metadata, std::fs::Metadata)| (a.dev(), a.ino()) == (b.dev(), b.ino());
    file.metadata().and_then(|open| Ok((open, path.metadata()?))).is_ok_and(same)
}

#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

/// Removes files that were never completed, from the folder and those of the models in it. Links are not followed: what they lead
/// to is not of this command.
fn remove_abandoned_below(folder: &Path) {
    remove_abandoned(folder);
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_abandoned_below(&entry.path());
        }
    }
}

/// Checks that a file can be written at `path`, before the work that fills it, and removes what a process that was killed had
/// half written beside it.
pub fn check_output_file(path: &Path) -> Result<()> {
    check_place(path)?;
    let place = behind_links(path);
    remove_abandoned(folder_of(&place));
    check_writable(folder_of(&place)).map_err(|e| Error::io("write", path, e))?;
    provenance::writes_file(path);
    Ok(())
}

/// A field of a CSV file (RFC 4180).
pub fn csv_field(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}
