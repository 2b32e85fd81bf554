//! Runs notebooks without Jupyter: the same engine, outputs written back into the file.

mod notebook;
mod outputs;

pub use notebook::Notebook;

use crate::engine::{CellError, Engine, Interrupt};
use anyhow::Result;
use outputs::Outputs;
use std::{
    path::Path,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

/// Runs notebooks one after the other, each from an empty state.
pub struct Runner {
    engine: Engine,
    interrupt: Interrupt,
    outputs: Arc<Mutex<Outputs>>,
    /// What a cell may take.
    limit: Duration,
    fresh: bool,
}

/// What became of a notebook.
pub struct Outcome {
    /// The notebook with its outputs.
    pub notebook: Notebook,
    /// Cells that were run.
    pub cells: usize,
    /// The number of the first cell that failed, counted among the code cells from 1, and how. No cell after it is run.
    pub failure: Option<(usize, CellError)>,
    /// How long the cells took.
    pub time: Duration,
}

impl Runner {
    /// Starts evcxr with `first_cell` (of [`Cells`](crate::cells::Cells)).
    ///
    /// # Errors
    /// No Rust toolchain, dependencies that do not compile.
    pub fn start(first_cell: String, interrupt: Interrupt, limit: Duration) -> Result<Self> {
        let outputs = Arc::<Mutex<Outputs>>::default();
        let sink = Arc::clone(&outputs);
        let sink = move |output| sink.lock().expect("no thread panics with the lock").add(output);
        let engine = Engine::start(first_cell, interrupt.clone(), Box::new(sink))?;
        Ok(Self { engine, interrupt, outputs, limit, fresh: true })
    }

    /// Runs the cells of a notebook in order, up to the first that fails.
    ///
    /// # Errors
    /// A file that is no notebook, dependencies that do not compile any more.
    pub fn run(&mut self, path: &Path) -> Result<Outcome> {
        let mut notebook = Notebook::read(path)?;
        if !std::mem::take(&mut self.fresh) {
            self.engine.clear()?;
        }
        notebook.clear();
        let begun = Instant::now();
        let (mut cells, mut failure) = (0, None);
        for (position, source) in notebook.code() {
            cells += 1;
            let result = self.within_limit(&source);
            let outputs = std::mem::take(&mut *self.outputs.lock().expect("no thread panics with the lock"));
            notebook.set_outputs(position, Some(cells), outputs.finish(cells, &result));
            if let Err(error) = result {
                failure = Some((cells, error));
                break;
            }
        }
        Ok(Outcome { notebook, cells, failure, time: begun.elapsed() })
    }

    /// Runs a cell; asks it to end once its time is over, and kills its process a little later if it does not.
    fn within_limit(&mut self, source: &str) -> Result<crate::engine::Shown, CellError> {
        let (done, wait) = mpsc::channel::<()>();
        let (interrupt, limit) = (self.interrupt.clone(), self.limit);
        let watch = thread::spawn(move || {
            if wait.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                interrupt.request();
            }
        });
        let result = self.engine.run(source, &|_, _| String::new());
        drop(done);
        watch.join().expect("the watch does not panic");
        result
    }
}
