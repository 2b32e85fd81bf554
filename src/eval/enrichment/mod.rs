//! Which gene sets does an effect touch?
//!
//! | file | question |
//! |---|---|
//! | `over_representation` | are more of a set's genes among the changed ones than chance would put there? |
//! | `rank` | do a set's genes stand higher or lower in the ranking of all genes? (Mann-Whitney) |
//! | `running_sum` | the running-sum score of GSEA, with its peak |
//!
//! The genes that are tested are those that were measured: a set is its measured genes, and the background is all measured
//! genes, so a panel of few genes does not make its own theme look enriched. p-values are adjusted over the tested sets by
//! Benjamini and Hochberg. All tests take genes for independent, which genes of a set are not: small p-values are too small
//! (Wu and Smyth, NAR 2012), and serve to compare a prediction with the truth rather than to prove a biology.

mod over_representation;
mod rank;
mod running_sum;

pub use over_representation::{OverRepresentation, hypergeometric_upper, over_representation};
pub use rank::{RankEnrichment, rank_enrichment};
pub use running_sum::running_sum;

use crate::{
    Result,
    data::{GeneSets, MeasuredSets},
};

/// Sets with fewer measured genes say little. GSEA's default of 15 is for whole transcriptomes; the panels here are 300 to
/// 2,000 genes, on which most sets keep five to twenty.
pub const MIN_SET: usize = 5;
/// GSEA's default: larger sets are about everything.
pub const MAX_SET: usize = 500;
/// An adjusted p below it makes a set significant.
pub const SIGNIFICANT: f64 = 0.05;
/// Genes of largest absolute effect that stand for the changed ones where no test says which are.
pub const TOP_GENES: usize = 100;

/// The sets as columns of a dataset with these genes, [`MIN_SET`] to [`MAX_SET`] measured genes each.
///
/// # Errors
/// No set is left.
pub fn testable(sets: &GeneSets, genes: &[String]) -> Result<MeasuredSets> {
    sets.measured(genes, MIN_SET, MAX_SET)
}

/// The genes of largest absolute effect: [`TOP_GENES`] of them, at most a tenth of all.
pub fn most_changed(effect: &[f32]) -> Vec<usize> {
    let sizes: Vec<f32> = effect.iter().map(|value| value.abs()).collect();
    super::top_k(&sizes, TOP_GENES.min(effect.len() / 10))
}

/// Share of the sets that both find among those that either finds (Jaccard). `None` if neither finds one.
pub fn agreement(first: &[bool], second: &[bool]) -> Option<f64> {
    let (mut both, mut either) = (0_usize, 0_usize);
    for (&a, &b) in first.iter().zip(second) {
        both += usize::from(a && b);
        either += usize::from(a || b);
    }
    (either > 0).then(|| both as f64 / either as f64)
}
