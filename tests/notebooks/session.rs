//! Runs a notebook in the kernel's engine, as Jupyter would, and tells apart the ways in which a cell can fail. One of
//! them looks like success to Jupyter: a variable that is gone.
//!
//! One engine runs many notebooks: between two of them it forgets every variable, item and import and starts a new
//! process for the cells. What it keeps is rust-analyzer's knowledge of the library, which takes seconds to gather.

use super::notebook::{Notebook, Role};
use genailab_kernel::engine::{CellError, Display, Engine, Interrupt, Kind, Output, Shown};
use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// Output lines shown with a failure.
const TAIL: usize = 15;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub cell: Duration,
    pub notebook: Duration,
}

/// Why a notebook failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The context or the dependencies did not come up.
    Start(String),
    Compile(String),
    Panic(String),
    /// The process is gone without a panic: a signal, an exit.
    Crash(String),
    Timeout(Duration),
    QuestionMark(String),
    LostVariable(Vec<String>),
    /// Shows the fields of a value that has a picture: a figure or a table that was moved or borrowed.
    DebugText(String),
    /// Ran through and showed nothing.
    NoFigure,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(text) => write!(f, "evcxr did not start: {text}"),
            Self::Compile(text) => write!(f, "it does not compile:\n{text}"),
            Self::Panic(text) => write!(f, "it panicked:\n{text}"),
            Self::Crash(text) => write!(f, "its process ended: {text}"),
            Self::Timeout(after) => write!(f, "it was stopped after {:.0} s", after.as_secs_f32()),
            Self::QuestionMark(text) => write!(f, "a `?` ended it early:\n{text}"),
            Self::LostVariable(names) => write!(
                f,
                "these variables are gone after it: {} (moved, or their type was redefined; drop(x) says it is meant)",
                names.join(", ")
            ),
            Self::DebugText(text) => {
                write!(f, "it shows a value's fields, not the value (end the cell with the value itself): {text}")
            }
            Self::NoFigure => write!(f, "it ran, but showed no figure (text/html, image/svg+xml or image/png)"),
        }
    }
}

/// What running a notebook gave.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Until the first cell could run: forgetting the notebook before, and what `evcxr.toml` asks for.
    pub start: Duration,
    /// Time of each code cell that was run.
    pub cells: Vec<Duration>,
    pub figures: usize,
    /// The cell's number, if a cell is to blame.
    pub failure: Option<(Option<usize>, Failure)>,
}

/// Runs the cells in order in a cleared session; stops at the first that fails.
pub fn run(notebook: &Notebook, session: &mut Session, limits: Limits) -> Outcome {
    let mut outcome = Outcome::default();
    let started = Instant::now();
    if let Err(why) = session.clear() {
        outcome.failure = Some((None, Failure::Start(why)));
        return outcome;
    }
    outcome.start = started.elapsed();
    let begun = Instant::now();
    for (number, source) in notebook.code() {
        let limit = limits.cell.min(limits.notebook.saturating_sub(begun.elapsed()));
        let cell = Instant::now();
        let result = session.run(source, limit);
        outcome.cells.push(cell.elapsed());
        match result {
            Ok(figures) => outcome.figures += figures,
            Err(failure) => {
                outcome.failure = Some((Some(number), failure));
                return outcome;
            }
        }
    }
    if outcome.figures == 0 && notebook.role != Role::Solution {
        outcome.failure = Some((None, Failure::NoFigure));
    }
    outcome
}

/// What a cell put out before its end.
#[derive(Default)]
struct Printed {
    lines: Vec<String>,
    figures: usize,
}

/// A running engine.
pub struct Session {
    engine: Engine,
    interrupt: Interrupt,
    output: Arc<Mutex<Printed>>,
    lost: bool,
}

