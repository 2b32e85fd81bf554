//! Where generated records lie among real ones, by balls around records that reach to their k-th neighbour.
//!
//! *Precision*: the share of generated records inside the ball of a real record; *recall*: the share of real records inside the ball of
//! a generated one (Kynkäänniemi et al. 2019). *Density*: the mean number of real balls that hold a generated record, divided by k,
//! which outliers among the real records inflate less; *coverage*: the share of real balls that hold a generated record (Naeem et
//! al. 2020). A generator that draws the same record again has a high precision and a low recall and coverage.

use crate::{Error, Result, math::squared_distances};
use ndarray::{Array2, ArrayView2};
use serde::Serialize;

/// k.
const NEIGHBOURS: usize = 5;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Manifold {
    /// Share of generated records among the real ones.
    pub precision: f64,
    /// Share of real records among the generated ones.
    pub recall: f64,
    /// Mean number of real balls around a generated record, divided by k.
    pub density: f64,
    /// Share of real balls with a generated record.
    pub coverage: f64,
}

/// Compares generated with real records, `(records, dims)` each.
///
/// # Errors
/// Sets of other widths, or of no more than 5 records.
pub fn manifold(generated: ArrayView2<'_, f32>, real: ArrayView2<'_, f32>) -> Result<Manifold> {
    if generated.ncols() != real.ncols() || generated.nrows().min(real.nrows()) <= NEIGHBOURS {
        return Err(Error::shape("precision and recall: 6 records or more of one width", generated.dim(), real.dim()));
    }
    let between = squared_distances(generated, real); // (generated, real)
    let (of_real, of_generated) = (radii(real), radii(generated));
    let share = |hits: usize, all: usize| hits as f64 / all as f64;
    let (n, m) = (real.nrows(), generated.nrows());
    let in_real = |g: usize, r: usize| between[[g, r]] <= of_real[r];
    let precise = (0..m).filter(|&g| (0..n).any(|r| in_real(g, r))).count();
    let recalled = (0..n).filter(|&r| (0..m).any(|g| between[[g, r]] <= of_generated[g])).count();
    let covered = (0..n).filter(|&r| (0..m).any(|g| in_real(g, r))).count();
    let balls: usize = (0..m).map(|g| (0..n).filter(|&r| in_real(g, r)).count()).sum();
    Ok(Manifold {
        precision: share(precise, m),
        recall: share(recalled, n),
        density: share(balls, NEIGHBOURS * m),
        coverage: share(covered, n),
    })
}

/// Squared distance of each record to its k-th neighbour.
fn radii(x: ArrayView2<'_, f32>) -> Vec<f64> {
    let distances: Array2<f64> = squared_distances(x, x);
    let kth = |row: ndarray::ArrayView1<'_, f64>| {
        let mut row = row.to_vec();
        // The record itself is the first.
        *row.select_nth_unstable_by(NEIGHBOURS, f64::total_cmp).1
    };
    distances.rows().into_iter().map(kth).collect()
}
