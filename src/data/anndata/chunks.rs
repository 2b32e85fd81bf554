//! Reading a long one-dimensional array whose chunks are compressed by gzip, several at a time.
//!
//! HDF5 inflates one chunk after the other, and for the counts of a whole transcriptome that is most of the time that reading
//! takes. Where the chunks lie in the file is no secret: they are read and inflated here, on all cores. Arrays of another form
//! (other compressions, other number types, chunks that were never written) are left to HDF5.

use super::hdf;
use crate::{Error, Result, guard};
use flate2::{Decompress, FlushDecompress, Status};
use hdf5::{
    Dataset, H5Type,
    datatype::ByteOrder,
    filters::Filter,
    types::{FloatSize, IntSize, TypeDescriptor},
};
use rayon::prelude::*;
use std::{fs::File, ops::Range, os::unix::fs::FileExt};

/// Values that are handed out at once, whole chunks of them. The allocator keeps blocks of up to 32 MiB for the next one of the
/// same size; larger ones come from the system anew each time, page by page.
const BLOCK: usize = 1 << 20;
/// HDF5 finds the place of a chunk by counting from the first, so that many chunks take long to find.
const MOST_CHUNKS: usize = 10_000;
/// Bytes of a chunk; h5py's have at most 1 MiB.
const LARGEST_CHUNK: usize = 1 << 26;

/// A number that [`Array`] reads, converted from what is stored.
pub(super) trait Number: H5Type + Copy + Default + Send {
    fn of(kind: Kind, bytes: &[u8], into: &mut [Self]);
}

/// The types that counts and indices are stored in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    F32,
    F64,
    I32,
    I64,
    U32,
}

macro_rules! number {
    ($($type:ty),*) => { $(
        impl Number for $type {
            fn of(kind: Kind, bytes: &[u8], into: &mut [Self]) {
                macro_rules! each {
                    ($from:ty) => {
                        for (slot, bytes) in into.iter_mut().zip(bytes.chunks_exact(size_of::<$from>())) {
                            *slot = <$from>::from_le_bytes(bytes.try_into().expect("chunks of this size")) as Self;
                        }
                    };
                }
                match kind {
                    Kind::F32 => each!(f32),
                    Kind::F64 => each!(f64),
                    Kind::I32 => each!(i32),
                    Kind::I64 => each!(i64),
                    Kind::U32 => each!(u32),
                }
            }
        }
    )* };
}
number!(f32, f64, i64);

impl Kind {
    fn of(array: &Dataset) -> Option<Self> {
        let dtype = array.dtype().ok()?;
        if dtype.byte_order() != ByteOrder::LittleEndian {
            return None;
        }
        match dtype.to_descriptor().ok()? {
            TypeDescriptor::Float(FloatSize::U4) => Some(Self::F32),
            TypeDescriptor::Float(FloatSize::U8) => Some(Self::F64),
            TypeDescriptor::Integer(IntSize::U4) => Some(Self::I32),
            TypeDescriptor::Integer(IntSize::U8) => Some(Self::I64),
            TypeDescriptor::Unsigned(IntSize::U4) => Some(Self::U32),
            _ => None,
        }
    }

    fn size(self) -> usize {
        match self {
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }
}

/// A one-dimensional array, ready to be read in blocks.
pub(super) struct Array<'a> {
    array: &'a Dataset,
    gzip: Option<Gzip>,
}

/// Where the chunks of an array lie.
struct Gzip {
    file: File,
    /// Place in the file and compressed size of each chunk, in order.
    chunks: Vec<(u64, usize)>,
    /// Values of a chunk.
    length: usize,
    kind: Kind,
    shuffled: bool,
}

impl<'a> Array<'a> {
    pub(super) fn new(array: &'a Dataset) -> Self {
        Self { array, gzip: Gzip::of(array) }
    }

    /// How many values to read at once: whole chunks.
    pub(super) fn block_length(&self) -> usize {
        match &self.gzip {
            Some(gzip) => (BLOCK / gzip.length).max(1) * gzip.length,
            None => hdf::block_length(self.array),
        }
    }

    /// The values at these places.
    pub(super) fn read<T: Number>(&self, range: Range<usize>) -> Result<Vec<T>> {
        guard::progress();
        match &self.gzip {
            Some(gzip) => gzip.read(range).map_err(|e| e.at(format!("`{}`", hdf::place(self.array)))),
            None => {
                let values = self.array.read_slice_1d::<T, _>(range);
                Ok(values.map_err(|e| hdf::unreadable(self.array, &e))?.to_vec())
            }
        }
    }
}

