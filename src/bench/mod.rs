//! The benchmark: a split, predictors that see its training fold only, and metrics that compare their predictions with the
//! held-out truth.

pub mod ablation;
mod adaptation;
mod assemble;
mod cell_truth;
mod coverage;
mod data;
mod evaluation;
mod held_out;
mod measure;
mod metadata;
mod metrics;
mod notes;
mod observed;
mod own_space;
mod parts;
mod predict;
mod predictions;
mod result;
mod run;
pub mod screen;
mod setup;
mod statistics;
mod task;
mod truth;
pub mod uncertainty;

pub use adaptation::{Curve, CurveConfig, CurveRow, adaptation_curve};
pub use cell_truth::PcaSpace;
pub use coverage::Coverage;
pub use data::{BenchmarkCells, BenchmarkData, ConditionFacts, DataFacts};
pub use evaluation::{Evaluation, PerturbationScore};
pub use held_out::{EXPRESSED_IN_10K, HeldOut, TruthAgreement, evaluate_effects, evaluate_vae, truth_agreement};
pub use measure::{ALL, Absent, MeasureOptions, Row, Scores, interaction_curve, measure};
pub use metadata::{MetadataEvaluation, MetadataScore, NoiseFloor, evaluate_metadata};
pub use metrics::{Better, METRICS, Metric, MetricFamily, better, label};
pub use observed::{MOST_CELLS, MeanProfiles, Memo, ObservedCells, ObservedEffects, Predicted};
pub use own_space::{MeanPoints, OwnSpace};
pub use predict::{Answer, CEILING};
pub use predictions::{PredictionFile, PredictionKind, PredictionMatrix, PredictionSource};
pub use result::{
    ADDITIVE, Benchmark, Comparison, Example, FileFacts, GroupSummary, InteractionCurve, MEAN, MeanInterval,
    MetricSummary, ModelFacts, NO_CHANGE, Role, SIMILARITY_WEIGHTED, Significance, SplitFacts,
};
pub use run::{PartProgress, RunOptions, run, run_with};
pub use setup::{ALWAYS, Setup, chosen, chosen_for};
pub use task::Task;
