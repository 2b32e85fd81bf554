//! Contents of replies.

use crate::engine::CellError;
use serde_json::{Value, json};

pub fn kernel_info() -> Value {
    let version = env!("CARGO_PKG_VERSION");
    json!({
        "status": "ok",
        "protocol_version": "5.4",
        "implementation": "genailab-kernel",
        "implementation_version": version,
        "language_info": {
            "name": "rust",
            "version": "",
            "mimetype": "text/rust",
            "file_extension": ".rs",
            "pygments_lexer": "rust",
            "codemirror_mode": "rust",
        },
        "banner": format!("genailab {version}: Rust in a notebook, on evcxr 0.22"),
        "debugger": false,
        "help_links": [
            {"text": "The Rust standard library", "url": "https://doc.rust-lang.org/stable/std/"},
            {"text": "evcxr's commands", "url": "https://github.com/evcxr/evcxr/blob/main/COMMON.md"},
        ],
    })
}

pub fn executed(count: usize) -> Value {
    json!({"status": "ok", "execution_count": count, "user_expressions": {}, "payload": []})
}

pub fn aborted(count: usize) -> Value {
    json!({"status": "aborted", "execution_count": count})
}

/// The content of the message `error`, which all clients see.
pub fn error(error: &CellError) -> Value {
    json!({"ename": error.name, "evalue": error.value, "traceback": error.traceback})
}

/// The content of the reply to a cell that failed.
pub fn failed(error: &CellError, count: usize) -> Value {
    json!({
        "status": "error",
        "execution_count": count,
        "ename": error.name,
        "evalue": error.value,
        "traceback": error.traceback,
        "user_expressions": {},
        "payload": [],
    })
}

/// Signature and documentation, as plain text and as HTML.
pub fn inspected(found: Option<(String, String)>) -> Value {
    match found {
        Some((text, html)) => json!({
            "status": "ok", "found": true, "data": {"text/plain": text, "text/html": html}, "metadata": {},
        }),
        None => json!({"status": "ok", "found": false, "data": {}, "metadata": {}}),
    }
}
