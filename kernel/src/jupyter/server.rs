//! The sockets. Requests for the engine are handed to its thread; the others are answered here, at once.

use super::{
    completeness,
    connection::ConnectionFile,
    executor::{Channels, Executor},
    history::History,
    message::{Message, Signer},
    publisher::Publisher,
    replies,
};
use crate::engine::Interrupt;
use anyhow::{Context, Result};
use serde_json::json;
use std::{
    path::Path,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use zeromq::{PubSocket, RepSocket, RouterRecvHalf, RouterSocket, SocketRecv, SocketSend};

/// How long the last messages may take to leave before the process ends.
const FAREWELL: Duration = Duration::from_millis(100);

/// Serves the clients that `connection_file` describes until one shuts the kernel down. evcxr starts beside, with
/// `first_cell`; where that is an error, each cell gets it.
///
/// # Errors
/// A connection file that cannot be used, an address that is not free.
pub fn serve(connection_file: &Path, first_cell: Result<String, String>, interrupt: Interrupt) -> Result<()> {
    let connection = ConnectionFile::read(connection_file)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the threads of the sockets")?;
    runtime.block_on(run(&connection, first_cell, interrupt))
}

async fn run(connection: &ConnectionFile, first_cell: Result<String, String>, interrupt: Interrupt) -> Result<()> {
    let signer = Signer::new(&connection.key);
    let mut heartbeat: RepSocket = connection.bind(connection.hb_port).await?;
    let iopub: PubSocket = connection.bind(connection.iopub_port).await?;
    let (shell_outbox, mut shell) = router(connection, connection.shell_port, &signer).await?;
    let (control_outbox, mut control) = router(connection, connection.control_port, &signer).await?;
    let (stdin_outbox, mut stdin) = router(connection, connection.stdin_port, &signer).await?;
    let (iopub_outbox, messages) = unbounded_channel();
    tokio::spawn(send_all("iopub", iopub, signer.clone(), messages));
    tokio::spawn(async move {
        while let Ok(message) = heartbeat.recv().await {
            if let Err(error) = heartbeat.send(message).await {
                eprintln!("heartbeat: {error}");
            }
        }
    });

    let publisher = Publisher::new(iopub_outbox);
    publisher.starting();
    let (answers, from_user) = mpsc::channel();
    tokio::spawn(async move {
        while let Some(message) = stdin.receive().await {
            // The engine's thread, which asks, lives as long as the kernel.
            let _ = answers.send(message.text("value").to_owned());
        }
    });
    let history = Arc::<Mutex<History>>::default();
    let executor = Executor::start(
        first_cell,
        interrupt.clone(),
        Channels {
            shell: shell_outbox.clone(),
            stdin: stdin_outbox,
            answers: from_user,
            publisher: publisher.clone(),
            history: Arc::clone(&history),
        },
    );
    let requests = Requests { interrupt: interrupt.clone(), publisher, history, executor };
    loop {
        let end = tokio::select! {
            Some(request) = control.receive() => requests.answer(&request, &control_outbox),
            Some(request) = shell.receive() => requests.answer(&request, &shell_outbox),
            else => true,
        };
        if end {
            interrupt.kill();
            tokio::time::sleep(FAREWELL).await;
            return Ok(());
        }
    }
}

/// The receiving half of a socket, with its signatures checked.
struct Inbox {
    name: u16,
    socket: RouterRecvHalf,
    signer: Signer,
}

impl Inbox {
    /// The next message. One that is damaged or has a wrong signature is reported on standard error and dropped.
    async fn receive(&mut self) -> Option<Message> {
        loop {
            let message = self.socket.recv().await.ok()?;
            match self.signer.decode(message) {
                Ok(message) => return Some(message),
                Err(error) => eprintln!("port {}: a message was dropped: {error:#}", self.name),
            }
        }
    }
}

/// Binds a socket for requests; its answers are sent from a task of their own.
async fn router(connection: &ConnectionFile, port: u16, signer: &Signer) -> Result<(UnboundedSender<Message>, Inbox)> {
    let socket: RouterSocket = connection.bind(port).await?;
    let (sender, receiver) = socket.split();
    let (outbox, messages) = unbounded_channel();
    tokio::spawn(send_all("reply", sender, signer.clone(), messages));
    Ok((outbox, Inbox { name: port, socket: receiver, signer: signer.clone() }))
}

async fn send_all(
    name: &'static str,
    mut socket: impl SocketSend,
    signer: Signer,
    mut messages: UnboundedReceiver<Message>,
) {
    while let Some(message) = messages.recv().await {
        // A client that has gone does not end the kernel.
        if let Err(error) = socket.send(signer.encode(&message)).await {
            eprintln!("{name}: {} was not sent: {error}", message.kind());
        }
    }
}

struct Requests {
    interrupt: Interrupt,
    publisher: Publisher,
    history: Arc<Mutex<History>>,
    executor: Executor,
}

impl Requests {
    /// Answers a request, or hands it on; true if the kernel has to end.
    fn answer(&self, request: &Message, outbox: &UnboundedSender<Message>) -> bool {
        let mut end = false;
        let content = match request.kind() {
            "execute_request" | "complete_request" | "inspect_request" => {
                self.executor.hand_over(request.clone());
                return false;
            }
            "kernel_info_request" => replies::kernel_info(),
            "is_complete_request" => completeness::reply(request.text("code")),
            "history_request" => self.history.lock().expect("no thread panics with the lock").reply(request),
            "comm_info_request" => json!({"status": "ok", "comms": {}}),
            "interrupt_request" => {
                self.interrupt.request();
                json!({"status": "ok"})
            }
            "shutdown_request" => {
                end = true;
                json!({"status": "ok", "restart": request.flag("restart", false)})
            }
            // There is nothing here that a client could open.
            "comm_open" => {
                let close = request.child("comm_close", json!({"comm_id": request.text("comm_id"), "data": {}}));
                self.publisher.while_busy(request, || self.publisher.send(close));
                return false;
            }
            "comm_msg" | "comm_close" => return false,
            other => {
                eprintln!("a message of the unknown kind {other:?} was dropped");
                return false;
            }
        };
        self.publisher.while_busy(request, || {
            // It fails only once the kernel shuts down.
            let _ = outbox.send(request.reply(content.clone()));
            if end {
                self.publisher.send(request.child("shutdown_reply", content));
            }
        });
        end
    }
}
