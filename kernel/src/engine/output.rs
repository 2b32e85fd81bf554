//! What a cell prints, passed on line by line while it runs.
//!
//! evcxr hands over lines on two channels and ends a cell only when the one for standard output is empty, so they are
//! emptied on a thread of their own. The report of a panic on standard error is held back: if the cell ends with it,
//! it becomes the cell's error; if the panic was caught, it is shown as the text that it is.

use super::{Shown, interrupt::Interrupt, source};
use base64::{Engine, engine::general_purpose::STANDARD};
use crossbeam_channel::{Receiver, Select};
use evcxr::EvalContextOutputs;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

/// Lines of standard error that are remembered, to say why a process ended.
const REMEMBERED: usize = 50;
/// How long standard error has to be silent at the end of a cell: evcxr does not wait for it. A failed cell's report
/// comes there.
const QUIET: Duration = Duration::from_millis(20);
const QUIET_AFTER_FAILURE: Duration = Duration::from_millis(100);
/// How long to wait for that at most: other threads may go on writing.
const PATIENCE: Duration = Duration::from_secs(1);

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Text on standard output.
    Stdout(String),
    /// Text on standard error.
    Stderr(String),
    /// A figure, a table, a progress bar.
    Display(Display),
}

/// What the library shows while a cell runs; the JSON of a record.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Display {
    /// The content by MIME type.
    pub data: Shown,
    /// The name under which it can be replaced.
    pub id: Option<String>,
    /// Whether it replaces what was shown under its name.
    pub update: bool,
}

/// Content by MIME type in the form of a message or of a notebook: JSON as JSON, everything else as `text` makes it.
pub fn by_mime_type(shown: &Shown, text: impl Fn(&str) -> Value) -> Map<String, Value> {
    let form = |mime: &str, content: &str| {
        let json = mime.contains("json").then(|| serde_json::from_str(content).ok()).flatten();
        json.unwrap_or_else(|| text(content))
    };
    shown.iter().map(|(mime, content)| (mime.clone(), form(mime, content))).collect()
}

/// Takes the output of cells, in order.
pub type Sink = Box<dyn FnMut(Output) + Send>;

/// The running collection of output.
pub(super) struct Collector {
    state: Arc<Mutex<State>>,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

struct State {
    sink: Sink,
    interrupt: Interrupt,
    /// The report of a panic, from its first line on, or the empty line that may come before one.
    panic: Vec<String>,
    stderr: VecDeque<String>,
    last: Instant,
}

impl Collector {
    pub fn start(outputs: EvalContextOutputs, interrupt: Interrupt, sink: Sink) -> Self {
        let EvalContextOutputs { stdout, stderr } = outputs;
        let state = State { sink, interrupt, panic: Vec::new(), stderr: VecDeque::new(), last: Instant::now() };
        let state = Arc::new(Mutex::new(state));
        let collector = Self { state, stdout, stderr };
        let (state, stdout, stderr) =
            (Arc::clone(&collector.state), collector.stdout.clone(), collector.stderr.clone());
        thread::spawn(move || pass_on(&state, &stdout, &stderr));
        collector
    }

    /// Forgets what the cell before has left.
    pub fn begin(&self) {
        let mut state = self.lock();
        state.flush_panic();
        state.stderr.clear();
    }

    /// Waits until all that the cell has printed is passed on.
    pub fn settle(&self, failed: bool) {
        let begun = Instant::now();
        let quiet = if failed { QUIET_AFTER_FAILURE } else { QUIET };
        while begun.elapsed() < PATIENCE {
            let empty = self.stdout.is_empty() && self.stderr.is_empty();
            // The lock is free once no line is on its way.
            let last = self.lock().last.max(begun);
            if empty && last.elapsed() > quiet {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// The report of the last panic, which then is not shown as text.
    pub fn take_panic(&self) -> Vec<String> {
        mem::take(&mut self.lock().panic)
    }

    /// Shows a panic's report that ended no cell.
    pub fn flush_panic(&self) {
        self.lock().flush_panic();
    }

    /// The last lines on standard error.
    pub fn stderr(&self) -> Vec<String> {
        self.lock().stderr.iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with the lock")
    }
}

/// Reads the record of a display: `display` and, in base64, its JSON.
fn display(record: &str) -> Option<Display> {
    let json = STANDARD.decode(record.strip_prefix("display ")?).ok()?;
    serde_json::from_slice(&json).ok()
}

/// Runs until both channels are closed. Lines are taken under the lock: who finds a channel empty and then gets the
/// lock knows that they are passed on.
fn pass_on(state: &Mutex<State>, stdout: &Receiver<String>, stderr: &Receiver<String>) {
    let mut select = Select::new();
    let (out, err) = (select.recv(stdout), select.recv(stderr));
    let mut open = 2;
    while open > 0 {
        let ready = select.ready();
        let mut state = state.lock().expect("no thread panics with the lock");
        let channel = if ready == out { stdout } else { stderr };
        loop {
            match channel.try_recv() {
                Ok(line) if ready == out => state.stdout(&line),
                Ok(line) => state.stderr(line),
                Err(crossbeam_channel::TryRecvError::Empty) => break,
                Err(crossbeam_channel::TryRecvError::Disconnected) => {
                    select.remove(if ready == out { out } else { err });
                    open -= 1;
                    break;
                }
            }
        }
        state.last = Instant::now();
    }
}

impl State {
    fn stdout(&mut self, line: &str) {
        // A text without a line's end, printed before the record, stands before it.
        let Some((text, record)) = line.split_once(source::RECORD) else {
            return (self.sink)(Output::Stdout(format!("{line}\n")));
        };
        if !text.is_empty() {
            (self.sink)(Output::Stdout(text.to_owned()));
        }
        if record == source::RUNNING {
            return self.interrupt.running();
        }
        match display(record) {
            Some(display) => (self.sink)(Output::Display(display)),
            // Not the library's: the cell printed the control character itself.
            None => (self.sink)(Output::Stdout(format!("{}{record}\n", source::RECORD))),
        }
    }

    fn stderr(&mut self, line: String) {
        if self.stderr.len() == REMEMBERED {
            self.stderr.pop_front();
        }
        self.stderr.push_back(line.clone());
        let held_back = self.panic.first().is_some_and(|first| super::panic::begins(first));
        if super::panic::begins(&line) {
            match held_back {
                // Only the last one can have ended the cell.
                true => self.flush_panic(),
                false => self.panic.clear(),
            }
            self.panic.push(line);
        } else if held_back {
            self.panic.push(line);
        } else {
            self.flush_panic();
            match line.is_empty() {
                true => self.panic.push(line),
                false => (self.sink)(Output::Stderr(format!("{line}\n"))),
            }
        }
    }

    fn flush_panic(&mut self) {
        for line in mem::take(&mut self.panic) {
            (self.sink)(Output::Stderr(format!("{line}\n")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_display_is_read_and_other_text_is_left_alone() {
        let json = r#"{"data": {"text/html": "<b>1</b>"}, "id": "a", "update": false}"#;
        let read = display(&format!("display {}", STANDARD.encode(json))).expect("a record");
        assert_eq!(read.data["text/html"], "<b>1</b>");
        assert_eq!((read.id.as_deref(), read.update), (Some("a"), false));
        assert_eq!(display("display nonsense"), None);
        assert_eq!(display("something else"), None);
    }
}
