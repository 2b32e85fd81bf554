//! The benchmark: a split, predictors that see its training fold only, metrics that see both sides.

mod measure;
mod observed;
mod result;
mod run;
mod score;
mod task;

pub use measure::measure;
pub use observed::{Observed, ObservedCells, Predicted};
pub use result::{
    Benchmark, Better, Comparison, DataFacts, Example, GroupSummary, ModelFacts, Role, SplitFacts, Summary, Verdict,
};
pub use run::run;
pub use score::{ALL, Absent, Row, Scores};
pub use task::{BenchmarkCells, BenchmarkData, Task};
