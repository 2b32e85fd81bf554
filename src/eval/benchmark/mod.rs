//! The benchmark: a split, predictors that see its training fold only, metrics that see both sides.

mod measure;
mod memo;
mod observed;
mod options;
mod run;
mod score;
mod task;

pub use measure::measure;
pub use memo::Memo;
pub use observed::{Observed, ObservedCells, Predicted};
pub use options::MeasureOptions;
pub use run::{Benchmark, run};
pub use score::{ALL, Absent, Row, Scores};
pub use task::{BenchmarkCells, BenchmarkData, Task};
