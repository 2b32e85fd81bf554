//! Where a training gathers its cells from.

use super::Counts;
use crate::Result;

/// A matrix of counts, one row per cell, from which batches are gathered: in memory ([`Counts`]), or a store on disk.
pub trait CellRows: Sync {
    /// The rows `cells`, in that order; a row may be asked for more than once.
    ///
    /// # Errors
    /// Rows that cannot be read.
    fn gather(&self, cells: &[usize]) -> Result<Counts>;
}

impl CellRows for Counts {
    fn gather(&self, cells: &[usize]) -> Result<Counts> {
        Ok(self.select_cells(cells))
    }
}
