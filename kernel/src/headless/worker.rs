//! Notebooks side by side, in processes that are warm. The working folder, the environment and evcxr's folder belong to
//! a process, so the program starts itself again, once per worker. A worker holds a build folder of its own and one
//! engine, which runs notebook after notebook: what takes seconds to get ready is got ready once.
//!
//! ```text
//! to a worker, on its standard input     the code cells of a notebook, on one line
//! from it, on its standard output        one Event per line
//! ```

use super::session::{Ran, Session, Task};
use crate::{
    cells::Cells,
    engine::{self, Interrupt},
};
use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    env,
    io::{self, BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{self, Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Tells this program that it is a worker, and where its notebooks are.
const ROLE: &str = "GENAILAB_WORKER";
/// evcxr's commands that change nothing, or nothing that lasts until the next notebook. Others, `:env` and `:opt` among
/// them, change the worker itself, so it runs no other notebook afterwards.
const HARMLESS: [&str; 12] = [
    ":dep",
    ":vars",
    ":type",
    ":t",
    ":clear",
    ":restart",
    ":help",
    ":version",
    ":doc",
    ":explain",
    ":show_deps",
    ":last_compile_dir",
];

/// What a worker says.
#[derive(Debug, Serialize, Deserialize)]
enum Event {
    /// It can take notebooks of this folder and those below.
    Ready(PathBuf),
    /// The notebook before is forgotten, the first cell begins.
    Begun,
    /// A cell has ended.
    Ran(Ran),
    /// All cells have, or none follows the one that failed.
    Done,
    /// It ends.
    Failed(String),
}

/// A worker's whole life, if this process was started as one.
pub(crate) fn serve_if_worker() {
    let Some(folder) = env::var_os(ROLE) else { return };
    // SAFETY: nothing has started a thread yet, and the evcxr that is started here must not take itself for a worker.
    unsafe { env::remove_var(ROLE) };
    if let Err(error) = serve(Path::new(&folder)) {
        say(&Event::Failed(format!("{error:#}")));
        process::exit(1);
    }
    process::exit(0);
}

fn serve(folder: &Path) -> Result<()> {
    let cells = Cells::prepare(folder)?;
    // SAFETY: nothing has started a thread yet.
    let interrupt = unsafe {
        cells.enter()?;
        engine::remember_backtrace();
        Interrupt::new(cells.interrupt_file())?
    };
    engine::end_with_parent();
    let mut session = Session::start(cells.first_cell(), interrupt)?;
    say(&Event::Ready(cells.notebooks().to_owned()));
    for line in io::stdin().lines() {
        let tasks: Vec<Task> = serde_json::from_str(&line?).context("the other end is this program")?;
        session.clear()?;
        say(&Event::Begun);
        session.run(&tasks, |ran| say(&Event::Ran(ran)));
        say(&Event::Done);
    }
    Ok(())
}

/// Nobody is left to hear of an error here.
fn say(event: &Event) {
    let mut stdout = io::stdout().lock();
    let text = serde_json::to_string(event).unwrap_or_default();
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}

/// Works on `jobs` in their order, `count` at a time. Each of `count` threads has a [`Seat`] for its notebooks.
pub fn side_by_side<J: Send>(jobs: Vec<J>, count: usize, work: impl Fn(&mut Seat, J) + Sync) {
    let count = count.clamp(1, jobs.len().max(1));
    let queue: Mutex<VecDeque<J>> = Mutex::new(jobs.into());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| {
                let mut seat = Seat::default();
                while let Some(job) = next() {
                    work(&mut seat, job);
                }
            });
        }
    });
}

/// A place for a worker, which is started when it is needed and serves until it is spoilt.
#[derive(Default)]
pub struct Seat {
    worker: Option<Worker>,
}

