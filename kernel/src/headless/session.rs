//! The engine of a worker: it runs the cells of one notebook after those of another, each notebook from an empty state.
//!
//! Between two notebooks it forgets every variable, item, import and dependency and starts a new process for the cells.
//! What it keeps is what takes a kernel long to get ready: evcxr's configuration and rust-analyzer's knowledge of the
//! library.

use super::outputs::Outputs;
use crate::engine::{CellError, Engine, Interrupt, Kind, Output};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// A code cell to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its code.
    pub source: String,
    /// How long it may take.
    pub limit: Duration,
    /// Whether the cells after it are run although it failed.
    pub may_fail: bool,
}

/// What a cell did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ran {
    /// What it put out, as a notebook stores it.
    pub outputs: Vec<Value>,
    /// How it failed.
    pub error: Option<CellError>,
    /// Whether it was stopped because it took too long.
    pub timed_out: bool,
    /// Variables that are gone after it although it did not fail: moved, or of a type that was redefined.
    pub lost: Vec<String>,
    /// How long it took.
    pub time: Duration,
}

/// A running engine.
pub(super) struct Session {
    engine: Engine,
    interrupt: Interrupt,
    outputs: Arc<Mutex<Outputs>>,
    fresh: bool,
}

impl Session {
    /// Starts evcxr with `first_cell` (of [`Cells`](crate::cells::Cells)).
    ///
    /// # Errors
    /// No Rust toolchain, dependencies that do not compile.
    pub fn start(first_cell: String, interrupt: Interrupt) -> Result<Self> {
        let outputs = Arc::<Mutex<Outputs>>::default();
        let sink = Arc::clone(&outputs);
        let sink = move |output: Output| lock(&sink).add(output);
        let engine = Engine::start(first_cell, interrupt.clone(), Box::new(sink))?;
        Ok(Self { engine, interrupt, outputs, fresh: true })
    }

    /// Forgets the notebook before.
    ///
    /// # Errors
    /// Dependencies that do not compile any more.
    pub fn clear(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.fresh) {
            self.engine.clear()?;
        }
        Ok(())
    }

    /// Runs the cells in order, up to the first that fails and must not. `tell` hears of each.
    pub fn run(&mut self, tasks: &[Task], mut tell: impl FnMut(Ran)) {
        for task in tasks {
            let before = self.variables();
            lock(&self.outputs).clear();
            let begun = Instant::now();
            let (result, timed_out) = self.within_limit(&task.source, task.limit);
            let time = begun.elapsed();
            let outputs = std::mem::take(&mut *lock(&self.outputs)).finish(&result);
            let lost = match &result {
                Ok(_) => before.difference(&self.variables()).cloned().collect(),
                Err(_) => Vec::new(),
            };
            let error = result.err();
            let goes_on = error.is_none() || task.may_fail;
            tell(Ran { outputs, error, timed_out, lost, time });
            if !goes_on {
                break;
            }
        }
    }

    /// Runs a cell; asks it to end once its time is over, and kills its process a little later if it does not.
    fn within_limit(&mut self, source: &str, limit: Duration) -> (Result<crate::engine::Shown, CellError>, bool) {
        let (done, wait) = mpsc::channel::<()>();
        let timed_out = Arc::new(AtomicBool::new(false));
        let (interrupt, fired) = (self.interrupt.clone(), Arc::clone(&timed_out));
        let watch = thread::spawn(move || {
            if wait.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                fired.store(true, Ordering::SeqCst);
                interrupt.request();
            }
        });
        let result = self.engine.run(source, &|_, _| String::new());
        drop(done);
        watch.join().expect("the watch does not panic");
        // It may have ended just before it was asked to.
        let timed_out = timed_out.load(Ordering::SeqCst) && result.is_err();
        let result = result.map_err(|error| if timed_out { overdue(error, limit) } else { error });
        (result, timed_out)
    }

    fn variables(&self) -> BTreeSet<String> {
        self.engine.variables().into_iter().map(|(name, _)| name).collect()
    }
}

fn overdue(error: CellError, limit: Duration) -> CellError {
    let value = format!("the cell was stopped because it took longer than {} s", limit.as_secs_f64());
    CellError::new(Kind::Interrupted, "Timeout", &value, error.traceback.into_iter().skip(1).collect())
}

fn lock(outputs: &Mutex<Outputs>) -> MutexGuard<'_, Outputs> {
    outputs.lock().unwrap_or_else(PoisonError::into_inner)
}
