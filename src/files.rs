//! Files that are either there whole or not there at all.
//!
//! A file is written beside its place, synchronised to the disk and renamed over it: a reader, a crash or a full disk
//! never meets half of one, and the older file stays until the new one is complete.
//!
//! While it is written it is locked. A file of that kind that nobody holds was left by a process that was killed, and the next
//! command that writes into the folder removes it ([`remove_abandoned`]).

use crate::{Error, Result};
use flate2::read::MultiGzDecoder;
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};
use tempfile::{Builder, NamedTempFile};

/// How the name of a file begins that is still being written.
const UNFINISHED: &str = ".genailab-";
/// And how it ends.
const ENDING: &str = ".part";

/// Those that this process is writing.
static IN_PROGRESS: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// The text of a file; one that begins as gzip does is decompressed.
///
/// # Errors
/// A file that cannot be read, damaged gzip, bytes that are not UTF-8: with the file's name.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let mut text = String::new();
    let read = match bytes.starts_with(&[0x1f, 0x8b]) {
        true => MultiGzDecoder::new(bytes.as_slice()).read_to_string(&mut text),
        false => bytes.as_slice().read_to_string(&mut text),
    };
    match read {
        Ok(_) => Ok(text),
        Err(e) => Err(Error::data(format!("{e}; it must be text, or text compressed with gzip")).at(path.display())),
    }
}

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
pub fn write_atomically_with(path: &Path, write: impl FnOnce(&mut File, &Path) -> io::Result<()>) -> Result<()> {
    let mut unfinished = Unfinished::beside(path)?;
    let place = unfinished.path().to_path_buf();
    write(unfinished.file.as_file_mut(), &place).map_err(|e| Error::io("write", path, e))?;
    unfinished.finish()
}

/// A file that is being written beside its place. It is removed unless it is finished.
pub(crate) struct Unfinished {
    file: NamedTempFile,
    /// The path that was asked for, which messages name.
    asked: PathBuf,
    /// Where the file goes: what `asked` leads to.
    place: PathBuf,
    _listed: Listed,
}

impl Unfinished {
    /// Begins the file that will be at `path`. A symbolic link stays, and the file that it leads to is replaced.
    ///
    /// # Errors
    /// A folder that is missing or cannot be written; something at `path` that is no ordinary file.
    pub(crate) fn beside(path: &Path) -> Result<Self> {
        check_place(path)?;
        let place = behind_links(path);
        // The kind alone: the whole message would name the temporary file, which the user knows nothing of.
        let file = temporary_in(folder_of(&place)).map_err(|e| Error::io("write", path, plain(&e)))?;
        let _listed = Listed::new(file.path());
        Ok(Self { file, asked: path.to_owned(), place, _listed })
    }

