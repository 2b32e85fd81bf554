//! Is a predicted distribution the observed one, and does the model know what it does not know?
//!
//! | file | question |
//! |---|---|
//! | `judge` | how cells of a condition differ from each other (aleatoric): drawn cells against held-out cells; how far predicted mean effects are off (epistemic): drawn means against held-out effects |
//! | `study` | both on the held-out conditions of a benchmark's task; whether the least certain predictions are the worst ones |
//! | `next` | which experiment should be made next |
//!
//! Coverage of a level is counted by the randomised probability integral transform
//! ([`Sample::pit`](crate::eval::calibration::Sample::pit)), because many cells share the value zero: the closed interval between
//! two quantiles holds more than its level by itself wherever a quantile is zero. Both are reported.

mod judge;
mod next;
mod study;

pub use judge::{
    CellCalibration, GaussianReference, MeanCalibration, Opponent, judge_cells, judge_means, spread_entropy,
};
pub use next::{NextExperiment, next_experiments, order_note};
pub use study::{SHIFTED_CONTROL, Study, StudyRow, StudySummary};

/// Levels of the central intervals that coverage is reported at.
pub const LEVELS: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
