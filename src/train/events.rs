//! TensorBoard's event file, as far as scalars go.
//!
//! A file is a row of records: length (u64), its masked CRC-32C, the payload, its masked CRC-32C (all little-endian);
//! the mask is `rotate_right(crc, 15) + 0xa282ead8`. A payload is the protocol buffer `Event { 1: double wall_time,
//! 2: int64 step, 3: string file_version | 5: Summary { 1: repeated Value { 1: string tag, 2: float simple_value } } }`.
//! Sources: TensorFlow's `record_writer.h`, `event.proto`, `summary.proto`.
//!
//! Written by hand, because these few fields are all that is needed: the crate that writes such files is no longer
//! maintained and brings a protocol-buffer compiler to every notebook.

use super::{EpochRecord, History};
use crate::{Error, Result, files::write_atomically};
use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

const CRC_MASK: u32 = 0xa282_ead8;
/// The first record of every file, by which readers know the format.
const VERSION: &str = "brain.Event:2";

/// The wire types of a protocol buffer that occur here.
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const BYTES: u8 = 2;
const FIXED32: u8 = 5;

/// An open event file; records are appended, so that a running TensorBoard sees them.
pub(super) struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Begins the file at `path` anew with the records of `history`; `unix_time` is when the training began.
    pub(super) fn create(path: &Path, history: &History, unix_time: f64) -> Result<Self> {
        let mut bytes = record(&version(history.epochs.first().map_or(unix_time, |record| record.unix_time)));
        bytes.extend(history.epochs.iter().flat_map(|epoch| record(&scalars(epoch))));
        write_atomically(path, &bytes)?;
        let file = OpenOptions::new().append(true).open(path).map_err(|e| Error::io("open", path, e))?;
        Ok(Self { path: path.to_path_buf(), file })
    }

    /// Appends one epoch.
    pub(super) fn append(&mut self, epoch: &EpochRecord) -> Result<()> {
        self.file.write_all(&record(&scalars(epoch))).map_err(|e| Error::io("write", &self.path, e))
    }
}

fn version(unix_time: f64) -> Vec<u8> {
    let mut event = Vec::new();
    key(&mut event, 1, FIXED64);
    event.extend(unix_time.to_le_bytes());
    bytes(&mut event, 3, VERSION.as_bytes());
    event
}

fn scalars(epoch: &EpochRecord) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, scalar) in epoch.scalars() {
        let mut value = Vec::new();
        bytes(&mut value, 1, tag.as_bytes());
        key(&mut value, 2, FIXED32);
        value.extend((scalar as f32).to_le_bytes());
        bytes(&mut summary, 1, &value);
    }
    let mut event = Vec::new();
    key(&mut event, 1, FIXED64);
    event.extend(epoch.unix_time.to_le_bytes());
    key(&mut event, 2, VARINT);
    varint(&mut event, epoch.epoch as u64);
    bytes(&mut event, 5, &summary);
    event
}

fn record(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length), payload, &masked_crc(payload)].concat()
}

fn masked_crc(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(CRC_MASK).to_le_bytes()
}

fn key(into: &mut Vec<u8>, field: u8, wire: u8) {
    into.push(field << 3 | wire);
}

fn bytes(into: &mut Vec<u8>, field: u8, value: &[u8]) {
    key(into, field, BYTES);
    varint(into, value.len() as u64);
    into.extend(value);
}

fn varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}
