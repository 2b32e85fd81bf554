//! How a test of a notebook ended, in a form that goes from one process to another.

use serde_json::{Value, json};
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
    pub seconds: f64,
    /// What follows `ok` or `ignored`.
    pub summary: String,
    /// Why it failed.
    pub why: Vec<String>,
    /// Time of each cell, with its place and first words.
    pub cells: Vec<(f64, String)>,
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
        Self { name: name.to_owned(), end, seconds: 0.0, summary, why, cells: Vec::new() }
    }

    pub fn after(mut self, time: Duration) -> Self {
        self.seconds = time.as_secs_f64();
        self
    }

    pub fn to_json(&self) -> Value {
        let end = match self.end {
            End::Passed => "passed",
            End::Failed => "failed",
            End::Ignored => "ignored",
        };
        json!({
            "name": self.name,
            "end": end,
            "seconds": self.seconds,
            "summary": self.summary,
            "why": self.why,
            "cells": self.cells,
        })
    }

    pub fn from_json(json: &Value) -> Option<Self> {
        let end = match json["end"].as_str()? {
            "passed" => End::Passed,
            "failed" => End::Failed,
            "ignored" => End::Ignored,
            _ => return None,
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Some(Self {
            name: text(&json["name"])?,
            end,
            seconds: json["seconds"].as_f64()?,
            summary: text(&json["summary"])?,
            why: json["why"].as_array()?.iter().filter_map(text).collect(),
            cells: json["cells"]
                .as_array()?
                .iter()
                .filter_map(|cell| Some((cell[0].as_f64()?, text(&cell[1])?)))
                .collect(),
        })
    }
}
