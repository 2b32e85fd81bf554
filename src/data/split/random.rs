//! The draws of splits, the same on every machine.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// What is drawn: each has a random stream of its own, so that the number of draws of one does not change another.
#[derive(Debug, Clone, Copy)]
pub(super) enum Draw {
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
pub(super) fn shuffled<T: Ord>(mut items: Vec<T>, seed: u64, draw: Draw) -> Vec<T> {
    items.sort_unstable();
    shuffle(&mut items, &mut stream(seed, draw));
    items
}

/// Fisher-Yates with a multiply-shift draw: written out, because a library's shuffle may change between versions and
/// a split must not. The bias of multiply-shift is below `n / 2^64`.
pub(crate) fn shuffle<T>(items: &mut [T], rng: &mut ChaCha8Rng) {
    for last in (1..items.len()).rev() {
        let draw = (u128::from(rng.next_u64()) * (last as u128 + 1)) >> 64;
        items.swap(last, draw as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffling_is_a_permutation_and_fair() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut first = [0_usize; 4];
        for _ in 0..4_000 {
            let mut items = [0, 1, 2, 3];
            shuffle(&mut items, &mut rng);
            first[items[0]] += 1;
            items.sort_unstable();
            assert_eq!(items, [0, 1, 2, 3]);
        }
        assert!(first.iter().all(|&n| (850..1_150).contains(&n)), "{first:?}");
    }

    #[test]
    fn streams_differ_and_the_order_that_items_come_in_does_not_matter() {
        let order = |items: &[u32], draw| shuffled(items.to_vec(), 7, draw);
        let sorted: Vec<u32> = (0..50).collect();
        let backwards: Vec<u32> = (0..50).rev().collect();
        assert_eq!(order(&sorted, Draw::Genes), order(&backwards, Draw::Genes));
        assert_ne!(order(&sorted, Draw::Genes), order(&sorted, Draw::Conditions));
    }
}
