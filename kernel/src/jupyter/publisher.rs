//! What all clients see, on the iopub socket.

use super::message::Message;
use crate::engine::{Display, Output, Shown, by_mime_type};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::mpsc::UnboundedSender;

/// Publishes messages, from any thread, in the order of the calls.
#[derive(Clone)]
pub struct Publisher {
    outbox: UnboundedSender<Message>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The request that output belongs to: of the running cell, or of the last one. A silent one has none.
    cell: Option<Message>,
    /// The request that keeps the kernel busy.
    running: Option<Message>,
}

impl Publisher {
    pub fn new(outbox: UnboundedSender<Message>) -> Self {
        Self { outbox, state: Arc::default() }
    }

    pub fn send(&self, message: Message) {
        // It fails only once the kernel shuts down.
        let _ = self.outbox.send(message);
    }

    /// Tells that the kernel is there.
    pub fn starting(&self) {
        self.send(Message::new("status", json!({"execution_state": "starting"})));
    }

    /// Does `work` between the messages that the kernel is busy with `request` and that it is idle.
    pub fn while_busy<T>(&self, request: &Message, work: impl FnOnce() -> T) -> T {
        self.send(status(request, "busy"));
        let result = work();
        self.send(status(request, "idle"));
        // A request that was answered beside a running cell must not make the kernel look idle.
        if let Some(running) = &self.lock().running {
            self.send(status(running, "busy"));
        }
        result
    }

    /// As [`Publisher::while_busy`], for the one request at a time that the engine works on.
    pub fn while_running<T>(&self, request: &Message, work: impl FnOnce() -> T) -> T {
        self.while_busy(request, || {
            self.lock().running = Some(request.clone());
            let result = work();
            self.lock().running = None;
            result
        })
    }

    /// From now on, output belongs to this cell; to none if it is silent.
    pub fn output_belongs_to(&self, cell: Option<&Message>) {
        self.lock().cell = cell.cloned();
    }

    pub fn output(&self, output: Output) {
        let stream = |name, text| ("stream", json!({"name": name, "text": text}));
        let (kind, content) = match output {
            Output::Stdout(text) => stream("stdout", text),
            Output::Stderr(text) => stream("stderr", text),
            Output::Display(Display { data, id, update }) => {
                let kind = if update { "update_display_data" } else { "display_data" };
                let transient = id.map_or_else(|| json!({}), |id| json!({"display_id": id}));
                (kind, json!({"data": by_mime_type(&data, as_sent), "metadata": {}, "transient": transient}))
            }
        };
        if let Some(cell) = &self.lock().cell {
            self.send(cell.child(kind, content));
        }
    }

    pub fn result(&self, cell: &Message, count: usize, shown: Shown) {
        let content = json!({"execution_count": count, "data": by_mime_type(&shown, as_sent), "metadata": {}});
        self.send(cell.child("execute_result", content));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with the lock")
    }
}

fn status(request: &Message, state: &str) -> Message {
    request.child("status", json!({"execution_state": state}))
}

fn as_sent(text: &str) -> Value {
    json!(text)
}
