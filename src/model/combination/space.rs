//! Scores of effects on the principal components of a fold.

use crate::data::EffectTable;
use crate::{Result, math::directions};
use ndarray::Array2;

/// Scores of effects on the principal components of a fold's effects.
#[derive(Debug, Clone)]
pub(super) struct Space {
    /// `(components, genes)`.
    pub components: Array2<f64>,
    /// What scores are divided by, so that they are about 1.
    pub scale: f64,
}

impl Space {
    /// At most so many components.
    ///
    /// # Errors
    /// Effects that are all zero: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn of(data: &EffectTable, components: usize) -> Result<Self> {
        let effects = data.effects.mapv(f64::from);
        let components = directions(&effects, components)?;
        let scale = effects.dot(&components.t()).mapv(|score| score * score).mean().unwrap_or(1.0).sqrt();
        Ok(Self { components, scale })
    }

    /// `(rows, genes)` to `(rows, components)`.
    pub fn scores(&self, effects: &Array2<f64>) -> Array2<f32> {
        (effects.dot(&self.components.t()) / self.scale).mapv(|score| score as f32)
    }

    /// `(rows, components)` to `(rows, genes)`.
    pub fn effects(&self, scores: &Array2<f32>) -> Array2<f64> {
        (scores.mapv(f64::from) * self.scale).dot(&self.components)
    }
}
