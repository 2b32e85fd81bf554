//! Checksums of files, and the record of one beside its file.

use crate::{Error, Result, files::write_atomically};
use md5::Md5;
use sha2::{Digest, Sha256};
use std::{
    fmt::Write,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

/// Bytes read at once.
const BLOCK: usize = 1 << 20;

/// Size and checksums of a file, in hexadecimal.
pub struct Sums {
    pub size: u64,
    pub md5: String,
    pub sha256: String,
}

/// Reads the file once.
pub fn of_file(path: &Path) -> Result<Sums> {
    let mut file = File::open(path).map_err(|error| Error::io("read", path, error))?;
    let (mut md5, mut sha256, mut size) = (Md5::new(), Sha256::new(), 0);
    let mut block = vec![0; BLOCK];
    loop {
        let read = file.read(&mut block).map_err(|error| Error::io("read", path, error))?;
        if read == 0 {
            return Ok(Sums { size, md5: hex(&md5.finalize()), sha256: hex(&sha256.finalize()) });
        }
        md5.update(&block[..read]);
        sha256.update(&block[..read]);
        size += read as u64;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn record_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sha256");
    PathBuf::from(name)
}

/// Writes `FILE.sha256` in the form that `sha256sum --check` reads.
pub fn record(path: &Path, sha256: &str) -> Result<()> {
    let record = record_path(path);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    write_atomically(&record, format!("{sha256}  {name}\n").as_bytes())
}

/// The SHA-256 that was recorded for the file; `None` if none was.
pub fn recorded(path: &Path) -> Result<Option<String>> {
    let record = record_path(path);
    match fs::read_to_string(&record) {
        Ok(text) => Ok(text.split_whitespace().next().map(str::to_owned)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", &record, error)),
    }
}
