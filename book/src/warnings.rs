//! Makes errors of mdBook's warnings.
//!
//! mdBook goes on when a file to include is missing or an HTML tag is not closed, and only logs it. Here such a page is a
//! mistake.

use anyhow::{Result, bail};
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Runs `work`, and fails with everything that was logged as a warning or an error meanwhile.
pub fn refused<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let kept = Arc::new(Mutex::new(String::new()));
    let made = tracing::subscriber::with_default(Keep(Arc::clone(&kept)), work);
    let kept = kept.lock().expect("no thread panicked");
    match made {
        Ok(_) if !kept.is_empty() => bail!("mdBook warns:{kept}"),
        made => made,
    }
}

/// Keeps the messages of warnings and errors.
struct Keep(Arc<Mutex<String>>);

impl Subscriber for Keep {
    fn enabled(&self, of: &Metadata<'_>) -> bool {
        *of.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Message(&mut self.0.lock().expect("no thread panicked")));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Message<'a>(&'a mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            write!(self.0, "\n{value:?}").expect("a string takes all text");
        }
    }
}
