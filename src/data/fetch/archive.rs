//! Takes one file out of a ZIP archive (PKWARE APPNOTE 6.3.3: stored or deflated, no encryption, below 4 GiB).

use crate::{Error, Result};
use flate2::{CrcReader, read::DeflateDecoder};
use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::Path,
};

/// Length of the record that ends an archive, without its comment.
const END_RECORD: u64 = 22;
/// An archive's comment is at most this long, so that its end record is found in the file's last bytes.
const LONGEST_COMMENT: u64 = 65_535;

/// Where a member lies and what it must turn out to be.
struct Entry {
    name: String,
    method: u16,
    crc: u32,
    packed: u64,
    unpacked: u64,
    offset: u64,
}

/// Writes the archive's file `member` to `to`, checked against the archive's size and CRC-32.
///
/// # Errors
/// Not a ZIP archive, no such member (the message lists those that are there), another compression, a checksum that
/// does not fit, a file that cannot be written.
pub fn extract(archive: &Path, member: &str, to: &Path) -> Result<()> {
    let mut file = File::open(archive).map_err(|error| Error::io("read", archive, error))?;
    let entries = directory(&mut file).map_err(|error| {
        Error::data(format!("{} is not a ZIP archive that can be read: {error}", archive.display()))
    })?;
    let entry = entries.iter().find(|entry| entry.name == member).ok_or_else(|| {
        let names: Vec<&str> = entries.iter().take(10).map(|entry| entry.name.as_str()).collect();
        Error::data(format!("the archive has no '{member}'; it has: {}", names.join(", ")))
    })?;
    let start = data_start(&mut file, entry).map_err(|error| Error::io("read", archive, error))?;
    file.seek(SeekFrom::Start(start)).map_err(|error| Error::io("read", archive, error))?;
    let packed = BufReader::new(file).take(entry.packed);
    let unpacked: Box<dyn Read> = match entry.method {
        0 => Box::new(packed),
        8 => Box::new(DeflateDecoder::new(packed)),
        other => return Err(Error::data(format!("'{member}' is compressed by method {other}, which is not known"))),
    };
    let mut reader = CrcReader::new(unpacked);
    let out = File::create(to).map_err(|error| Error::io("write", to, error))?;
    let mut writer = BufWriter::new(out);
    let size = io::copy(&mut reader, &mut writer)
        .and_then(|size| writer.flush().map(|()| size))
        .and_then(|size| writer.get_ref().sync_all().map(|()| size))
        .map_err(|error| Error::io("extract to", to, error))?;
    if size != entry.unpacked || reader.crc().sum() != entry.crc {
        return Err(Error::data(format!(
            "'{member}' does not come out of the archive as it went in ({size} of {} bytes); fetch it again",
            entry.unpacked
        )));
    }
    Ok(())
}

/// The central directory: every member of the archive.
fn directory(file: &mut File) -> io::Result<Vec<Entry>> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "its directory is damaged or of another form");
    let length = file.seek(SeekFrom::End(0))?;
    let tail_length = length.min(END_RECORD + LONGEST_COMMENT);
    file.seek(SeekFrom::Start(length - tail_length))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let end = tail.windows(4).rposition(|bytes| bytes == b"PK\x05\x06").ok_or_else(damaged)?;
    let end = tail.get(end..end + END_RECORD as usize).ok_or_else(damaged)?;
    let (count, size, start) = (u16_at(end, 10), u32_at(end, 12), u32_at(end, 16));
    if u64::from(start) + u64::from(size) > length {
        return Err(damaged());
    }
    file.seek(SeekFrom::Start(u64::from(start)))?;
    let mut bytes = vec![0; size as usize];
    file.read_exact(&mut bytes)?;
    let (mut entries, mut rest) = (Vec::new(), bytes.as_slice());
    for _ in 0..count {
        let head = rest.get(..46).filter(|head| head.starts_with(b"PK\x01\x02")).ok_or_else(damaged)?;
        let name_end = 46 + usize::from(u16_at(head, 28));
        let next = name_end + usize::from(u16_at(head, 30)) + usize::from(u16_at(head, 32));
        entries.push(Entry {
            name: String::from_utf8_lossy(rest.get(46..name_end).ok_or_else(damaged)?).into_owned(),
            method: u16_at(head, 10),
            crc: u32_at(head, 16),
            packed: u64::from(u32_at(head, 20)),
            unpacked: u64::from(u32_at(head, 24)),
            offset: u64::from(u32_at(head, 42)),
        });
        rest = rest.get(next..).ok_or_else(damaged)?;
    }
    Ok(entries)
}

/// The local header before a member's data has fields of its own length.
fn data_start(file: &mut File, entry: &Entry) -> io::Result<u64> {
    let mut head = [0; 30];
    file.seek(SeekFrom::Start(entry.offset))?;
    file.read_exact(&mut head)?;
    Ok(entry.offset + 30 + u64::from(u16_at(&head, 26)) + u64::from(u16_at(&head, 28)))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
