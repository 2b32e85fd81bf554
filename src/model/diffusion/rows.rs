//! Samples with their conditions, as the trainer takes them.

use crate::{Error, Result, train::BatchSource};
use ndarray::{Array2, Axis};

/// Rows in the network's units.
pub(crate) struct Rows {
    /// `(rows, dims)`.
    pub x: Array2<f32>,
    /// Where a flow begins: rows that belong to those of x or are paired with them in each batch; noise where there are
    /// none. As many as x.
    pub source: Option<Array2<f32>>,
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
        Ok(Rows {
            x: select(&self.x),
            source: self.source.as_ref().map(select),
            condition: self.condition.as_ref().map(select),
        })
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