    /// Where the file is meanwhile.
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Puts the file into its place.
    ///
    /// # Errors
    /// A disk that is full, or cannot be written any more.
    pub(crate) fn finish(self) -> Result<()> {
        let Self { file, asked, place, _listed } = self;
        let failed = |e: io::Error| Error::io("write", &asked, e);
        // Who may read the older file may read this one.
        if let Ok(older) = place.metadata() {
            file.as_file().set_permissions(older.permissions()).map_err(failed)?;
        }
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&place).map_err(|e| failed(e.error))?;
        // The rename itself is on the disk once the folder is. Not every file system can synchronise a folder, and the
        // file is complete either way, so a refusal is not an error.
        if let Ok(folder) = File::open(folder_of(&place)) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

/// A file that [`remove_unfinished`] removes as long as this lives.
pub struct Listed(PathBuf);

impl Listed {
    /// Lists the file.
    pub fn new(path: &Path) -> Self {
        in_progress(|all| all.insert(path.to_owned()));
        Self(path.to_owned())
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        in_progress(|all| all.remove(&self.0));
    }
}

fn in_progress<T>(what: impl FnOnce(&mut BTreeSet<PathBuf>) -> T) -> T {
    what(&mut IN_PROGRESS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Removes what this process has half written, because it is about to end without going back through its functions.
pub fn remove_unfinished() {
    in_progress(|all| all.iter().for_each(|path| drop(fs::remove_file(path))));
}

/// Removes the files in `folder` that a process was writing when it was killed. Those of a living process are locked, and stay; on
/// a file system that cannot lock all stay.
pub fn remove_abandoned(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let named = |name: &str| name.starts_with(UNFINISHED) && name.ends_with(ENDING);
        let is_unfinished = entry.file_name().to_str().is_some_and(named);
        if is_unfinished && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let path = entry.path();
            // Locked until it is gone, so that nobody else takes it for a file of their own in between.
            if let Ok(file) = File::open(&path)
                && file.try_lock().is_ok()
            {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// Checks that a file can be made in the folder.
///
/// # Errors
/// What the system says, without the name of the file that was tried, which the user knows nothing of.
pub fn check_writable(folder: &Path) -> io::Result<()> {
    temporary_in(folder).map(drop).map_err(|e| plain(&e))
}

/// Checks that what is at `path`, if anything is, can be replaced by a file.
///
/// # Errors
/// A folder, a device or a pipe; a folder around it that is missing.
pub fn check_place(path: &Path) -> Result<()> {
    let fails = |why: &str| Err(Error::config(format!("cannot write {}: {why}", path.display())));
    // What lies there may lead to a file of the user, such as /dev/stdout of `>> log.txt`, which would be replaced.
    if ["/dev", "/proc"].iter().any(|root| path.starts_with(root)) {
        return fails("it is a device or a pipe; give the name of a file");
    }
    match path.metadata() {
        Ok(found) if found.is_dir() => return fails("it is a folder; give a file name"),
        // A rename would put a file in the place of the device, for all programs.
        Ok(found) if !found.is_file() => return fails("it is a device or a pipe; give the name of a file"),
        _ => {}
    }
    let folder = folder_of(path);
    match folder.is_dir() {
        true => Ok(()),
        false => fails(&format!("there is no folder {}; make it first, or write elsewhere", folder.display())),
    }
}

/// The folder of a file; `.` where the path names none.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What a path leads to, also where nothing is there yet.
pub fn behind_links(path: &Path) -> PathBuf {
    match fs::read_link(path) {
        Ok(target) => fs::canonicalize(path).unwrap_or_else(|_| folder_of(path).join(target)),
        Err(_) => path.to_owned(),
    }
}

/// The error without the path of a temporary file.
fn plain(error: &io::Error) -> io::Error {
    // The crate that makes temporary files wraps the system's error.
    let source = error.get_ref().and_then(|inner| inner.source()).and_then(|inner| inner.downcast_ref::<io::Error>());
    let code = error.raw_os_error().or_else(|| source.and_then(io::Error::raw_os_error));
    code.map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

/// A temporary file that the user's umask applies to (the crate's own default is readable by the owner alone), locked.
fn temporary_in(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(UNFINISHED).suffix(ENDING);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    loop {
        let file = builder.tempfile_in(folder)?;
        // Where the file system cannot lock, nothing is removed.
        let _ = file.as_file().lock();
        // Between its making and the lock another process may have taken it for an abandoned one.
        if file.path().exists() {
            return Ok(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abandoned_files_are_removed_and_those_in_progress_stay() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let unfinished = Unfinished::beside(&folder.path().join("wanted")).expect("a folder that can be written");
        let abandoned = folder.path().join(".genailab-x1.part");
        fs::write(&abandoned, "half").expect("written");
        let of_user = folder.path().join(".genailab-notes");
        fs::write(&of_user, "mine").expect("written");
        remove_abandoned(folder.path());
        assert!(!abandoned.exists() && unfinished.path().exists() && of_user.exists());
        fs::remove_file(of_user).expect("it is there");
        unfinished.finish().expect("it can be written");
        assert!(folder.path().join("wanted").exists());
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
        in_progress(|all| assert!(!all.iter().any(|path| path.starts_with(folder.path()))));
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_and_devices_are_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (link, target) = (folder.path().join("link"), folder.path().join("target"));
        std::os::unix::fs::symlink("target", &link).expect("a link");
        for text in ["first", "second"] {
            write_atomically(&link, text.as_bytes()).expect("it can be written");
            assert_eq!(fs::read_to_string(&target).expect("written"), text);
            assert!(link.is_symlink());
        }
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).expect("it is there");
        write_atomically(&target, b"third").expect("it can be written");
        let mode = target.metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "who may read it stays");
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo is a standard tool");
        assert!(made.success());
        assert!(write_atomically(Path::new("/dev/stdout"), b"x").is_err());
        let error = write_atomically(&pipe, b"x").expect_err("a pipe");
        assert!(error.to_string().contains("pipe: it is a device or a pipe"), "{error}");
    }
}
