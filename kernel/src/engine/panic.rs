//! The report of a panic, and the line of the cell that it means.

/// The file that evcxr writes a cell into, as rustc names it: relative to the workspace in the cells' folder.
const CELL_FILE: &str = "cells/src/lib.rs";

/// Whether a line on standard error begins the report of a panic:
/// `thread 'main' (4711) panicked at cells/src/lib.rs:12:5:`.
pub fn begins(line: &str) -> bool {
    line.starts_with("thread '") && line.contains(" panicked at ")
}

/// What a report says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panic {
    /// The message, of one or more lines.
    pub message: Vec<String>,
    /// Where it was raised: `cells/src/lib.rs:12:5`.
    pub place: String,
    /// The backtrace, if one was wished.
    pub backtrace: Vec<String>,
}

impl Panic {
    /// Reads the lines from the one that [`begins`] on. A note on how to get a backtrace is left out.
    pub fn parse(report: &[String]) -> Option<Self> {
        let (first, rest) = report.split_first()?;
        let (_, place) = first.split_once(" panicked at ")?;
        let place = place.trim_end_matches(':').to_owned();
        let end = rest
            .iter()
            .position(|line| line.starts_with("note: ") || line.starts_with("stack backtrace:"))
            .unwrap_or(rest.len());
        let mut message = rest[..end].to_vec();
        while message.last().is_some_and(|line| line.trim().is_empty()) {
            message.pop();
        }
        let backtrace = rest[end..].iter().filter(|line| !line.starts_with("note: ")).cloned().collect();
        Some(Self { message, place, backtrace })
    }

    /// Line and column in what was compiled, if the panic was raised in a cell and not in a library.
    pub fn place_in_cell(&self) -> Option<Place> {
        let mut parts = self.place.strip_prefix(CELL_FILE)?.split(':').skip(1);
        Some(Place { line: parts.next()?.parse().ok()?, column: parts.next()?.parse().ok()? })
    }
}

/// A place in a cell, both numbers from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// The place in `cell` that is `place` in `compiled`. evcxr copies a cell's lines in their order, with code of its own
/// around them, and does not say where they are. So the line is looked for by its text; among equal ones, by how many
/// precede it. `None` if the line belongs to an earlier cell.
pub fn find_place(compiled: &str, place: Place, cell: &str) -> Option<Place> {
    let index = place.line.checked_sub(1)?;
    let text = compiled.lines().nth(index)?;
    let equal = |other: &str| !other.trim().is_empty() && other.trim() == text.trim();
    let numbered = || (1..).zip(cell.lines());
    let candidates: Vec<_> = numbered().filter(|(_, line)| equal(line)).collect();
    let (line, found) = if candidates.is_empty() {
        // The last expression of a cell is wrapped into a call that shows it.
        let inside = numbered().filter(|(_, line)| !line.trim().is_empty() && text.contains(line.trim()));
        inside.max_by_key(|(_, line)| line.trim().len())?
    } else {
        let before = compiled.lines().take(index).filter(|line| equal(line)).count();
        let total = compiled.lines().filter(|line| equal(line)).count();
        // Items of earlier cells stand before the cell's own code.
        let rank = before.saturating_sub(total.saturating_sub(candidates.len()));
        candidates[rank.min(candidates.len() - 1)]
    };
    let starts = |text: &str, part: &str| text.find(part).map_or(0, |bytes| text[..bytes].chars().count());
    let trimmed = found.trim();
    let column = (place.column + starts(found, trimmed)).saturating_sub(starts(text, trimmed)).max(1);
    Some(Place { line, column })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_report_is_its_message_and_its_place() {
        let report = lines(
            "thread 'main' (7) panicked at cells/src/lib.rs:12:5:\nassertion `left == right` failed: sizes\n  left: 1\n right: 2\n\
             note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace",
        );
        assert!(begins(&report[0]));
        let panic = Panic::parse(&report).expect("a report");
        assert_eq!(panic.message.len(), 3);
        assert_eq!(panic.place_in_cell(), Some(Place { line: 12, column: 5 }));
        assert!(panic.backtrace.is_empty());
        let library = lines("thread 'main' panicked at /repo/src/data/read.rs:3:4:\nno cells");
        assert_eq!(Panic::parse(&library).expect("a report").place_in_cell(), None);
        assert!(!begins("thread pools are quick"));
    }

    #[test]
    fn the_line_is_found_among_equal_ones() {
        let cell = "let a = 1;\n  check(a);\nlet b = 2;\ncheck(a);\nb.unwrap()\n";
        let compiled =
            format!("fn check(x: i32) {{}}\nfn run() {{\n{}\n(b.unwrap()).evcxr_display();\n}}\n", &cell[..44]);
        let find = |line, column| find_place(&compiled, Place { line, column }, cell);
        assert_eq!(find(4, 3), Some(Place { line: 2, column: 3 }));
        assert_eq!(find(6, 1), Some(Place { line: 4, column: 1 }));
        assert_eq!(find(8, 4), Some(Place { line: 5, column: 3 }), "within its wrapping");
        assert_eq!(find(1, 1), None, "of an earlier cell");
        assert_eq!(find(99, 1), None);
    }
}
