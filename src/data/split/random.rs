//! The draws of splits and how fractions are rounded, the same on every machine.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// What is drawn: each has a random stream of its own, so that the number of draws of one does not change another.
#[derive(Debug, Clone, Copy)]
pub enum Draw {
    Conditions = 0,
    Genes = 1,
    ValidationConditions = 2,
    ValidationGenes = 3,
    Cells = 4,
}

/// The random numbers of a seed for one purpose.
pub(super) fn stream(seed: u64, draw: Draw) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(draw as u64);
    rng
}

/// The items in random order; sorted before, so that the order they come in does not matter.
pub fn shuffled<T: Ord>(mut items: Vec<T>, seed: u64, draw: Draw) -> Vec<T> {
    items.sort_unstable();
    shuffle(&mut items, &mut stream(seed, draw));
    items
}

/// Part number `part` of `n` equal parts of `items`: every n-th, so that the parts of shuffled items are folds.
pub fn part_of<T: Clone>(items: &[T], part: usize, n: usize) -> Vec<T> {
    items.iter().skip(part).step_by(n).cloned().collect()
}

/// Fisher-Yates with a multiply-shift draw: written out, because a library's shuffle may change between versions and
/// a split must not. The bias of multiply-shift is below `n / 2^64`.
pub fn shuffle<T>(items: &mut [T], rng: &mut ChaCha8Rng) {
    for last in (1..items.len()).rev() {
        let draw = (u128::from(rng.next_u64()) * (last as u128 + 1)) >> 64;
        items.swap(last, draw as usize);
    }
}

/// `fraction` of `n`, rounded to the nearest number but 0.
pub(super) fn at_least_one(fraction: f64, n: usize) -> usize {
    ((fraction * n as f64).round() as usize).clamp(1, n.max(1))
}

/// `fraction` of `n`, rounded down as Python's `int` does.
pub(super) fn rounded_down(fraction: f64, n: usize) -> usize {
    (fraction * n as f64) as usize
}
