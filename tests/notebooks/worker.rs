//! Notebooks side by side. The working folder, the environment and evcxr's folder belong to a process, so this binary
//! starts itself again, once per worker; each worker holds a slot of its own and one evcxr, which runs one notebook
//! after the other.
//!
//! ```text
//! to a worker, on its standard input     the name of the next test
//! from it, on its standard output        {"ready": null} once, then a verdict per test, each on one line
//! ```

use super::{Test, session::Session, verdict::Verdict};
use genailab_kernel::{cells::Cells, engine::Interrupt};
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio},
    sync::{Mutex, mpsc},
    thread,
};

/// Tells this binary that it is a worker: `echo` shows what the cells print.
const ROLE: &str = "GENAILAB_NOTEBOOK_WORKER";
const READY: &str = "ready";
const ECHO: &str = "echo";
/// Notebooks side by side. Cells compile on one core most of the time.
const WORKERS: usize = 2;

/// Whether this process is a worker and, if so, whether it shows what the cells print.
pub fn role() -> Option<bool> {
    env::var(ROLE).ok().map(|role| role == ECHO)
}

/// A worker's whole life: tests come by name until the standard input ends.
pub fn serve(root: &Path, tests: &[Test], echo: bool) -> ExitCode {
    // SAFETY: nothing has started a thread yet, and the evcxr that is started here must not take itself for a worker.
    unsafe { env::remove_var(ROLE) };
    let cells = Cells::prepare(&root.join("notebooks")).and_then(|cells| {
        // SAFETY: nothing has started a thread yet.
        let interrupt = unsafe {
            cells.enter()?;
            Interrupt::new(cells.interrupt_file())?
        };
        Ok((cells, interrupt))
    });
    let (cells, interrupt) = match cells {
        Ok(prepared) => prepared,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let first_cell = cells.first_cell();
    let mut cells = Some(cells);
    let start = || Session::start(first_cell.clone(), &interrupt, echo);
    let mut session = start();
    say(&json!({ READY: null }));
    for name in std::io::stdin().lines().map_while(Result::ok) {
        let test = tests.iter().find(|test| test.name() == name).expect("the plan is the same in every process");
        let verdict = if test.is_jupyter() {
            // The kernel that Jupyter starts takes the compiled dependencies over. Nothing else follows.
            session = Err("it ended for the sake of Jupyter".to_owned());
            drop(cells.take());
            test.through_jupyter()
        } else {
            if session.as_ref().map_or(true, Session::is_lost) {
                session = start();
            }
            match &mut session {
                Ok(session) => test.headless(session),
                Err(why) => Verdict::failed(&name, vec![format!("evcxr did not start: {why}")]),
            }
        };
        say(&verdict.to_json());
    }
    ExitCode::SUCCESS
}

fn say(message: &Value) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{message}").and_then(|()| stdout.flush()).expect("the other end is this program");
}

/// Runs all `tests`, the planted ones first, then those with most cells, those through Jupyter last; `tell` gets each verdict as it comes.
pub fn run_all(mut tests: Vec<Test>, echo: bool, mut tell: impl FnMut(Verdict)) {
    tests.sort_by_key(|test| (test.is_jupyter(), !test.is_planted(), std::cmp::Reverse(test.length())));
    let workers = thread::available_parallelism().map_or(1, usize::from).min(WORKERS).min(tests.len());
    let queue: Mutex<VecDeque<String>> = Mutex::new(tests.iter().map(Test::name).collect());
    let next = || queue.lock().expect("no thread panics with the lock").pop_front();
    let drive = |worker: Option<Worker>, verdicts: mpsc::Sender<Verdict>| {
        let mut worker = worker;
        while let Some(name) = next() {
            let verdict = match &mut worker {
                Some(running) => running.run(&name).unwrap_or_else(|why| {
                    worker = Worker::start(echo);
                    Verdict::failed(&name, vec![why])
                }),
                None => Verdict::failed(&name, vec!["the process for it did not start; its error stands above".into()]),
            };
            verdicts.send(verdict).expect("the receiver outlives the workers");
        }
    };
    thread::scope(|scope| {
        let (verdicts, incoming) = mpsc::channel();
        for _ in 0..workers {
            let verdicts = verdicts.clone();
            // The first compiles the dependencies, the others copy them from it.
            let worker = Worker::start(echo);
            scope.spawn(|| drive(worker, verdicts));
        }
        drop(verdicts);
        incoming.iter().for_each(&mut tell);
    });
}

/// A worker, seen from the process that started it.
struct Worker {
    process: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts one and waits until its evcxr is there. Nothing, if it ended before that.
    fn start(echo: bool) -> Option<Self> {
        let mut process = Command::new(env::current_exe().expect("a running program has a path"))
            .env(ROLE, if echo { ECHO } else { "quiet" })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts again");
        let to = process.stdin.take();
        let from = BufReader::new(process.stdout.take().expect("it is a pipe"));
        let mut worker = Self { process, to, from };
        worker.hear(|message| message.get(READY).cloned())?;
        Some(worker)
    }

    fn run(&mut self, name: &str) -> Result<Verdict, String> {
        let to = self.to.as_mut().expect("open until it is dropped");
        // A worker that has ended cannot be written to; how it ended is told below.
        let _ = writeln!(to, "{name}").and_then(|()| to.flush());
        self.hear(Verdict::from_json).ok_or_else(|| match self.process.wait() {
            Ok(status) => format!("the process that ran it ended: {status}"),
            Err(error) => format!("the process that ran it is lost: {error}"),
        })
    }

    /// The next message that `read` understands. Lines that are none are shown.
    fn hear<T>(&mut self, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.from.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match serde_json::from_str(&line).ok().as_ref().and_then(&read) {
                Some(message) => return Some(message),
                None => eprint!("{line}"),
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
