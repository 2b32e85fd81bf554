//! The order in which `numpy.random.default_rng(0).permutation(n)` puts `n` things.
//!
//! The Python side of the comparison takes its batches in that order, and the loss of one batch differs by some percent from
//! that of another: only losses of the same cells can be compared.
//!
//! The generator is PCG64 (XSL-RR 128/64, O'Neill 2014); numpy splits each output into two halves, the low one first, and
//! shuffles from the end with indices drawn by masking and rejection.

/// State and increment that numpy's `SeedSequence(0)` gives.
const STATE: u128 = 35_399_562_948_360_463_058_890_781_895_381_311_971;
const INCREMENT: u128 = 87_136_372_517_582_989_555_478_159_403_783_844_777;
/// The multiplier of PCG's 128-bit generators.
const MULTIPLIER: u128 = 0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645;

struct Pcg64 {
    state: u128,
    high_half: Option<u32>,
}

impl Pcg64 {
    fn next_u32(&mut self) -> u32 {
        if let Some(half) = self.high_half.take() {
            return half;
        }
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT);
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        let output = folded.rotate_right((self.state >> 122) as u32);
        self.high_half = Some((output >> 32) as u32);
        output as u32
    }

    /// Uniform in `0..=most`.
    fn up_to(&mut self, most: u32) -> u32 {
        let mask = u32::MAX.checked_shr(most.leading_zeros()).unwrap_or(0);
        loop {
            let value = self.next_u32() & mask;
            if value <= most {
                return value;
            }
        }
    }
}

/// `numpy.random.default_rng(0).permutation(n)`.
pub fn permutation(n: usize) -> Vec<usize> {
    let mut generator = Pcg64 { state: STATE, high_half: None };
    let mut order: Vec<usize> = (0..n).collect();
    for last in (1..n).rev() {
        order.swap(last, generator.up_to(last as u32) as usize);
    }
    order
}
