//! Are generated records copies of training records?
//!
//! The distance of a generated record to the nearest training record means something only beside that of a real record that the
//! generator has not seen: *distance to the closest record* (Zhao et al. 2021, CTAB-GAN). Two tests:
//!
//! - *copies*: the share of generated records nearer to a training record than [`COPY`] times the median of the held-out records;
//! - *preference*: the share of generated records that are nearer to a training record than to a held-out one, of as many of each. It
//!   is one half for a generator that has learned the distribution and not the records (the test of Yale et al. 2020).
//!
//! They find memorised records. They prove no privacy: a generator that leaks one patient in a thousand passes.

use crate::{Error, Result, eval::sets::subsample, math::squared_distances};
use ndarray::{ArrayView2, Axis};
use serde::Serialize;

/// A generated record is a copy below this share of the median distance of a held-out record to its nearest training record. Two real
/// samples of one patient are not that near; a training record with a little noise is.
pub const COPY: f64 = 0.2;

/// Records whose distances stand in memory at a time.
const BLOCK: usize = 4096;

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Privacy {
    /// Share of generated records that are copies.
    pub copies: f64,
    /// Share of held-out real records that would count as copies: what duplicates in the data themselves make.
    pub copies_of_real: f64,
    /// Median distance of a generated record to its nearest training record, and of a held-out record to it.
    pub median_distance: [f64; 2],
    /// Share of generated records that are nearer to a training record than to a held-out one.
    pub preference: f64,
    /// Standard error of the preference of a generator that prefers none.
    pub preference_error: f64,
    /// All distances behind the medians, sorted: generated, held-out.
    #[serde(skip)]
    pub distances: [Vec<f64>; 2],
}

impl Privacy {
    /// Whether training records were memorised: more copies than duplicates in the data make, or a preference of more than three
    /// standard errors above one half.
    pub fn is_suspect(&self) -> bool {
        self.copies > self.copies_of_real + 0.01 || self.preference > 0.5 + 3.0 * self.preference_error
    }
}

/// Compares generated records with training and held-out records, `(records, dims)` each.
///
/// # Errors
/// A set without records.
pub fn privacy(
    generated: ArrayView2<'_, f32>,
    train: ArrayView2<'_, f32>,
    held_out: ArrayView2<'_, f32>,
    seed: u64,
) -> Result<Privacy> {
    if generated.is_empty() || train.is_empty() || held_out.is_empty() {
        return Err(Error::data("distances to the nearest record need generated, training and held-out records"));
    }
    let own = sorted(nearest(generated, train));
    let real = sorted(nearest(held_out, train));
    let middle = |values: &[f64]| values[values.len() / 2];
    let limit = COPY * middle(&real);
    let share = |values: &[f64]| values.iter().filter(|&&d| d < limit).count() as f64 / values.len() as f64;
    let n = train.nrows().min(held_out.nrows());
    let of_train = subsample(&(0..train.nrows()).collect::<Vec<_>>(), n, seed);
    let of_held_out = subsample(&(0..held_out.nrows()).collect::<Vec<_>>(), n, seed);
    let near_train = nearest(generated, train.select(Axis(0), &of_train).view());
    let near_held_out = nearest(generated, held_out.select(Axis(0), &of_held_out).view());
    let nearer = near_train.iter().zip(&near_held_out).map(|(a, b)| match a.total_cmp(b) {
        std::cmp::Ordering::Less => 1.0,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Greater => 0.0,
    });
    Ok(Privacy {
        copies: share(&own),
        copies_of_real: share(&real),
        median_distance: [middle(&own), middle(&real)],
        preference: nearer.sum::<f64>() / near_train.len() as f64,
        // Which half a real record fell into is a coin flip for each of the 2 n of them.
        preference_error: 0.5 / (n.min(generated.nrows()) as f64).sqrt(),
        distances: [own, real],
    })
}

/// The distance of each record to the nearest of `others`.
fn nearest(records: ArrayView2<'_, f32>, others: ArrayView2<'_, f32>) -> Vec<f64> {
    let mut least = vec![f64::INFINITY; records.nrows()];
    for block in others.axis_chunks_iter(Axis(0), BLOCK) {
        let distances = squared_distances(records, block);
        least.iter_mut().zip(distances.rows()).for_each(|(least, row)| *least = row.fold(*least, |a, &b| a.min(b)));
    }
    least.into_iter().map(f64::sqrt).collect()
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values
}
