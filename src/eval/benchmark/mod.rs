//! The benchmark: a split, predictors that see its training fold only, metrics that see both sides.

mod measure;
mod observed;
mod run;
mod score;
mod space;
mod task;

pub use measure::measure;
pub use observed::{Observed, ObservedCells, Predicted};
pub use run::{Benchmark, run};
pub use score::{ALL, Absent, Row, Scores};
pub use space::PcaSpace;
pub use task::{BenchmarkCells, BenchmarkData, Task};
