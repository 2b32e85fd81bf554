//! What is worked out of the truth once and serves every model.

use super::{
    cell_truth::CellTruth,
    measure::{EnrichmentTruth, InteractionTruth},
    truth::{DeTruth, ExpressionTruth},
};
use std::sync::OnceLock;

/// Results that depend on the observed side only. A benchmark measures many models against one truth; the first to ask
/// computes, the others wait and read. So the truth must not change, nor the choices of the user, once something was measured
/// against it.
///
/// A clone starts empty, because a clone of [`Observed`](super::Observed) may be changed.
#[derive(Debug, Default)]
pub struct Memo {
    /// Ranks and gene sets of the observed effects.
    pub(super) expression: OnceLock<ExpressionTruth>,
    /// Tests of the held-out cells.
    pub(super) de: OnceLock<DeTruth>,
    /// The interactions, or the reason why there are none.
    pub(super) interactions: OnceLock<Result<InteractionTruth, String>>,
    /// The enriched gene sets, or the reason why there are none.
    pub(super) enrichment: OnceLock<Result<EnrichmentTruth, String>>,
    /// The held-out cells in the space that sets are compared in.
    pub(super) cells: OnceLock<Result<CellTruth, String>>,
}

impl Clone for Memo {
    fn clone(&self) -> Self {
        Self::default()
    }
}
