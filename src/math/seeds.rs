//! Random streams that do not collide: one per seed, purpose and index.
//!
//! Combining numbers with `^` or `+` gives the same stream twice (seed 0 of fold 1 is seed 1 of fold 0). Here every pair of
//! a seed and a purpose is a ChaCha stream of its own, and an index is a position in it.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// 32-bit words per derived seed.
const WORDS: u128 = 2;

/// A generator for item `index` (a fold, a network, a condition) of one `purpose` under the user's `seed`. Each use of
/// randomness has its own `purpose`, a constant beside the code that draws.
pub(crate) fn stream(seed: u64, purpose: u64, index: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(derived(seed, purpose, index))
}

/// The same as a seed, for code that makes its own generator.
pub(crate) fn derived(seed: u64, purpose: u64, index: u64) -> u64 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(purpose);
    rng.set_word_pos(u128::from(index) * WORDS);
    rng.next_u64()
}
