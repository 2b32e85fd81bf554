//! Notebooks without Jupyter: run, compared, linted, cleared, with the engine that serves Jupyter too.
//!
//! | file | what it does |
//! |---|---|
//! | `command` | the commands, what they print, how they end |
//! | `execution` | runs a notebook and puts its outputs into it |
//! | `worker`, `session` | processes that are warm and run one notebook after the other |
//! | `notebook`, `outputs` | the file; what a cell puts out, in the form of the file |
//! | `compare` | stored and new outputs |
//! | `pictures` | figures as every viewer of a stored notebook shows them |
//! | `lint` | the rules of file, structure and accessibility |
//! | `parameters` | papermill's: a cell with other values |
//! | `junit` | the report for continuous integration |

mod command;
mod compare;
mod execution;
mod junit;
mod lint;
mod notebook;
mod outputs;
mod parameters;
mod pictures;
mod session;
mod worker;

pub use command::command;
pub use compare::{TOLERANCE, differences, is_figure, refresh};
pub use execution::{Execution, Step, execute};
pub use lint::{headings, lint};
pub use notebook::{Cell, Notebook};
pub use session::{Ran, Task};
pub(crate) use worker::serve_if_worker;
pub use worker::{Seat, side_by_side};
