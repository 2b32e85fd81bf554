//! The Inception score with any classifier: are records clearly of one class each, and of many classes together?
//!
//! ```text
//! IS = exp( mean over records x of KL( p(y|x) || p(y) ) ),     p(y) = mean over records of p(y|x)
//! ```
//!
//! (Salimans et al. 2016, section 4). It lies between 1 (the classes cannot be told apart, or all records are of one) and the number
//! of classes (each record is surely of one class, and all classes are equally frequent). It is called Inception score only with the
//! image network of that name; here p(y|x) is that of a linear probe fitted to real records. It does not look at the asked label: a
//! generator that swaps two classes loses nothing by it, and one that draws a single record per class reaches the maximum.

use crate::{Error, Result};
use ndarray::{ArrayView1, ArrayView2, Axis};

/// The score of class probabilities `(records, classes)`, each row of which sums to 1.
///
/// # Errors
/// No record; a row that is no distribution.
pub fn inception_score(probabilities: ArrayView2<'_, f64>) -> Result<f64> {
    let is_distribution = |row: ArrayView1<'_, f64>| row.iter().all(|&p| p >= 0.0) && (row.sum() - 1.0).abs() < 1e-6;
    if let Some(record) = probabilities.rows().into_iter().position(|row| !is_distribution(row)) {
        return Err(Error::data(format!(
            "Inception score: the class probabilities of record {record} do not sum to 1"
        )));
    }
    let marginal =
        probabilities.mean_axis(Axis(0)).ok_or_else(|| Error::data("Inception score: there are no records"))?;
    // A class of probability 0 adds nothing; where p(y|x) > 0 the mean is, too.
    let divergence = |row: ArrayView1<'_, f64>| -> f64 {
        row.iter().zip(&marginal).filter(|(p, _)| **p > 0.0).map(|(p, mean)| p * (p / mean).ln()).sum()
    };
    let sum: f64 = probabilities.rows().into_iter().map(divergence).sum();
    Ok((sum / probabilities.nrows() as f64).exp())
}
