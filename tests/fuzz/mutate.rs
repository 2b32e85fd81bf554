//! Damage to bytes: what bad disks, broken downloads and careless programs do, and what a parser likes least.

use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

/// Numbers that sizes, offsets and counts are damaged to.
const EXTREMES: [u64; 12] =
    [0, 1, 2, 7, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 40, i64::MAX as u64, u64::MAX];
/// Pieces of text that parsers of JSON, TOML and tables trip over.
const TEXTS: [&str; 22] = [
    "-1",
    "1e999",
    "NaN",
    "null",
    "true",
    "{}",
    "[]",
    "\"\"",
    "[[",
    "{\"a\":",
    "18446744073709551616",
    "-9223372036854775809",
    "\t",
    "\n",
    "\r\n\r\n",
    ",",
    "=",
    "\u{0}",
    "\u{feff}",
    "\\ud800",
    "0x",
    "9999999999",
];

/// `source` with one to four kinds of damage, always the same for a seed and a number.
pub fn damaged(source: &[u8], other: &[u8], seed: u64, number: usize) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number as u64);
    let mut bytes = source.to_vec();
    for _ in 0..rng.random_range(1..=4) {
        if bytes.is_empty() {
            return bytes;
        }
        damage(&mut bytes, other, &mut rng);
    }
    bytes
}

fn damage(bytes: &mut Vec<u8>, other: &[u8], rng: &mut ChaCha8Rng) {
    let at = rng.random_range(0..bytes.len());
    let length = rng.random_range(1..=64).min(bytes.len() - at);
    match rng.random_range(0..11) {
        0 => bytes[at] ^= 1 << rng.random_range(0..8),
        1 => bytes[at] = rng.random(),
        2 => bytes[at..at + length].fill(*[0, 0xff].choose(rng).expect("two")),
        3 => rng.fill(&mut bytes[at..at + length]),
        4 => bytes.truncate(at),
        5 => drop(bytes.drain(at..at + length)),
        6 => {
            let copied = bytes[at..at + length].to_vec();
            drop(bytes.splice(at..at, copied));
        }
        7 => {
            let from = rng.random_range(0..bytes.len() - length + 1);
            bytes.copy_within(from..from + length, at);
        }
        8 => {
            let text = TEXTS.choose(rng).expect("some").as_bytes();
            drop(bytes.splice(at..at + length.min(text.len()), text.iter().copied()));
        }
        9 if other.len() > at => {
            bytes.truncate(at);
            bytes.extend_from_slice(&other[at..]);
        }
        // A number in little endian, at a place where numbers stand.
        _ => {
            let width = *[2, 4, 8].choose(rng).expect("three");
            let at = at / width * width;
            let number = EXTREMES.choose(rng).expect("some").to_le_bytes();
            let end = (at + width).min(bytes.len());
            bytes[at..end].copy_from_slice(&number[..end - at]);
        }
    }
}
