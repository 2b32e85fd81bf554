//! Is a predicted distribution the observed one, and does the model know what it does not know?
//!
//! | file | question |
//! |---|---|
//! | `cells` | how cells of a condition differ from each other (aleatoric): drawn cells against held-out cells |
//! | `means` | how far predicted mean effects are off (epistemic): drawn means against held-out effects |
//! | `selective` | are the predictions that are set aside first the worse ones, and which experiment should be made next? |
//! | `study` | all of it, on the held-out conditions of a benchmark's task |
//!
//! Coverage of a level is counted by the randomised probability integral transform
//! ([`Sample::pit`](crate::eval::calibration::Sample::pit)), because many cells share the value zero: the closed interval between
//! two quantiles holds more than its level by itself wherever a quantile is zero. Both are reported.

mod cells;
mod means;
mod selective;
mod study;

pub use cells::{CellCalibration, GaussianReference, judge_cells};
pub use means::{MeanCalibration, judge_means};
pub use selective::{NextExperiment, next_experiments};
pub use study::{Study, StudyRow, StudySummary};

/// Levels of the central intervals that coverage is reported at.
pub const LEVELS: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
