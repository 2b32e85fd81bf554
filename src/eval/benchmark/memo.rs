//! What is worked out of the truth once and serves every model.

use super::{
    cell_truth::CellTruth,
    truth::{DeTruth, ExpressionTruth},
};
use std::sync::OnceLock;

/// Results that depend on the observed side only. A benchmark measures many models against one truth; the first to ask
/// computes, the others wait and read.
///
/// A clone starts empty, because a clone of [`Observed`](super::Observed) may be changed.
#[derive(Debug, Default)]
pub struct Memo {
    /// Ranks and gene sets of the observed effects.
    pub(super) expression: OnceLock<ExpressionTruth>,
    /// Tests of the held-out cells.
    pub(super) de: OnceLock<DeTruth>,
    /// The held-out cells in the space that sets are compared in.
    pub(super) cells: OnceLock<Result<CellTruth, String>>,
}

impl Clone for Memo {
    fn clone(&self) -> Self {
        Self::default()
    }
}
