//! Expression of samples that are described by metadata alone.

use super::Generated;
use crate::{
    Result,
    data::{Dataset, MetadataEncoder, Table},
};
use ndarray::Array2;

/// Level of the intervals of [`ExpectedExpression`].
pub const INTERVAL_LEVEL: f64 = 0.9;

/// What is expected of samples, in the scale of [`FromMetadata::log_expression`]; `(rows, genes)` each.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpectedExpression {
    /// The conditional mean.
    pub mean: Array2<f32>,
    /// Where the central interval of 90 % of single samples begins.
    pub lower: Array2<f32>,
    /// Where it ends.
    pub upper: Array2<f32>,
}

/// A trained model of expression given metadata.
pub trait FromMetadata {
    /// The columns that it was trained on.
    fn encoder(&self) -> &MetadataEncoder;

    /// Counts per sample that expression is normalised to before `log1p`.
    fn total(&self) -> f32;

    /// Mean and interval for each row of `metadata`.
    ///
    /// # Errors
    /// A column that is missing; a level that was not trained on.
    fn expected(&self, metadata: &Table) -> Result<ExpectedExpression>;

    /// `n` samples for each row of `metadata`, one after the other: rows `0..n` are of the first.
    ///
    /// # Errors
    /// As [`Self::expected`].
    fn draw(&self, metadata: &Table, n: usize, seed: u64) -> Result<Generated>;

    /// Expression of the samples `rows` of `data` in the scale of the predictions, `(rows, genes)`: log1p of counts normalised to
    /// [`Self::total`], or the values themselves where they are no counts.
    ///
    /// # Errors
    /// Genes that are not the model's.
    fn log_expression(&self, data: &Dataset, rows: &[usize]) -> Result<Array2<f32>>;
}
