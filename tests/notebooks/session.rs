//! Runs a notebook with the kernel's headless runner and tells apart the ways in which it can fail. Some of them look
//! like success to Jupyter: a variable that is gone, a value that shows its fields, no figure at all.

use super::rules::Role;
use genailab_kernel::{
    engine::{CellError, Kind},
    headless::{Execution, Notebook, Ran, Seat, TOLERANCE, differences, execute, is_figure},
};
use serde_json::Value;
use std::{fmt, path::Path, time::Duration};

/// Output lines shown with a failure.
const TAIL: usize = 15;

/// Why a notebook failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The context or the dependencies did not come up.
    Start(String),
    Compile(String),
    Panic(String),
    /// The process is gone without a panic: a signal, an exit.
    Crash(String),
    Timeout(String),
    QuestionMark(String),
    LostVariable(Vec<String>),
    /// Shows the fields of a value that has a picture: a figure or a table that was moved or borrowed.
    DebugText(String),
    /// Ran through and showed nothing.
    NoFigure,
    /// Shows something else than it stores: a line per cell.
    Stale(Vec<String>),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(text) => write!(f, "evcxr did not start: {text}"),
            Self::Compile(text) => write!(f, "it does not compile:\n{text}"),
            Self::Panic(text) => write!(f, "it panicked:\n{text}"),
            Self::Crash(text) => write!(f, "its process ended: {text}"),
            Self::Timeout(text) => write!(f, "it took too long:\n{text}"),
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
            Self::Stale(cells) => write!(
                f,
                "it shows something else than it stores; if the new outputs are right, store them with `make outputs`:\n    {}",
                cells.join("\n    ")
            ),
        }
    }
}

/// What running a notebook gave.
#[derive(Debug)]
pub struct Outcome {
    /// Until the first cell could run.
    pub start: Duration,
    /// Time and title of each code cell that was run.
    pub cells: Vec<(Duration, String)>,
    pub figures: usize,
    /// The cell's number, if a cell is to blame.
    pub failure: Option<(Option<usize>, Failure)>,
}

/// Runs the cells in order, up to the first that fails. What they print goes to standard error with `echo`.
pub fn run(notebook: &Notebook, role: Role, folder: &Path, seat: &mut Seat, limit: Duration, echo: bool) -> Outcome {
    let execution = execute(seat, folder, notebook.clone(), limit);
    let sources: Vec<String> = notebook.code().map(|cell| cell.source()).collect();
    let ran = || execution.cells.iter().filter_map(|step| Some((step, step.ran.as_ref()?)));
    if echo {
        ran().flat_map(|(_, ran)| printed(ran)).for_each(|line| eprintln!("    {line}"));
    }
    let figures = ran().flat_map(|(_, ran)| &ran.outputs).filter(|output| is_figure(&output["data"])).count();
    let cell = ran().find_map(|(step, ran)| Some((Some(step.number), failure(ran, sources.get(step.number - 1)?)?)));
    let failure = broken(&execution).or(cell);
    let failure = failure.or((figures == 0 && role != Role::Solution).then_some((None, Failure::NoFigure)));
    let failure = failure.or_else(|| stale(notebook, &execution));
    let cells = ran().map(|(step, ran)| (ran.time, format!("{:>2}  {}", step.number, step.title))).collect();
    Outcome { start: execution.start, cells, figures, failure }
}

fn broken(execution: &Execution) -> Option<(Option<usize>, Failure)> {
    execution.broken.clone().map(|why| (None, Failure::Start(why)))
}

/// Where the notebook shows something else than it stores, if it stores anything.
fn stale(stored: &Notebook, execution: &Execution) -> Option<(Option<usize>, Failure)> {
    stored.code().find(|cell| !cell.outputs().is_empty())?;
    let differences = differences(stored, execution, TOLERANCE);
    let lines: Vec<String> = differences.into_iter().map(|(number, why)| format!("cell {number}: {why}")).collect();
    (!lines.is_empty()).then_some((None, Failure::Stale(lines)))
}

/// How a cell failed.
fn failure(ran: &Ran, source: &str) -> Option<Failure> {
    if let Some(error) = &ran.error {
        return Some(failure_of(error, ran));
    }
    let lost: Vec<String> =
        ran.lost.iter().filter(|name| !source.contains(&format!("drop({name})"))).cloned().collect();
    if !lost.is_empty() {
        return Some(Failure::LostVariable(lost));
    }
    let shown = ran.outputs.iter().filter(|output| output["output_type"] == "execute_result");
    shown.filter_map(|output| debug_text(&output["data"])).next().map(Failure::DebugText)
}

fn failure_of(error: &CellError, ran: &Ran) -> Failure {
    let text: String = error.traceback.iter().map(|line| format!("    {line}\n")).collect();
    match error.kind {
        _ if ran.timed_out => Failure::Timeout(text),
        Kind::Panic => Failure::Panic(text),
        Kind::Returned => Failure::QuestionMark(text),
        Kind::Interrupted | Kind::Terminated => Failure::Crash(text + &tail(ran)),
        Kind::Compile | Kind::Refused => Failure::Compile(text),
    }
}

/// The lines that a cell wrote.
fn printed(ran: &Ran) -> Vec<String> {
    let streams = ran.outputs.iter().filter(|output| output["output_type"] == "stream");
    streams.flat_map(|output| text(&output["text"]).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The last of them.
fn tail(ran: &Ran) -> String {
    let lines = printed(ran);
    lines[lines.len().saturating_sub(TAIL)..].iter().map(|line| format!("    {line}\n")).collect()
}

/// The beginning of an output that evcxr printed by `Debug` for want of anything better, if it is that of a struct with
/// fields: `Figure { svg: "…`. Numbers, text and lists are fit to be seen.
fn debug_text(data: &Value) -> Option<String> {
    let text = data.get("text/plain").filter(|_| data.get("text/html").is_none()).map(text)?;
    let (name, _) = text.split_once(" {")?;
    let is_type = name.starts_with(char::is_uppercase) && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    is_type.then(|| text.chars().take(80).collect())
}

fn text(value: &Value) -> String {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}
