//! Stopping a cell: first by asking, then by force.
//!
//! The library's trainings, samplers and benchmarks look whether the file named by [`VARIABLE`] exists and end early
//! when it does, so that the variables stay. A cell that does not look, a long loop of the user's own, goes on: after
//! a second request, or [`GRACE`] after the first, its process is killed, and the variables with it. While a cell is
//! compiled its process is idle and nothing is killed: the cell ends before its first statement.

use anyhow::{Context, Result};
use std::{
    env, fs, mem,
    path::{Path, PathBuf},
    process::Child,
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::Duration,
};

/// Names the file whose existence asks the running cell to end.
pub const VARIABLE: &str = "GENAILAB_INTERRUPT";
/// How long a cell may take to end by itself.
pub const GRACE: Duration = Duration::from_secs(5);

/// What the cell does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Idle,
    Compiling,
    Running,
}

/// Why a cell was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It was asked to end, and had [`GRACE`] to do so.
    Asked,
    /// Its process was killed.
    Killed,
}

#[derive(Default)]
struct State {
    phase: Phase,
    /// Numbers the cells, so that a request never reaches the next one.
    cell: usize,
    stop: Option<Stop>,
    process: Option<Arc<Mutex<Child>>>,
}

/// Stops cells, from any thread. Clones stop the same one.
#[derive(Clone)]
pub struct Interrupt {
    file: PathBuf,
    state: Arc<Mutex<State>>,
}

impl Interrupt {
    /// Asks by creating `file`.
    ///
    /// # Errors
    /// A file that is left from a kernel that was killed and cannot be removed.
    ///
    /// # Safety
    /// It sets an environment variable: no other thread may run yet.
    pub unsafe fn new(file: PathBuf) -> Result<Self> {
        remove(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        // SAFETY: the caller promises that this is the only thread.
        unsafe { env::set_var(VARIABLE, &file) };
        Ok(Self { file, state: Arc::default() })
    }

    /// The file that asks.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Asks the cell to end; kills its process at the second request, or later if it does not end.
    pub fn request(&self) {
        let mut state = self.lock();
        match (state.phase, state.stop) {
            (Phase::Idle, _) | (_, Some(Stop::Killed)) => {}
            (Phase::Running, Some(Stop::Asked)) => kill(&mut state),
            (Phase::Compiling, Some(Stop::Asked)) => {}
            (_, None) => {
                state.stop = Some(Stop::Asked);
                if let Err(error) = fs::write(&self.file, "") {
                    eprintln!("cannot ask the cell to end, so its process is killed: {error}");
                    kill(&mut state);
                }
                self.kill_after(GRACE, state.cell);
            }
        }
    }

    /// Kills the process of cell `cell` after `time`, unless the cell has ended by then.
    fn kill_after(&self, time: Duration, cell: usize) {
        let interrupt = self.clone();
        thread::spawn(move || {
            thread::sleep(time);
            let mut state = interrupt.lock();
            if state.cell == cell && state.phase == Phase::Running {
                kill(&mut state);
            }
        });
    }

    /// Whether the cell was asked to end.
    pub fn is_requested(&self) -> bool {
        self.lock().stop.is_some()
    }

    /// Kills the process of the cells, if there is one: at the kernel's end, or when a cell's time is over.
    pub fn kill(&self) {
        kill(&mut self.lock());
    }

    /// Where to find the process of the cells from now on.
    pub(super) fn watch(&self, process: Arc<Mutex<Child>>) {
        self.lock().process = Some(process);
    }

    pub(super) fn begin(&self) {
        let mut state = self.lock();
        state.cell += 1;
        state.phase = Phase::Compiling;
        state.stop = None;
    }

    pub(super) fn running(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Compiling {
            state.phase = Phase::Running;
        }
    }

    /// Ends the cell and says whether it was stopped.
    pub(super) fn end(&self) -> Option<Stop> {
        let mut state = self.lock();
        state.phase = Phase::Idle;
        if let Err(error) = remove(&self.file) {
            eprintln!("the next cells will end at once, as {} cannot be removed: {error}", self.file.display());
        }
        mem::take(&mut state.stop)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with the lock")
    }
}

fn kill(state: &mut State) {
    state.stop = Some(Stop::Killed);
    if let Some(process) = &state.process {
        // It may have ended by itself just now, which is as good.
        let _ = process.lock().expect("no thread panics with the lock").kill();
    }
}

fn remove(file: &Path) -> std::io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
