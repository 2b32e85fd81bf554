//! How well a prediction meets what was measured: differential expression, metrics of effects, embeddings.
//!
//! Nothing here knows a model: predictions come in as plain arrays, so that every predictor is measured the same way.
//!
//! | file | question |
//! |---|---|
//! | `de` | which genes does a perturbation really change? (Wilcoxon rank-sum or t-test against control) |
//! | `virtual_cell` | the scores of the Virtual Cell Challenge |
//! | `metrics` | how near is a predicted effect to the observed one? |
//! | `ranking` | are the truly changed genes at the top of the predicted ones? |
//! | `enrichment` | which gene sets does an effect touch? (over-representation, ranks, running sum) |
//! | `calibration` | is the predicted spread the true one? (coverage, CRPS, reliability, selection) |
//! | `interactions` | does a double do what its singles together would? (local FDR, Norman's classes) |
//! | `evaluation` | all of it, a row a perturbation, with a summary |
//! | `neighbours`, `umap` | what do the cells look like in two dimensions? |
//! | `probe` | how much does an embedding tell of the perturbation? (linear probe, kNN purity) |
//! | `ablation` | what is each part of a model good for? |
//! | `screen` | which perturbation would bring a cell to a wanted state? |
//! | `sets` | how near are two sets of cells? (E-distance, MMD, Wasserstein, spread, zeros) |
//! | `uncertainty` | is a predicted distribution the observed one? what is not known? |
//! | `grid` | a result table that prints as text and as HTML |

pub mod ablation;
pub mod baselines;
pub mod benchmark;
pub mod calibration;
mod control_starts;
mod de;
mod diffusion_predictor;
pub mod enrichment;
mod evaluation;
mod grid;
mod held_out;
pub mod interactions;
mod jepa_predictor;
mod metrics;
mod multiple_testing;
mod neighbours;
mod predictor;
mod probe;
mod ranking;
pub mod screen;
pub mod sets;
mod umap;
mod umap_layout;
pub mod uncertainty;
mod vae_predictor;
mod virtual_cell;

pub use crate::linalg::Pca;
pub use de::{
    DeTest, DifferentialExpression, RankSum, Reference, ReferenceCells, differential_expression, rank_sum_test,
};
pub use diffusion_predictor::DiffusionPredictor;
pub use evaluation::{Evaluation, PerturbationScore, SIGNIFICANCE, Summary};
pub use grid::{Align, Cell, Grid};
pub(crate) use grid::{escape, show_in_notebook};
pub use held_out::{EXPRESSED_IN_10K, HeldOut, TruthAgreement, evaluate_effects, evaluate_vae, truth_agreement};
pub use jepa_predictor::{JepaPredictor, JepaSetsPredictor};
pub use metrics::{
    PERTURBENCH_PSEUDOCOUNT, Separation, centroid_accuracy, cosine, difference, discrimination_score,
    fold_change_of_means, l2, mae, mse, pearson, perturbation_weights, perturbench_log_fold_change, perturbench_rank,
    r2, r2_weighted, rmse, spearman, wmse,
};
pub use multiple_testing::{benjamini_hochberg, normal_cdf, normal_two_sided, student_two_sided};
pub use neighbours::{Neighbours, nearest_neighbours};
pub use predictor::{Controls, Fitted, Predictor, Training, TrainingCells};
pub use probe::{
    EmbeddingComparison, EmbeddingScore, LinearProbe, ProbeConfig, accuracy, balanced_accuracy, compare_embeddings,
    knn_purity, knn_purity_held_out,
};
pub use ranking::{auroc, average_precision, precision_at_k, recall_at_k, top_k, top_k_recall};
pub use umap::{Umap, umap};
pub use vae_predictor::{VaePredictor, VaeUse};
pub use virtual_cell::{
    ChallengeMeans, DeTable, certainty, challenge_score, direction_match, normalised_by_one, normalised_by_zero,
    overlap_at_n, significant_genes_recall,
};
