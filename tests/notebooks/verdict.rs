//! How a test of a notebook ended.

use std::time::Duration;

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Passed,
    Failed,
    /// Something that it needs is missing.
    Ignored,
}

/// What is known of a test when it has ended.
#[derive(Debug)]
pub struct Verdict {
    pub name: String,
    pub end: End,
    pub time: Duration,
    /// What follows `ok` or `ignored`.
    pub summary: String,
    /// Why it failed.
    pub why: Vec<String>,
    /// Time of each cell, with its number and first words.
    pub cells: Vec<(Duration, String)>,
}

impl Verdict {
    pub fn passed(name: &str, summary: String) -> Self {
        Self::new(name, End::Passed, summary, Vec::new())
    }

    pub fn failed(name: &str, why: Vec<String>) -> Self {
        Self::new(name, End::Failed, String::new(), why)
    }

    pub fn ignored(name: &str, summary: String) -> Self {
        Self::new(name, End::Ignored, summary, Vec::new())
    }

    fn new(name: &str, end: End, summary: String, why: Vec<String>) -> Self {
        Self { name: name.to_owned(), end, time: Duration::ZERO, summary, why, cells: Vec::new() }
    }

    pub fn after(self, time: Duration) -> Self {
        Self { time, ..self }
    }
}
