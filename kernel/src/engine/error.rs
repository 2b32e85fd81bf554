//! How a cell failed, in the form in which Jupyter shows it.

use super::panic::Place;
use evcxr::CompilationError;
use serde::{Deserialize, Serialize};

/// A traceback has no more lines than this.
pub const MAX_LINES: usize = 15;
/// Compile errors that are shown in full, if there is room.
const MAX_ERRORS: usize = 2;
const RED: &str = "\u{1b}[1;31m";
const PLAIN: &str = "\u{1b}[0m";

/// Why a cell did not reach its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// It does not compile.
    Compile,
    /// It panicked.
    Panic,
    /// A `?` outside a function ended it.
    Returned,
    /// The user has stopped it.
    Interrupted,
    /// Its process is gone.
    Terminated,
    /// evcxr refused it: a command failed, or a variable cannot be kept.
    Refused,
}

/// A failed cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellError {
    /// Why it failed.
    pub kind: Kind,
    /// The code of a compile error (`E0382`), else the kind in a word.
    pub name: String,
    /// What went wrong, in one line.
    pub value: String,
    /// The whole message: at most [`MAX_LINES`] lines, the first of which names error and value.
    pub traceback: Vec<String>,
}

impl CellError {
    /// An error with lines of detail below its first line. A value of several lines is cut after its first.
    pub fn new(kind: Kind, name: &str, value: &str, details: Vec<String>) -> Self {
        let value = value.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned();
        let mut traceback = vec![format!("{RED}{name}{PLAIN}: {value}")];
        traceback.extend(details);
        if traceback.len() > MAX_LINES {
            let left_out = traceback.len() - MAX_LINES + 1;
            traceback.truncate(MAX_LINES - 1);
            traceback.push(format!("… {left_out} more lines"));
        }
        Self { kind, name: name.to_owned(), value, traceback }
    }

    /// The errors of rustc in a cell, whose lines are numbered as `line_of_cell` says.
    pub fn of_compiler(errors: &[CompilationError], cell: &str, line_of_cell: impl Fn(usize) -> usize) -> Self {
        let Some(first) = errors.first() else {
            return Self::new(Kind::Compile, "CompileError", "the compiler gave no reason", Vec::new());
        };
        let mut details = Vec::new();
        for (index, error) in errors.iter().take(MAX_ERRORS).enumerate() {
            if index > 0 {
                details.push(format!("{}: {}", name_of(error), one_line(&error.message())));
            }
            details.extend(labels(error, cell, &line_of_cell));
            details.extend(error.help().iter().flat_map(|help| help_lines(help)));
        }
        if errors.len() > MAX_ERRORS {
            details.push(format!("… {} more errors", errors.len() - MAX_ERRORS));
        }
        Self::new(Kind::Compile, name_of(first), &one_line(&first.message()), details)
    }
}

fn name_of(error: &CompilationError) -> &str {
    error.code().unwrap_or("CompileError")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn help_lines(help: &str) -> Vec<String> {
    let mut lines = help.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().map(|line| format!("  = help: {line}"));
    first.into_iter().chain(lines.map(|line| format!("          {line}"))).collect()
}

/// The places that a compile error names: the primary one first, with its position.
fn labels(error: &CompilationError, cell: &str, line_of_cell: &impl Fn(usize) -> usize) -> Vec<String> {
    let mut messages: Vec<_> = error.spanned_messages().iter().collect();
    messages.sort_by_key(|message| !message.is_primary);
    let mut lines = Vec::new();
    for message in messages {
        let Some(span) = message.span else {
            lines.push(format!("  = {}", one_line(&message.label)));
            continue;
        };
        let place = Place { line: line_of_cell(span.start_line), column: span.start_column };
        let width =
            if span.end_line == span.start_line { span.end_column.saturating_sub(span.start_column) } else { 1 };
        lines.extend(point(cell, place, width, &message.label, lines.is_empty()));
    }
    lines
}

/// A line of the cell with a mark under the place, as rustc shows it.
///
/// ```text
///  --> line 4, column 12
/// 4 | println!("{data:?}");
///   |            ^^^^ value borrowed here after move
/// ```
pub fn point(cell: &str, place: Place, width: usize, label: &str, with_position: bool) -> Vec<String> {
    let Place { line, column } = place;
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    let source = cell.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    // A tab is as wide as the source shows it.
    let indent: String =
        source.chars().take(column.saturating_sub(1)).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let mut lines = Vec::new();
    if with_position {
        lines.push(format!("{margin}--> line {line}, column {column}"));
    }
    lines.push(format!("{number} | {source}"));
    lines.push(format!("{margin} | {indent}{} {}", "^".repeat(width.max(1)), one_line(label)).trim_end().to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_marked_under_its_line() {
        let lines = point("let a = 1;\n\tb.c();\n", Place { line: 2, column: 2 }, 3, "what\n  is it", true);
        assert_eq!(lines, [" --> line 2, column 2", "2 | \tb.c();", "  | \t^^^ what is it"]);
    }

    #[test]
    fn a_long_traceback_is_cut_and_a_value_is_one_line() {
        let details = (0..40).map(|n| n.to_string()).collect();
        let error = CellError::new(Kind::Panic, "Panic", "\nfirst\nsecond", details);
        assert_eq!(error.value, "first");
        assert_eq!(error.traceback.len(), MAX_LINES);
        assert!(error.traceback[0].contains("Panic") && error.traceback[0].ends_with(": first"));
        assert_eq!(error.traceback[MAX_LINES - 1], "… 27 more lines");
    }
}