impl Session {
    /// Compiles the dependencies, unless they are compiled, and lets rust-analyzer read them. What cells print goes to
    /// standard error with `echo`.
    pub fn start(first_cell: String, interrupt: &Interrupt, echo: bool) -> Result<Self, String> {
        let output = Arc::new(Mutex::new(Printed::default()));
        let kept = Arc::clone(&output);
        let sink = move |output| {
            let mut kept = kept.lock().expect("no thread panics with the lock");
            let text = match output {
                Output::Stdout(text) | Output::Stderr(text) => text,
                // A figure that is replaced in place is one figure.
                Output::Display(Display { update: true, .. }) => return,
                Output::Display(Display { data, .. }) => {
                    kept.figures += figures(&data);
                    return;
                }
            };
            let line = text.trim_end_matches('\n');
            if echo {
                eprintln!("    {line}");
            }
            kept.lines.push(line.to_owned());
        };
        let engine =
            Engine::start(first_cell, interrupt.clone(), Box::new(sink)).map_err(|error| format!("{error:#}"))?;
        Ok(Self { engine, interrupt: interrupt.clone(), output, lost: false })
    }

    /// Forgets everything that cells have defined, as a new kernel would.
    fn clear(&mut self) -> Result<(), String> {
        self.engine.clear().map_err(|error| {
            self.lost = true;
            format!("{error:#}")
        })
    }

    /// Whether it could not be cleared, so that no other notebook can be run in it.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// Runs one cell and counts the figures that it showed.
    fn run(&mut self, source: &str, limit: Duration) -> Result<usize, Failure> {
        let before = self.variables();
        *self.output.lock().expect("no thread panics with the lock") = Printed::default();
        let watchdog = Watchdog::start(self.interrupt.clone(), limit);
        let result = self.engine.run(source, &|_, _| String::new());
        if watchdog.stop() {
            return Err(Failure::Timeout(limit));
        }
        let shown = result.map_err(|error| self.failure(&error))?;
        let after = self.variables();
        let lost: Vec<String> =
            before.difference(&after).filter(|name| !source.contains(&format!("drop({name})"))).cloned().collect();
        if !lost.is_empty() {
            return Err(Failure::LostVariable(lost));
        }
        if let Some(text) = debug_text(&shown) {
            return Err(Failure::DebugText(text));
        }
        Ok(figures(&shown) + self.output.lock().expect("no thread panics with the lock").figures)
    }

    fn failure(&self, error: &CellError) -> Failure {
        let text: String = error.traceback.iter().map(|line| format!("    {line}\n")).collect();
        match error.kind {
            Kind::Panic => Failure::Panic(text),
            Kind::Returned => Failure::QuestionMark(text),
            Kind::Interrupted | Kind::Terminated => Failure::Crash(text + &self.tail()),
            Kind::Compile | Kind::Refused => Failure::Compile(text),
        }
    }

    fn variables(&self) -> BTreeSet<String> {
        self.engine.variables().into_iter().map(|(name, _)| name).collect()
    }

    /// The last lines that the cell wrote.
    fn tail(&self) -> String {
        let lines = &self.output.lock().expect("no thread panics with the lock").lines;
        lines[lines.len().saturating_sub(TAIL)..].iter().map(|line| format!("    {line}\n")).collect()
    }
}

/// The beginning of an output that evcxr printed by `Debug` for want of anything better, if it is that of a struct with
/// fields: `Figure { svg: "…`. Numbers, text and lists are fit to be seen.
fn debug_text(outputs: &Shown) -> Option<String> {
    let text = outputs.get("text/plain").filter(|_| !outputs.contains_key("text/html"))?;
    let (name, _) = text.split_once(" {")?;
    let is_type = name.starts_with(char::is_uppercase) && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    is_type.then(|| text.chars().take(80).collect())
}

fn figures(shown: &Shown) -> usize {
    shown.iter().filter(|(mime, content)| is_figure(mime, content)).count()
}

fn is_figure(mime: &str, content: &str) -> bool {
    match mime {
        "image/png" | "image/svg+xml" => true,
        "text/html" => content.contains("<svg") || content.contains("<img"),
        _ => false,
    }
}

/// Kills the process that runs the cells if it takes too long.
struct Watchdog {
    done: mpsc::Sender<()>,
    fired: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Watchdog {
    fn start(interrupt: Interrupt, limit: Duration) -> Self {
        let (done, wait) = mpsc::channel();
        let fired = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&fired);
        let thread = thread::spawn(move || {
            if wait.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                flag.store(true, Ordering::SeqCst);
                interrupt.kill();
            }
        });
        Self { done, fired, thread }
    }

    /// Ends the watch; true if the process was killed.
    fn stop(self) -> bool {
        let _ = self.done.send(());
        self.thread.join().expect("the watchdog does not panic");
        self.fired.load(Ordering::SeqCst)
    }
}
