//! The benchmark: a split, predictors that see its training fold only, metrics that see both sides.

mod ceiling;
mod data;
mod measure;
mod observed;
mod predict;
mod result;
mod run;
mod score;
mod task;

pub use ceiling::CEILING;
pub use data::{BenchmarkCells, BenchmarkData};
pub use measure::measure;
pub use observed::{Observed, ObservedCells, Predicted};
pub use predict::{Answer, MOST_CELLS};
pub use result::{
    Benchmark, Better, Comparison, DataFacts, Example, GroupSummary, ModelFacts, Role, SplitFacts, Summary, Verdict,
};
pub use run::run;
pub use score::{ALL, Absent, Row, Scores};
pub use task::Task;
