//! What is added to a cell before evcxr compiles it, and where the cell's lines are then.
//!
//! evcxr answers "ok" to a cell that panicked and to one that a `?` ended early. In both cases it drops the variables
//! that the cell defined, so each cell first defines one more, the *witness*: when it is gone afterwards, the cell did
//! not reach its end. The same line tells when compiling ends and running begins, and ends a cell that was interrupted
//! before that.

use std::path::Path;

/// The variable that tells whether a cell reached its end.
pub const WITNESS: &str = "genailab_reached_the_end";
/// Begins a line on the standard output that is a message to the kernel, not text.
pub const RECORD: char = '\u{1e}';
/// The message that the cell begins to run.
pub const RUNNING: &str = "run";

/// A cell, as evcxr gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What is compiled.
    pub code: String,
    /// The line of `code` (from 0) that is not the cell's. `None`: the cell holds no Rust code.
    witness: Option<usize>,
}

impl Source {
    /// Adds the witness to `cell`, after the commands for evcxr, which have to come first. While the file `interrupt`
    /// exists, the cell ends before its first statement.
    pub fn new(cell: &str, interrupt: &Path) -> Self {
        let Some(line) = cell.lines().position(is_code) else {
            return Self { code: cell.to_owned(), witness: None };
        };
        let witness = format!(
            "let {WITNESS}: bool = {{ println!(\"\\u{{1e}}{RUNNING}\"); \
             assert!(!std::path::Path::new({interrupt:?}).exists(), \"interrupted before the first statement\"); true }};"
        );
        let mut lines: Vec<&str> = cell.lines().collect();
        lines.insert(line, &witness);
        Self { code: lines.join("\n") + "\n", witness: Some(line) }
    }

    /// Whether the witness was added.
    pub fn has_witness(&self) -> bool {
        self.witness.is_some()
    }

    /// The cell's line (from 1) that is line `line` (from 1) of `code`.
    pub fn line_of_cell(&self, line: usize) -> usize {
        match self.witness {
            Some(witness) if line > witness + 1 => line - 1,
            _ => line,
        }
    }
}

/// Whether a line is the first of the Rust code: evcxr reads commands until then, and skips comments between them.
fn is_code(line: &str) -> bool {
    let line = line.trim_start();
    !(line.is_empty()
        || line.starts_with("//")
        || line.starts_with(':')
        || line.starts_with('!')
        || line.starts_with("#!["))
}

/// Whether `name` is a variable of the user's.
pub fn is_users(name: &str) -> bool {
    name != WITNESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_witness_follows_the_commands_and_its_line_is_counted_out() {
        let source = Source::new(":timing\n// first\nlet a = 1;\na", Path::new("/flag"));
        let lines: Vec<&str> = source.code.lines().collect();
        assert_eq!(lines[..2], [":timing", "// first"]);
        assert!(lines[2].starts_with("let genailab_reached_the_end: bool"), "{}", lines[2]);
        assert!(lines[2].contains("Path::new(\"/flag\")"), "{}", lines[2]);
        assert_eq!(lines[3..], ["let a = 1;", "a"]);
        assert_eq!([1, 2, 4, 5].map(|line| source.line_of_cell(line)), [1, 2, 3, 4]);
    }

    #[test]
    fn a_cell_without_code_is_left_alone() {
        for cell in ["", "\n", ":vars", "// nothing\n:dep serde", "!ls"] {
            let source = Source::new(cell, Path::new("/flag"));
            assert_eq!(source.code, cell);
            assert!(!source.has_witness());
        }
    }
}
