//! The thread of the engine: it starts evcxr, then runs cells, completes and inspects, one request after the other.

use super::{history::History, message::Message, publisher::Publisher, replies, text};
use crate::engine::{CellError, Engine, Interrupt, Kind};
use anyhow::anyhow;
use serde_json::{Value, json};
use std::{
    panic,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};
use tokio::sync::mpsc::UnboundedSender;

/// How often a cell that waits for the user's answer looks whether it was interrupted.
const INPUT_CHECK: Duration = Duration::from_millis(100);

/// What the first cell shows while it waits.
const STARTING: &str = "The kernel is starting: it reads the library, and compiles it if it has changed.\n";

/// Hands requests to the engine's thread.
pub struct Executor {
    jobs: mpsc::Sender<Message>,
    /// Requests handed over so far.
    handed: Arc<AtomicUsize>,
    start: Arc<Start>,
    publisher: Publisher,
}

/// How far evcxr's start is.
#[derive(Default)]
struct Start {
    done: AtomicBool,
    /// A cell that waits for it says so.
    announced: AtomicBool,
}

/// Where the engine's thread sends what it has to say, and what it shares with the sockets.
pub struct Channels {
    pub shell: UnboundedSender<Message>,
    pub stdin: UnboundedSender<Message>,
    /// What the user answers to a question of a cell.
    pub answers: mpsc::Receiver<String>,
    pub publisher: Publisher,
    pub history: Arc<Mutex<History>>,
}

impl Executor {
    /// Starts the thread, and evcxr in it.
    pub fn start(first_cell: Result<String, String>, interrupt: Interrupt, channels: Channels) -> Self {
        let (jobs, requests) = mpsc::channel();
        let handed = Arc::new(AtomicUsize::new(0));
        let start = Arc::<Start>::default();
        let publisher = channels.publisher.clone();
        let worker = Worker {
            first_cell,
            interrupt,
            channels,
            handed: Arc::clone(&handed),
            starting: Arc::clone(&start),
            engine: None,
            count: 0,
            aborted: 0,
        };
        thread::spawn(move || worker.work(&requests));
        Self { jobs, handed, start, publisher }
    }

    pub fn hand_over(&self, request: Message) {
        self.handed.fetch_add(1, Ordering::SeqCst);
        let waits = request.kind() == "execute_request" && !request.flag("silent", false);
        if waits && !self.start.done.load(Ordering::SeqCst) && !self.start.announced.swap(true, Ordering::SeqCst) {
            self.publisher.send(request.child("stream", json!({"name": "stderr", "text": STARTING})));
        }
        self.jobs.send(request).expect("the engine's thread lives as long as the kernel");
    }
}

struct Worker {
    /// Or why there is nowhere to compile cells.
    first_cell: Result<String, String>,
    interrupt: Interrupt,
    channels: Channels,
    handed: Arc<AtomicUsize>,
    starting: Arc<Start>,
    engine: Option<Engine>,
    /// Number of the last cell.
    count: usize,
    /// Cells up to this request are not run, because one before them failed.
    aborted: usize,
}

impl Worker {
    fn work(mut self, requests: &mpsc::Receiver<Message>) {
        if let Err(error) = self.start() {
            eprintln!("{}: {}", error.name, error.traceback.join("\n"));
        }
        self.starting.done.store(true, Ordering::SeqCst);
        for (number, request) in (1..).zip(requests) {
            let publisher = self.channels.publisher.clone();
            publisher.while_running(&request, || {
                // A panic of evcxr or rust-analyzer must not end the thread, and with it the kernel.
                let work = panic::AssertUnwindSafe(|| match request.kind() {
                    "execute_request" if number <= self.aborted => replies::aborted(self.count),
                    "execute_request" => self.execute(&request),
                    "complete_request" => self.complete(&request),
                    _ => self.inspect(&request),
                });
                let reply = panic::catch_unwind(work).unwrap_or_else(|_| self.fault(&request));
                // It fails only once the kernel shuts down.
                let _ = self.channels.shell.send(request.reply(reply));
            });
        }
    }

    /// Starts evcxr, if it is not there: it is tried again for each cell, as the user may have mended the library.
    fn start(&mut self) -> Result<(), CellError> {
        if self.engine.is_some() {
            return Ok(());
        }
        let publisher = self.channels.publisher.clone();
        let sink = Box::new(move |output| publisher.output(output));
        let started = match &self.first_cell {
            Ok(first_cell) => Engine::start(first_cell.clone(), self.interrupt.clone(), sink),
            Err(reason) => Err(anyhow!(reason.clone())),
        };
        let engine = started.map_err(|error| {
            let value = format!("{error:#}");
            let details = value.lines().skip(1).map(str::to_owned).collect();
            CellError::new(Kind::Refused, "StartFailed", &value, details)
        })?;
        self.engine = Some(engine);
        Ok(())
    }

