//! What is worked out of the truth once and serves every model.

/// Results that depend on the observed side only. A benchmark measures many models against one truth; the first to ask
/// computes, the others wait and read.
///
/// A clone starts empty, because a clone of [`Observed`](super::Observed) may be changed.
#[derive(Debug, Default)]
pub struct Memo {}

impl Clone for Memo {
    fn clone(&self) -> Self {
        Self::default()
    }
}
