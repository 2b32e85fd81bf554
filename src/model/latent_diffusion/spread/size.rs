//! The size of a residual: `ln sigma = a_novelty + b ln |predicted|`.

use super::{LeftOut, Novelty};
use crate::{Error, Result};
use ndarray::ArrayView1;
use serde::{Deserialize, Serialize};

/// How large a residual is, by the size of the predicted effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::model::latent_diffusion) struct Size {
    /// a of each novelty that was met in training, and the number of residuals that it was learned from.
    pub level: Vec<(Novelty, f64, usize)>,
    /// b.
    pub slope: f64,
}

impl Size {
    /// Least squares on logarithms, the slope within 0 to 1: a residual grows with its effect, and not faster.
    pub fn fit(left: &LeftOut) -> Self {
        let rows: Vec<(Novelty, f64, f64)> = left
            .novelty
            .iter()
            .zip(left.predicted.rows())
            .zip(left.residuals.rows())
            .map(|((&novelty, predicted), residual)| (novelty, log_norm(predicted), log_norm(residual)))
            .collect();
        let mut kinds: Vec<Novelty> = rows.iter().map(|row| row.0).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let mean = |kind: Novelty, of: fn(&(Novelty, f64, f64)) -> f64| {
            let of_kind: Vec<f64> = rows.iter().filter(|row| row.0 == kind).map(of).collect();
            of_kind.iter().sum::<f64>() / of_kind.len() as f64
        };
        let (mut along, mut square) = (0.0, 0.0);
        for &kind in &kinds {
            let (x, y) = (mean(kind, |row| row.1), mean(kind, |row| row.2));
            for row in rows.iter().filter(|row| row.0 == kind) {
                along += (row.1 - x) * (row.2 - y);
                square += (row.1 - x).powi(2);
            }
        }
        let slope = if square > 0.0 { (along / square).clamp(0.0, 1.0) } else { 0.0 };
        let level = |kind| {
            let n = rows.iter().filter(|row| row.0 == kind).count();
            (kind, mean(kind, |row| row.2) - slope * mean(kind, |row| row.1), n)
        };
        Self { level: kinds.into_iter().map(level).collect(), slope }
    }

    /// sigma of a prediction.
    ///
    /// # Errors
    /// A novelty that was not met in training: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn of(&self, predicted: ArrayView1<'_, f64>, novelty: Novelty) -> Result<f64> {
        match self.level.iter().find(|(known, ..)| *known == novelty) {
            Some((_, level, _)) => Ok((level + self.slope * log_norm(predicted)).exp()),
            None => Err(Error::inapplicable(match novelty {
                Novelty::Combination => {
                    "too few combinations were trained on to know how far predictions of one are off"
                }
                Novelty::UnseenGene => {
                    "no gene could be left out and predicted: how far predictions are off is not known"
                }
            })),
        }
    }
}

/// `ln |effect|`, finite where the effect is 0.
pub(super) fn log_norm(effect: ArrayView1<'_, f64>) -> f64 {
    effect.dot(&effect).sqrt().max(f64::MIN_POSITIVE.sqrt()).ln()
}