    fn execute(&mut self, request: &Message) -> Value {
        let cell = request.text("code");
        let silent = request.flag("silent", false);
        if request.flag("store_history", !silent) && !silent {
            self.count += 1;
            self.channels.history.lock().expect("no thread panics with the lock").add(self.count, cell);
        }
        let publisher = self.channels.publisher.clone();
        publisher.output_belongs_to((!silent).then_some(request));
        if !silent {
            if self.starting.announced.swap(false, Ordering::SeqCst) {
                publisher.send(request.child("clear_output", json!({"wait": false})));
            }
            publisher.send(request.child("execute_input", json!({"code": cell, "execution_count": self.count})));
        }
        let result = self.start().and_then(|()| {
            let engine = self.engine.as_mut().expect("it was started");
            engine.run(cell, &|prompt, secret| ask(request, &self.channels, &self.interrupt, prompt, secret))
        });
        match result {
            Ok(shown) => {
                if !silent && !shown.is_empty() {
                    publisher.result(request, self.count, shown);
                }
                replies::executed(self.count)
            }
            Err(error) => {
                if !silent {
                    publisher.send(request.child("error", replies::error(&error)));
                }
                if request.flag("stop_on_error", true) {
                    self.aborted = self.handed.load(Ordering::SeqCst);
                }
                replies::failed(&error, self.count)
            }
        }
    }

    /// The reply to a request at which evcxr panicked. What a cell has left of it cannot be trusted.
    fn fault(&mut self, request: &Message) -> Value {
        let value = "evcxr panicked at this request; the report is in the log of Jupyter";
        let lost = "all variables, functions and imports are lost; evcxr is started again for the next cell";
        let is_cell = request.kind() == "execute_request";
        let details = if is_cell { vec![lost.to_owned()] } else { Vec::new() };
        let error = CellError::new(Kind::Terminated, "KernelFault", value, details);
        if is_cell {
            self.engine = None;
            self.aborted = self.handed.load(Ordering::SeqCst);
            self.channels.publisher.send(request.child("error", replies::error(&error)));
        }
        replies::failed(&error, self.count)
    }

    fn complete(&mut self, request: &Message) -> Value {
        let cell = request.text("code");
        let position = text::to_bytes(cell, request.number("cursor_pos"));
        let completions = self.engine.as_mut().and_then(|engine| engine.complete(cell, position).ok());
        let (start, end) = completions.as_ref().map_or((position, position), |c| (c.start_offset, c.end_offset));
        let (start, end) = (text::to_characters(cell, start), text::to_characters(cell, end));
        let found = completions.map(|completions| completions.completions).unwrap_or_default();
        let matches: Vec<&str> = found.iter().map(|completion| completion.code.as_str()).collect();
        let types: Vec<Value> = found
            .iter()
            .map(|found| json!({"text": found.code, "type": found.kind, "signature": found.label, "start": start, "end": end}))
            .collect();
        json!({
            "status": "ok",
            "matches": matches,
            "cursor_start": start,
            "cursor_end": end,
            "metadata": {"_jupyter_types_experimental": types},
        })
    }

    fn inspect(&mut self, request: &Message) -> Value {
        let cell = request.text("code");
        let position = text::end_of_name(cell, text::to_bytes(cell, request.number("cursor_pos")));
        replies::inspected(self.engine.as_mut().and_then(|engine| engine.inspect(cell, position)))
    }
}

/// Asks the user on behalf of a cell. The answer is empty if the client cannot ask, or the cell is interrupted.
fn ask(request: &Message, channels: &Channels, interrupt: &Interrupt, prompt: &str, secret: bool) -> String {
    if !request.flag("allow_stdin", false) {
        return String::new();
    }
    // An answer to an earlier question that came too late.
    while channels.answers.try_recv().is_ok() {}
    let question = request.to_sender("input_request", json!({"prompt": prompt, "password": secret}));
    // It fails only once the kernel shuts down.
    let _ = channels.stdin.send(question);
    loop {
        match channels.answers.recv_timeout(INPUT_CHECK) {
            Ok(answer) => return answer,
            Err(mpsc::RecvTimeoutError::Timeout) if !interrupt.is_requested() => {}
            Err(_) => return String::new(),
        }
    }
}
