//! One trainer for all models.
//!
//! A model implements [`Trainable`], its data implement [`BatchSource`], and [`fit`] does the rest: shuffling, Adam,
//! schedule, clipping, validation, early stopping, checkpoints, resuming, progress and the [`History`].

mod anywhere;
mod callback;
mod config;
mod events;
mod history;
mod live;
mod objective;
mod progress;
mod run;
mod schedule;
mod state;
mod stopping;
mod trainer;

pub use crate::files::{write_atomically, write_atomically_with};
pub(crate) use anywhere::portable;
pub use anywhere::{Portable, fit_copy, fit_on};
pub use callback::{Callback, StepRecord};
pub use config::TrainConfig;
pub use history::{EpochRecord, History, Metrics};
pub use objective::{BatchSource, Loss, StepContext, Trainable};
pub use progress::Progress;
pub use run::Run;
pub use schedule::{LearningRateSchedule, Plateau};
pub(crate) use state::{CHECKPOINT, has_checkpoint};
pub use trainer::fit;
pub(crate) use trainer::{EVENTS, HISTORY};
