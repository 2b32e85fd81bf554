//! What the library says to the kernel that runs a notebook.
//!
//! Every evcxr kernel shows one output per cell, the last one, printed between two marker lines. The course's own
//! kernel `genailab-kernel` also takes *records*, one line each, which it shows at once, and asks running work to stop
//! by making a file, whose name is in [`FILE`]. Without that variable everything falls back to evcxr's way.

use crate::{Error, ErrorKind, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;
use std::{
    env, fmt,
    path::{Path, PathBuf},
    process,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// The environment variable with which `genailab-kernel` names the file that asks running work to stop.
const FILE: &str = "GENAILAB_INTERRUPT";
/// Begins a record's line.
const RECORD: char = '\u{1e}';

/// The file that asks, if `genailab-kernel` runs this process.
fn file() -> Option<&'static Path> {
    static NAMED: OnceLock<Option<PathBuf>> = OnceLock::new();
    NAMED.get_or_init(|| env::var_os(FILE).map(PathBuf::from)).as_deref()
}

/// Whether outputs are shown while a cell runs.
pub(crate) fn is_live() -> bool {
    file().is_some()
}

/// Whether the notebook's user has asked the running cell to stop. It costs a look at the file system.
pub(crate) fn is_interrupted() -> bool {
    file().is_some_and(Path::exists)
}

/// Ends work, named by `what`, that the notebook's user has asked to stop.
///
/// # Errors
/// [`ErrorKind::Interrupted`] if so.
pub(crate) fn check_interrupt(what: &str) -> Result<()> {
    match is_interrupted() {
        false => Ok(()),
        true => Err(Error::new(ErrorKind::Interrupted, format!("{what} was interrupted"))),
    }
}

/// Hands an evcxr kernel both forms of a cell's output.
pub(crate) fn show_at_end(html: &str, text: &str) {
    // One print each: lines of another thread must not fall between the markers.
    println!("EVCXR_BEGIN_CONTENT text/html\n{html}\nEVCXR_END_CONTENT");
    println!("EVCXR_BEGIN_CONTENT text/plain\n{text}\nEVCXR_END_CONTENT");
}

/// Shows an output now, below what the cell has shown so far. Another kernel than `genailab-kernel` gets `text` as
/// printed lines now, and the last output of the cell at its end.
pub(crate) fn show_now(html: &str, text: &str) {
    if is_live() {
        println!("{}", record(html, text, None, false));
    } else {
        println!("{text}");
        show_at_end(html, text);
    }
}

/// An output that is replaced in place.
pub(crate) struct Live {
    id: String,
    shown: bool,
}

impl Live {
    /// Nothing is shown yet. `None` where outputs cannot be replaced.
    pub(crate) fn new() -> Option<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        is_live().then(|| Self { id: format!("genailab-{}-{number}", process::id()), shown: false })
    }

    /// Shows the output, in the place of what was shown before.
    pub(crate) fn show(&mut self, html: &str, text: &str) {
        println!("{}", record(html, text, Some(&self.id), self.shown));
        self.shown = true;
    }
}

/// The line of an output: `display` and, in base64, its JSON.
fn record(html: &str, text: &str, id: Option<&str>, update: bool) -> impl fmt::Display {
    let json = json!({"data": {"text/html": html, "text/plain": text}, "id": id, "update": update});
    format!("{RECORD}display {}", STANDARD.encode(json.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_that_the_kernel_can_read() {
        let line = record("<p>\n</p>", "text", Some("a"), true).to_string();
        assert!(!line.contains('\n'));
        let encoded = line.strip_prefix("\u{1e}display ").expect("a record");
        let json: serde_json::Value = serde_json::from_slice(&STANDARD.decode(encoded).expect("base64")).expect("JSON");
        assert_eq!(json["data"]["text/html"], "<p>\n</p>");
        assert_eq!((json["id"].as_str(), json["update"].as_bool()), (Some("a"), Some(true)));
    }
}
