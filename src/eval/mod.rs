//! How well a prediction agrees with what was measured: differential expression, metrics of effects, embeddings.
//!
//! Nothing here knows a model: predictions come in as plain arrays, so that every predictor is measured the same way.
//!
//! | file | question |
//! |---|---|
//! | `de` | which genes does a perturbation really change? (Wilcoxon rank-sum or t-test against control) |
//! | `metrics` | how near is a predicted effect to the observed one? |
//! | `ranking` | are the truly changed genes at the top of the predicted ones? with the scores of the Virtual Cell Challenge |
//! | `enrichment` | which gene sets does an effect touch? (over-representation, ranks, running sum) |
//! | `calibration` | is the predicted spread the true one? (coverage, CRPS, reliability, selection) |
//! | `interactions` | does a double do what its singles together would? (local FDR, Norman's classes) |
//! | `disentanglement` | does each latent describe one true factor? (MIG, DCI, SAP) |
//! | `guides` | do the guides against one gene do the same? |
//! | `umap` | what do the cells look like in two dimensions? with exact nearest neighbours |
//! | `pseudotime` | how far along a process is each cell? (diffusion pseudotime from a root) |
//! | `probe` | how much does an embedding say about the perturbation? (linear probe, kNN purity) |
//! | `plausibility` | how plausible are generated cells? (their energies beside those of real cells) |
//! | `synthetic` | are generated records as good as real ones, and no copies of them? |
//! | `sets` | how near are two sets of cells? (E-distance, MMD, Wasserstein, spread, zeros) |

pub mod calibration;
pub(crate) mod de;
mod disentanglement;
pub mod enrichment;
mod guides;
pub mod interactions;
pub(crate) mod metrics;
mod multiple_testing;
mod plausibility;
mod probe;
mod pseudotime;
mod ranking;
pub mod sets;
pub mod synthetic;
mod umap;

pub use de::{
    DeReference, DeTest, DifferentialExpression, RankSum, ReferenceCells, SIGNIFICANCE, differential_expression,
    rank_sum_test,
};
pub use disentanglement::{
    Dci, DciConfig, dci, mutual_information_gap, mutual_information_table, separated_attribute_predictability,
};
pub use guides::{FEWEST_CELLS as FEWEST_CELLS_OF_A_GUIDE, GuideAgreement, Guides, guides};
pub use metrics::{
    PERTURBENCH_PSEUDOCOUNT, Separation, centroid_accuracy, cosine, difference, discrimination_score,
    fold_change_of_means, l2, mae, mse, pearson, perturbation_weights, perturbench_log_fold_change, perturbench_rank,
    r2, r2_weighted, rmse, spearman, wmse,
};
pub use multiple_testing::{benjamini_hochberg, normal_cdf, normal_two_sided, student_two_sided};
pub use plausibility::{EnergySummary, Plausibility};
pub use probe::{
    EmbeddingComparison, EmbeddingScore, LinearProbe, ProbeConfig, accuracy, balanced_accuracy, compare_embeddings,
    knn_purity, knn_purity_held_out,
};
pub use pseudotime::{FEWEST_CELLS as FEWEST_CELLS_TO_ORDER, Pseudotime, PseudotimeConfig, diffusion_pseudotime};
pub use ranking::{
    ChallengeMeans, DeTable, auroc, average_precision, certainty, challenge_score, direction_match, normalised_by_one,
    normalised_by_zero, overlap_at_n, precision_at_k, recall_at_k, significant_genes_recall, top_k, top_k_recall,
};
pub use umap::{Neighbours, Umap, nearest_neighbours, umap};
