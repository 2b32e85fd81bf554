//! Runs a notebook in evcxr, as Jupyter would, and tells apart the ways in which a cell can fail. Two of them look like
//! success to Jupyter: a `?` that ended the cell, and a variable that is gone.
//!
//! One evcxr runs many notebooks: between two of them it forgets every variable, item and import and starts a new
//! process for the cells. What it keeps is rust-analyzer's knowledge of the library, which takes seconds to gather.

use super::notebook::{Notebook, Role};
use evcxr::{CommandContext, Error};
use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    process::Child,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// Set first in every cell that holds a `?`. evcxr drops what a cell defined when a `?` ends it, this name included.
const WITNESS: &str = "went_to_the_end";
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

/// A running evcxr.
pub struct Session {
    context: CommandContext,
    output: Arc<Mutex<Vec<String>>>,
    lost: bool,
}

impl Session {
    /// Compiles the dependencies, unless they are compiled, and lets rust-analyzer read them. What cells print goes to
    /// standard error with `echo`.
    pub fn start(echo: bool) -> Result<Self, String> {
        let (context, channels) = CommandContext::new().map_err(|error| describe(&error))?;
        let output = Arc::new(Mutex::new(Vec::new()));
        // evcxr waits until its output has been taken: it must be taken on other threads than the one that executes.
        for channel in [channels.stdout, channels.stderr] {
            let output = Arc::clone(&output);
            thread::spawn(move || {
                for line in channel {
                    if echo {
                        eprintln!("    {line}");
                    }
                    output.lock().expect("no thread panics with the lock").push(line);
                }
            });
        }
        let mut session = Self { context, output, lost: false };
        session.clear()?;
        // The first variable is what makes rust-analyzer read the dependencies.
        session.context.execute("let warm: i32 = 42;").map_err(|error| describe(&error))?;
        Ok(session)
    }

    /// Forgets everything that cells have defined, as a new kernel would.
    fn clear(&mut self) -> Result<(), String> {
        for command in [":clear", ":load_config --quiet"] {
            if let Err(error) = self.context.execute(command) {
                self.lost = true;
                return Err(describe(&error));
            }
        }
        Ok(())
    }

    /// Whether it could not be cleared, so that no other notebook can be run in it.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// Runs one cell and counts the figures that it showed.
    fn run(&mut self, source: &str, limit: Duration) -> Result<usize, Failure> {
        let before = self.variables();
        self.output.lock().expect("no thread panics with the lock").clear();
        let witnessed = source.contains('?');
        let source = if witnessed { format!("let {WITNESS}: bool = true;\n{source}") } else { source.to_owned() };
        let watchdog = Watchdog::start(self.context.process_handle(), limit);
        let result = self.context.execute(&source);
        let timed_out = watchdog.stop();
        match result {
            _ if timed_out => Err(Failure::Timeout(limit)),
            Err(Error::SubprocessTerminated(status)) => {
                let tail = self.tail();
                if tail.contains("panicked at") {
                    Err(Failure::Panic(tail))
                } else {
                    Err(Failure::Crash(format!("{status}\n{tail}")))
                }
            }
            Err(error) => Err(Failure::Compile(describe(&error))),
            Ok(_) if witnessed && !self.variables().contains(WITNESS) => Err(Failure::QuestionMark(self.tail())),
            Ok(outputs) => {
                let after = self.variables();
                let lost: Vec<String> = before
                    .difference(&after)
                    .filter(|name| *name != WITNESS && !source.contains(&format!("drop({name})")))
                    .cloned()
                    .collect();
                if !lost.is_empty() {
                    return Err(Failure::LostVariable(lost));
                }
                if let Some(text) = debug_text(&outputs.content_by_mime_type) {
                    return Err(Failure::DebugText(text));
                }
                Ok(outputs.content_by_mime_type.iter().filter(|(mime, content)| is_figure(mime, content)).count())
            }
        }
    }

    fn variables(&self) -> BTreeSet<String> {
        self.context.variables_and_types().map(|(name, _)| name.to_owned()).collect()
    }

    /// The last lines that the cell wrote; of a panic, its message rather than its backtrace.
    fn tail(&self) -> String {
        let lines = self.output.lock().expect("no thread panics with the lock");
        let start = lines
            .iter()
            .position(|line| line.contains("panicked at"))
            .unwrap_or_else(|| lines.len().saturating_sub(TAIL));
        let shown = lines[start..].iter().take_while(|line| !line.starts_with("stack backtrace")).take(TAIL);
        shown.map(|line| format!("    {line}\n")).collect()
    }
}

/// The beginning of an output that evcxr printed by `Debug` for want of anything better, if it is that of a struct with
/// fields: `Figure { svg: "…`. Numbers, text and lists are fit to be seen.
fn debug_text(outputs: &HashMap<String, String>) -> Option<String> {
    let text = outputs.get("text/plain").filter(|_| !outputs.contains_key("text/html"))?;
    let (name, _) = text.split_once(" {")?;
    let is_type = name.starts_with(char::is_uppercase) && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    is_type.then(|| text.chars().take(80).collect())
}

fn is_figure(mime: &str, content: &str) -> bool {
    match mime {
        "image/png" | "image/svg+xml" => true,
        "text/html" => content.contains("<svg") || content.contains("<img"),
        _ => false,
    }
}

fn describe(error: &Error) -> String {
    match error {
        Error::CompilationErrors(errors) => errors.iter().map(|error| format!("    {}\n", error.rendered())).collect(),
        other => other.to_string(),
    }
}

/// Kills the process that runs the cells if it takes too long.
struct Watchdog {
    done: mpsc::Sender<()>,
    fired: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Watchdog {
    fn start(process: Arc<Mutex<Child>>, limit: Duration) -> Self {
        let (done, wait) = mpsc::channel();
        let fired = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&fired);
        let thread = thread::spawn(move || {
            if wait.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                flag.store(true, Ordering::SeqCst);
                // It may have ended by itself just now, which is as good.
                let _ = process.lock().expect("no thread panics with the lock").kill();
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
