//! The space that effects lie in: principal components about zero.
//!
//! The directions are the leading eigenvectors of the second moments `D'D` of effects D `(conditions, genes)`. They go
//! through zero, not through the mean effect: zero is control, and a perturbation is a shift from there.

use super::Pca;
use super::eigen::symmetric_eigen;
use crate::{Error, Result};
use ndarray::{Array2, Axis, concatenate, s};

/// Eigenvalues below this share of the largest are rounding, not directions.
const NEGLIGIBLE: f64 = 1e-10;
/// Up to this number of conditions the decomposition is exact; beyond, where that would take seconds, it is [`Pca`]'s
/// iteration, which is right to some four digits.
pub(crate) const EXACT_ROWS: usize = 512;

/// At most `most` orthonormal directions of `effects` `(conditions, genes)`, `(directions, genes)`, by falling share of
/// their squares.
///
/// # Errors
/// Effects that are all zero: [`ErrorKind::Inapplicable`](crate::ErrorKind).
pub(crate) fn directions(effects: &Array2<f64>, most: usize) -> Result<Array2<f64>> {
    let none = || Error::inapplicable("all training effects are zero, so they have no principal components");
    if effects.is_empty() {
        return Err(none());
    }
    if effects.nrows() > EXACT_ROWS {
        // The mean of the effects and of their negatives is zero, and their covariance is the second moments.
        let effects = effects.mapv(|value| value as f32);
        let both = concatenate![Axis(0), effects, effects.mapv(|value| -value)];
        let pca = Pca::fit(both.view(), most.min(effects.nrows()).min(effects.ncols()), 0)?;
        return if pca.explained_variance[0] > 0.0 { Ok(pca.components) } else { Err(none()) };
    }
    // From the products between conditions, as there are fewer conditions than genes.
    let (values, vectors) = symmetric_eigen(effects.dot(&effects.t()));
    let rank = values.iter().take_while(|&&value| value > NEGLIGIBLE * values[0].max(f64::MIN_POSITIVE)).count();
    if rank == 0 {
        return Err(none());
    }
    let kept = rank.min(most);
    let mut directions = vectors.slice(s![..kept, ..]).dot(effects);
    for (mut direction, value) in directions.rows_mut().into_iter().zip(&values) {
        direction /= value.sqrt();
    }
    Ok(directions)
}
