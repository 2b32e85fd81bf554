//! How plausible generated cells are, by the energies that an energy-based model gives to them and to real cells.
//!
//! ```text
//! beyond   share of generated cells whose energy is above the 95 % quantile of real cells      5 % where both are alike
//! below    share of generated cells whose energy is below the 5 % quantile of real cells       5 % where both are alike
//! AUROC    probability that a generated cell has a higher energy than a real one               0.5 where both are alike
//! ```
//!
//! Cells that are too alike crowd where the energy is low, so that an AUROC below 0.5 with many cells `below` is a fault as well.
//! Equal energies do not mean equal distributions: an energy is one number per cell.

use super::ranking::auroc;
use crate::{Error, Result};
use serde::Serialize;

/// The quantiles of real cells that generated cells are counted beyond.
const TAIL: f64 = 0.05;

/// Energies of one set of cells, in nats.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EnergySummary {
    /// Number of cells.
    pub cells: usize,
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub sd: f64,
    /// The 5 % quantile.
    pub low: f64,
    /// The median.
    pub median: f64,
    /// The 95 % quantile.
    pub high: f64,
}

/// Generated cells beside real ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Plausibility {
    /// Real cells.
    pub real: EnergySummary,
    /// Generated cells.
    pub generated: EnergySummary,
    /// Share of generated cells above the 95 % quantile of real cells.
    pub beyond: f64,
    /// Share of generated cells below the 5 % quantile of real cells.
    pub below: f64,
    /// Probability that a generated cell has a higher energy than a real one.
    pub auroc: f64,
    /// Standard error of the AUROC (Hanley and McNeil 1982, eq. 1).
    pub auroc_error: f64,
}

impl EnergySummary {
    /// Of energies, one per cell.
    ///
    /// # Errors
    /// No cell; an energy that is not finite.
    pub fn of(energies: &[f64]) -> Result<Self> {
        if let Some(cell) = energies.iter().position(|energy| !energy.is_finite()) {
            return Err(Error::data(format!("the energy of cell {cell} is {}; it must be finite", energies[cell])));
        }
        if energies.is_empty() {
            return Err(Error::data("there are no cells to judge"));
        }
        let mut sorted = energies.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len() as f64;
        let mean = sorted.iter().sum::<f64>() / n;
        let variance = sorted.iter().map(|energy| (energy - mean).powi(2)).sum::<f64>() / n;
        let [low, median, high] = [TAIL, 0.5, 1.0 - TAIL].map(|share| quantile(&sorted, share));
        Ok(Self { cells: sorted.len(), mean, sd: variance.sqrt(), low, median, high })
    }
}

/// The quantile of sorted values, linear between them (numpy's default).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    sorted[below] + (place - place.floor()) * (sorted[above] - sorted[below])
}

impl Plausibility {
    /// Compares the energies of generated cells with those of real ones.
    ///
    /// # Errors
    /// As [`EnergySummary::of`].
    pub fn of(real: &[f64], generated: &[f64]) -> Result<Self> {
        let (of_real, of_generated) = (EnergySummary::of(real)?, EnergySummary::of(generated)?);
        let share = |fits: &dyn Fn(f64) -> bool| {
            generated.iter().filter(|&&energy| fits(energy)).count() as f64 / generated.len() as f64
        };
        let scores: Vec<f32> = generated.iter().chain(real).map(|&energy| energy as f32).collect();
        let is_generated: Vec<bool> = (0..scores.len()).map(|i| i < generated.len()).collect();
        let auroc = auroc(&scores, &is_generated).expect("there are cells of both kinds, with finite energies");
        Ok(Self {
            real: of_real,
            generated: of_generated,
            beyond: share(&|energy| energy > of_real.high),
            below: share(&|energy| energy < of_real.low),
            auroc,
            auroc_error: standard_error(auroc, generated.len() as f64, real.len() as f64),
        })
    }
}

fn standard_error(auroc: f64, n: f64, m: f64) -> f64 {
    let (q1, q2) = (auroc / (2.0 - auroc), 2.0 * auroc * auroc / (1.0 + auroc));
    let square = auroc * auroc;
    let variance = auroc * (1.0 - auroc) + (n - 1.0) * (q1 - square) + (m - 1.0) * (q2 - square);
    (variance / (n * m)).max(0.0).sqrt()
}
