//! What a model trains on, what its settings are chosen by, and what it is judged by.
//!
//! A [`SplitPlan`] says how. Applied to the conditions of a dataset it gives a [`NamedSplit`], which is kept as JSON so
//! that a result can be traced to what is behind it: it names conditions (and cells, where those of a condition are
//! divided), so it means the same on every machine and for any order of rows. As lists of rows of the dataset at hand it
//! is a [`Split`], and [`TrainingStatistics`] is what may be learnt from the training part.
//!
//! | file | question |
//! |---|---|
//! | `plan` | what is held out, with which settings, and what is the plan called? |
//! | `divide`, `perturbations`, `context`, `cells` | which conditions or cells does each plan hold out? |
//! | `named` | the saved form: save, load, find the rows |
//! | `leakage` | has training seen what is judged? |
//! | `rows` | lists of rows, and what may be learnt from those of training |
//! | `random` | draws and rounding, the same on every machine |

#[doc(hidden)]
pub mod cells;
mod context;
mod divide;
mod leakage;
mod named;
mod perturbations;
mod plan;
#[doc(hidden)]
pub mod random;
mod rows;

pub use cells::{MIN_CELLS_TO_DIVIDE, NamedCells};
pub use named::{NamedSplit, SplitUnit};
pub use plan::{HeldOutDose, SplitPlan};
pub(crate) use random::{part_of, shuffle};
pub use rows::{Split, TrainingStatistics};
