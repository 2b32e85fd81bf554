//! The benchmark: a split, predictors that see its training fold only, metrics that see both sides.

pub mod ablation;
mod assemble;
mod ceiling;
mod cell_truth;
mod comparison;
mod conditions;
mod data;
mod direction;
mod evaluation;
mod held_out;
mod measure;
mod memo;
mod observed;
mod options;
mod predict;
mod predictions;
mod result;
mod resume;
mod run;
mod score;
pub mod screen;
mod setup;
mod space;
mod summary;
mod table;
mod task;
mod truth;

pub use ceiling::CEILING;
pub use conditions::ConditionFacts;
pub use data::{BenchmarkCells, BenchmarkData};
pub use direction::better;
pub use evaluation::{Evaluation, PerturbationScore, SIGNIFICANCE};
pub use held_out::{EXPRESSED_IN_10K, HeldOut, TruthAgreement, evaluate_effects, evaluate_vae, truth_agreement};
pub use measure::{interaction_curve, measure};
pub use memo::Memo;
pub use observed::{Observed, ObservedCells, Predicted};
pub use options::MeasureOptions;
pub use predict::{Answer, MOST_CELLS};
pub use predictions::{PredictionFile, PredictionKind};
pub use result::{
    Benchmark, Better, Comparison, DataFacts, Example, GroupSummary, InteractionCurve, MeanInterval, ModelFacts, Role,
    SplitFacts, Summary, Verdict,
};
pub use run::{Progress, RunOptions, run, run_with};
pub use score::{ALL, Absent, Row, Scores};
pub use setup::{ALWAYS, Setup, chosen};
pub use space::PcaSpace;
pub use table::HEADLINES;
pub use task::Task;
pub mod uncertainty;
