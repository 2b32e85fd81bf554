//! What a user may choose about the metrics.

use crate::data::GeneSets;

/// Choices of the user that metrics need; the default asks for nothing that needs a file.
#[derive(Debug, Clone, Default)]
pub struct MeasureOptions {
    /// The gene sets of the enrichment metrics, `--gene-sets FILE.gmt`; without them those metrics are absent.
    pub gene_sets: Option<GeneSets>,
}
