//! Lines of text files, also of such as are compressed with gzip.

use crate::{Error, Result};
use flate2::read::MultiGzDecoder;
use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

/// A longer line is no table; it would be held in memory whole.
const LONGEST_LINE: u64 = 256 << 20;
const BUFFER: usize = 1 << 18;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Reads a text file line by line into one buffer.
pub(super) struct Lines {
    reader: Box<dyn BufRead>,
    line: Vec<u8>,
    /// Number of the line that was read last, from 1.
    pub(super) number: usize,
}

impl Lines {
    /// Opens a file; one that begins as gzip does is decompressed.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let failed = |e| Error::io("read", path, e);
        let mut plain = BufReader::with_capacity(BUFFER, File::open(path).map_err(failed)?);
        let reader: Box<dyn BufRead> = match plain.fill_buf().map_err(failed)?.starts_with(&GZIP) {
            true => Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(plain))),
            false => Box::new(plain),
        };
        Ok(Self { reader, line: Vec::new(), number: 0 })
    }

    /// The next line without its end, `None` at the end of the file.
    ///
    /// # Errors
    /// Damaged gzip, or a line of more than 256 MiB.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>> {
        self.line.clear();
        let at = |number: usize, why: String| Error::data(format!("line {}: {why}", number + 1));
        let read = self.reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut self.line);
        let length = read.map_err(|e| at(self.number, format!("{e}; the file is damaged or cut off")))?;
        if length == 0 {
            return Ok(None);
        }
        if length as u64 == LONGEST_LINE {
            return Err(at(self.number, "it is longer than 256 MiB, so this is not a table".to_owned()));
        }
        self.number += 1;
        while matches!(self.line.last(), Some(b'\n' | b'\r')) {
            self.line.pop();
        }
        // Windows programs put a byte order mark first.
        let skipped = if self.number == 1 && self.line.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        Ok(Some(&self.line[skipped..]))
    }
}

/// The first bytes of a file that is compressed with gzip; as many as can be had of a damaged one.
pub(super) fn decompressed(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        // What cannot be decompressed is not text, and is reported as what it is not.
        let _ = MultiGzDecoder::new(file).take(super::START as u64).read_to_end(&mut bytes);
    }
    bytes
}

/// The first bytes of a file as text, decompressed; `None` where they are not text.
pub(super) fn beginning(path: &Path, start: &[u8]) -> Option<String> {
    let bytes = if start.starts_with(&GZIP) { decompressed(path) } else { start.to_vec() };
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        // The last character may be cut off.
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    let is_text = !text.is_empty() && !text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r'));
    is_text.then(|| text.to_owned())
}
