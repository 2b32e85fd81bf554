//! Samples with their conditions, as the trainer takes them.

use crate::{Error, Result, train::BatchSource};
use ndarray::{Array2, Axis};
use std::sync::Arc;

/// Where a flow begins; a diffusion needs none.
#[derive(Clone)]
pub(crate) enum Source {
    /// At noise, drawn anew for each batch.
    Noise,
    /// At rows drawn from these, `(source rows, dims)`, for each batch.
    Drawn(Arc<Array2<f32>>),
    /// Each row of x at its own, `(rows, dims)`.
    Paired(Array2<f32>),
}

/// Rows in the network's units.
pub(crate) struct Rows {
    /// `(rows, dims)`.
    pub x: Array2<f32>,
    pub source: Source,
    /// `(rows, condition)`.
    pub condition: Option<Array2<f32>>,
}

impl BatchSource for Rows {
    type Batch = Rows;

    fn len(&self) -> usize {
        self.x.nrows()
    }

    fn batch(&self, rows: &[usize]) -> Result<Rows> {
        let select = |values: &Array2<f32>| values.select(Axis(0), rows);
        let source = match &self.source {
            Source::Paired(source) => Source::Paired(select(source)),
            other => other.clone(),
        };
        Ok(Rows { x: select(&self.x), source, condition: self.condition.as_ref().map(select) })
    }

    fn name(&self, row: usize) -> String {
        format!("row {row}")
    }
}

/// Checks a condition against what a model was made for, `width` numbers a row or 0 for none, and `rows` rows.
///
/// # Errors
/// One that is missing, not expected, or of another shape.
pub(crate) fn check_condition(condition: Option<&Array2<f32>>, rows: usize, width: usize) -> Result<()> {
    match condition {
        None if width == 0 => Ok(()),
        None => Err(Error::config(format!("the model is conditional: give a condition of {width} columns"))),
        Some(_) if width == 0 => {
            Err(Error::config("the model is unconditional (condition = 0): leave the condition out"))
        }
        Some(c) if c.ncols() != width => {
            Err(Error::config(format!("the condition has {} columns, but the model was made for {width}", c.ncols())))
        }
        Some(c) if c.nrows() != rows => {
            Err(Error::config(format!("the condition has {} rows, where {rows} were expected", c.nrows())))
        }
        Some(_) => Ok(()),
    }
}