impl Gzip {
    fn of(array: &Dataset) -> Option<Self> {
        let &[length] = array.chunk()?.as_slice() else { return None };
        let shuffled = match array.filters()[..] {
            [Filter::Deflate(_)] => false,
            [Filter::Shuffle, Filter::Deflate(_)] => true,
            _ => return None,
        };
        let kind = Kind::of(array)?;
        if length == 0 || length.checked_mul(kind.size()).is_none_or(|bytes| bytes > LARGEST_CHUNK) {
            return None;
        }
        let n = array.num_chunks().filter(|&n| n <= MOST_CHUNKS && n == array.size().div_ceil(length))?;
        let mut chunks = vec![None; n];
        for index in 0..n {
            let info = array.chunk_info(index).filter(|info| info.filter_mask == 0)?;
            let place = usize::try_from(*info.offset.first()?).ok()? / length;
            *chunks.get_mut(place)? = Some((info.addr, usize::try_from(info.size).ok()?));
        }
        let file = File::open(array.filename()).ok()?;
        let end = file.metadata().ok()?.len();
        let chunks: Vec<(u64, usize)> = chunks.into_iter().collect::<Option<_>>()?;
        let inside = |&(address, size): &(u64, usize)| address.checked_add(size as u64).is_some_and(|last| last <= end);
        chunks.iter().all(inside).then_some(Self { file, chunks, length, kind, shuffled })
    }

    fn read<T: Number>(&self, range: Range<usize>) -> Result<Vec<T>> {
        let mut values = vec![T::default(); range.len()];
        if range.is_empty() {
            return Ok(values);
        }
        // The first chunk may have begun before the range.
        let skipped = range.start % self.length;
        let (first, rest) = values.split_at_mut((self.length - skipped).min(range.len()));
        let parts = std::iter::once((0, skipped, first))
            .chain(rest.chunks_mut(self.length).enumerate().map(|(place, part)| (place + 1, 0, part)));
        let first_chunk = range.start / self.length;
        parts.collect::<Vec<_>>().into_par_iter().try_for_each_init(
            Scratch::default,
            |scratch, (place, skip, part)| {
                let bytes = self.inflate(first_chunk + place, scratch)?;
                T::of(self.kind, &bytes[skip * self.kind.size()..], part);
                Ok::<_, Error>(())
            },
        )?;
        Ok(values)
    }

    fn inflate<'a>(&self, chunk: usize, scratch: &'a mut Scratch) -> Result<&'a [u8]> {
        let (address, size) = self.chunks[chunk];
        let expected = self.length * self.kind.size();
        let damaged = |what: String| Error::data(format!("chunk {chunk} {what}; the file is damaged"));
        let Scratch { packed, bytes, values } = scratch;
        packed.resize(size, 0);
        self.file.read_exact_at(packed, address).map_err(|e| damaged(format!("cannot be read ({e})")))?;
        bytes.resize(expected, 0);
        let mut inflater = Decompress::new(true);
        let status = inflater
            .decompress(packed, bytes, FlushDecompress::Finish)
            .map_err(|e| damaged(format!("cannot be inflated ({e})")))?;
        match (status, inflater.total_out() as usize) {
            (Status::StreamEnd, length) if length == expected => {}
            (Status::StreamEnd, length) => {
                return Err(damaged(format!("holds {length} bytes where {expected} are expected")));
            }
            // There was no room left, or nothing left to read.
            (_, length) if length == expected => {
                return Err(damaged(format!("holds more than the {expected} bytes that are expected")));
            }
            _ => return Err(damaged("cannot be inflated (it ends too early)".to_owned())),
        }
        if !self.shuffled {
            return Ok(bytes);
        }
        values.resize(expected, 0);
        unshuffle(bytes, self.kind.size(), values);
        Ok(values)
    }
}

/// Room for one chunk after another.
#[derive(Default)]
struct Scratch {
    /// As it lies in the file.
    packed: Vec<u8>,
    /// Inflated.
    bytes: Vec<u8>,
    /// Inflated and in order, where the bytes were shuffled.
    values: Vec<u8>,
}

/// HDF5's shuffle stores the first bytes of all values, then the second ones, and so on.
fn unshuffle(bytes: &[u8], size: usize, values: &mut [u8]) {
    let n = bytes.len() / size;
    for (byte, plane) in bytes.chunks_exact(n).enumerate() {
        plane.iter().enumerate().for_each(|(value, &bits)| values[value * size + byte] = bits);
    }
}
