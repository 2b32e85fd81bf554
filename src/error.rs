//! The one error of the library: what was found, where, and what to do.

use std::{fmt, path::Path};

/// `Result` with this library's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. The message alone is meant to be enough for a user: what was found, where, what to do.
#[derive(Debug)]
pub struct Error(Box<Repr>);

#[derive(Debug)]
struct Repr {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The kind of an [`Error`], for code that reacts to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file or folder could not be read or written.
    Io,
    /// The content of a file is not what it must be.
    Data,
    /// A setting, a name or an argument does not fit.
    Config,
    /// Two arrays do not fit together.
    Shape,
    /// The device is not there, or failed.
    Device,
    /// The device has no memory left for what was asked.
    OutOfMemory,
    /// A loss or a weight stopped being a finite number.
    Numeric,
    /// The user asked to stop (Ctrl-C).
    Interrupted,
    /// A download failed.
    Network,
    /// What was asked does not apply to this data; the message is the reason.
    Inapplicable,
}

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Repr { kind, message: message.into(), source: None }))
    }

    /// The content of a file or table is not what it must be.
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Data, message)
    }

    /// A setting, a name or an argument does not fit.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// What was asked does not apply here, and why; a benchmark lists it as absent and goes on.
    pub fn inapplicable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Inapplicable, message)
    }

    /// `operation` was given arrays whose shapes do not fit together.
    pub fn shape(operation: &str, left: impl fmt::Debug, right: impl fmt::Debug) -> Self {
        Self::new(ErrorKind::Shape, format!("{operation}: the shapes {left:?} and {right:?} do not fit together"))
    }

    /// `doing` (a verb phrase: "read", "create") failed on `path`.
    pub fn io(doing: &str, path: impl AsRef<Path>, source: std::io::Error) -> Self {
        let message = format!("cannot {doing} {}: {source}", path.as_ref().display());
        Self(Box::new(Repr { kind: ErrorKind::Io, message, source: Some(Box::new(source)) }))
    }

    /// What a dfdx device reported, with the operation during which it did.
    pub fn device(operation: &str, source: impl fmt::Debug) -> Self {
        Self::new(ErrorKind::Device, format!("{operation}: the device reported {source:?}"))
    }

    /// Adds where it happened, in front: `in FILE: MESSAGE`.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.0.message = format!("{place}: {}", self.0.message);
        self
    }

    /// The kind of this error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|e| e as _)
    }
}