impl Seat {
    /// Runs the code cells of a notebook that lies in `folder`, from an empty state, up to the first that fails and
    /// must not. `tell` hears of each as it ends. Returns how long it took until the first could begin.
    ///
    /// # Errors
    /// No Rust toolchain, dependencies that do not compile, a worker that was killed.
    pub fn run(&mut self, folder: &Path, tasks: &[Task], mut tell: impl FnMut(Ran)) -> Result<Duration> {
        let begun = Instant::now();
        if self.worker.as_ref().is_some_and(|worker| !folder.starts_with(&worker.root)) {
            self.leave();
        }
        let mut worker = match self.worker.take() {
            Some(worker) => worker,
            None => Worker::start(folder)?,
        };
        let ready = worker.run(tasks, &mut tell)?;
        if !tasks.iter().any(|task| changes_the_worker(&task.source)) {
            self.worker = Some(worker);
        }
        Ok(ready.duration_since(begun))
    }

    /// Ends the worker, if there is one: its build folder is free for another program.
    pub fn leave(&mut self) {
        self.worker = None;
    }
}

fn changes_the_worker(source: &str) -> bool {
    let commands = source.lines().filter(|line| line.starts_with(':'));
    commands.filter_map(|line| line.split_whitespace().next()).any(|command| !HARMLESS.contains(&command))
}

/// A worker, seen from the process that started it.
struct Worker {
    process: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    root: PathBuf,
}

impl Worker {
    /// Starts one and waits until its engine is ready.
    fn start(folder: &Path) -> Result<Self> {
        // One after the other: the first compiles the dependencies, the others copy them.
        static STARTING: Mutex<()> = Mutex::new(());
        let _guard = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut process = Command::new(env::current_exe().context("cannot find this program")?)
            .env(ROLE, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C is for this process, with which a worker ends.
            .process_group(0)
            .spawn()
            .context("cannot start this program again")?;
        let to = process.stdin.take();
        let from = BufReader::new(process.stdout.take().context("it is a pipe")?);
        let mut worker = Self { process, to, from, root: PathBuf::new() };
        match worker.hear()? {
            Event::Ready(root) => worker.root = root,
            other => bail!("a worker began with {other:?}"),
        }
        Ok(worker)
    }

    /// Returns when the first cell could begin.
    fn run(&mut self, tasks: &[Task], tell: &mut dyn FnMut(Ran)) -> Result<Instant> {
        let request = serde_json::to_string(tasks).context("cells are text")?;
        let to = self.to.as_mut().context("open until it is dropped")?;
        // A worker that has ended cannot be written to; how it ended is told below.
        let _ = writeln!(to, "{request}").and_then(|()| to.flush());
        let mut begun = Instant::now();
        loop {
            match self.hear()? {
                Event::Begun => begun = Instant::now(),
                Event::Ran(ran) => tell(ran),
                Event::Done => return Ok(begun),
                other => bail!("a worker said {other:?} while it ran a notebook"),
            }
        }
    }

    /// The next event. Lines that are none are shown.
    fn hear(&mut self) -> Result<Event> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.from.read_line(&mut line).unwrap_or(0) == 0 {
                let end = self.process.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
                bail!("the process that ran it ended: {end}");
            }
            match serde_json::from_str(&line) {
                Ok(Event::Failed(why)) => return Err(anyhow!(why)),
                Ok(event) => return Ok(event),
                Err(_) => eprint!("{line}"),
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.to.take());
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_job_is_done_once() {
        for count in [0, 1, 3, 99] {
            let sum = AtomicUsize::new(0);
            side_by_side((1..=10).collect(), count, |_, job: usize| {
                sum.fetch_add(job, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 55);
        }
        side_by_side(Vec::new(), 2, |_, (): ()| unreachable!("there is none"));
    }

    #[test]
    fn a_worker_is_spoilt_by_a_command_that_outlasts_a_notebook() {
        assert!(!changes_the_worker("let a = 1;\n  :env is no command here"));
        assert!(!changes_the_worker(":dep serde = \"1\"\n:vars"));
        assert!(changes_the_worker(":env A=1\nlet a = 1;"));
        assert!(changes_the_worker("// first\n:opt 2"));
    }
}
