//! Runs cells: evcxr, with what its own kernel lacks. A panic and a `?` that ended a cell are errors, a panic keeps the
//! variables of earlier cells, an error says where it is in the cell, a cell can be interrupted.

mod child;
mod error;
mod interrupt;
mod output;
mod panic;
mod source;
mod start;
mod termination;

pub use child::{end_with_parent, remember_backtrace, start_process};
pub use error::{CellError, Kind, MAX_LINES};
pub use interrupt::{GRACE, Interrupt, VARIABLE};
pub use output::{Display, Output, Sink, by_mime_type};
pub use source::is_users;

use anyhow::{Context, Result};
use evcxr::{CommandContext, Completions, Error, EvalCallbacks};
use interrupt::Stop;
use output::Collector;
use panic::{Panic, find_place};
use source::{Source, WITNESS};
use std::collections::BTreeMap;

/// What a cell showed as its last expression: content by MIME type.
pub type Shown = BTreeMap<String, String>;

/// Answers a cell that asks the user: the prompt, and whether the answer is a secret.
pub type Ask<'a> = &'a dyn Fn(&str, bool) -> String;

/// A running evcxr.
pub struct Engine {
    context: CommandContext,
    output: Collector,
    interrupt: Interrupt,
    first_cell: String,
}

impl Engine {
    /// Compiles the dependencies that `first_cell` (of [`Cells`](crate::cells::Cells)) names, unless they are compiled,
    /// and lets rust-analyzer read them, which takes seconds. What cells print goes to `sink`, from another thread.
    ///
    /// # Errors
    /// No Rust toolchain, dependencies that do not compile.
    pub fn start(first_cell: String, interrupt: Interrupt, sink: Sink) -> Result<Self> {
        let (context, outputs) = CommandContext::new().map_err(|error| start::explain(&error.to_string()))?;
        interrupt.watch(context.process_handle());
        let output = Collector::start(outputs, interrupt.clone(), sink);
        let mut engine = Self { context, output, interrupt, first_cell };
        engine.load("")?;
        Ok(engine)
    }

    /// Forgets everything that cells have defined, as a new kernel would, and starts a new process for them.
    ///
    /// # Errors
    /// Dependencies that do not compile.
    pub fn clear(&mut self) -> Result<()> {
        self.load(":clear\n")
    }

    /// One cell for everything, because each one that changes the dependencies makes rust-analyzer read them again.
    fn load(&mut self, command: &str) -> Result<()> {
        // A panic loses nothing but what its cell defines. It is an error all the same: see `source`.
        let keep = ":preserve_vars_on_panic 1\n";
        // The witness is the first variable, which makes rust-analyzer infer types: the user's first cell finds it done.
        let cell = Source::new(&format!("{command}{keep}{}();", self.first_cell), self.interrupt.file());
        self.context.execute(&cell.code).context("the dependencies of evcxr.toml do not compile")?;
        Ok(())
    }

    /// Runs a cell.
    ///
    /// # Errors
    /// How it failed.
    pub fn run(&mut self, cell: &str, ask: Ask) -> Result<Shown, CellError> {
        let source = Source::new(cell, self.interrupt.file());
        let before = self.variables();
        self.output.begin();
        self.interrupt.begin();
        let mut callbacks = EvalCallbacks { input_reader: &|request| ask(&request.prompt, request.is_password) };
        let result = self.context.execute_with_callbacks(&source.code, &mut callbacks);
        let stop = self.interrupt.end();
        let ended_early = source.has_witness() && !self.context.variables_and_types().any(|(name, _)| name == WITNESS);
        let failed = result.is_err() || ended_early;
        self.output.settle(failed);
        // A panic that was caught is text like any other.
        let panic = if failed { Panic::parse(&self.output.take_panic()) } else { None };
        self.output.flush_panic();
        match (result, stop) {
            (Err(Error::SubprocessTerminated(report)), _) => Err(self.terminated(&report, stop, panic, cell, &before)),
            (_, Some(_)) => Err(interrupted(panic, failed)),
            (Err(Error::CompilationErrors(errors)), _) => {
                Err(CellError::of_compiler(&errors, cell, |line| source.line_of_cell(line)))
            }
            (Err(error), _) => Err(refused(&error.to_string())),
            (Ok(_), _) if ended_early => Err(match panic {
                Some(panic) => self.panicked(&panic, cell, "variables of earlier cells are kept"),
                None => returned(&self.output.stderr(), cell),
            }),
            (Ok(outputs), _) => Ok(without_unit(outputs.content_by_mime_type.into_iter().collect())),
        }
    }

    /// The user's variables, as pairs of name and type.
    pub fn variables(&self) -> Vec<(String, String)> {
        let variables = self.context.variables_and_types().filter(|(name, _)| is_users(name));
        let mut variables: Vec<_> = variables.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect();
        variables.sort();
        variables
    }

    /// What could stand at byte `position` of `cell`.
    ///
    /// # Errors
    /// rust-analyzer has no answer.
    pub fn complete(&mut self, cell: &str, position: usize) -> Result<Completions> {
        let mut completions = self.context.completions(cell, position)?;
        completions.completions.retain(|completion| is_users(&completion.code));
        Ok(completions)
    }

    /// Signature and documentation of what stands before byte `position` of `cell`, as plain text and as HTML.
    pub fn inspect(&mut self, cell: &str, position: usize) -> Option<(String, String)> {
        let (text, html) = self.context.hover_at(cell, position).ok()?;
        (text != "No documentation found").then_some((text, html))
    }

    fn panicked(&self, panic: &Panic, cell: &str, kept: &str) -> CellError {
        let mut message = panic.message.iter();
        let value = message.next().map_or("no message", String::as_str);
        let place = panic.place_in_cell().and_then(|place| {
            let compiled = self.context.last_source().ok()?;
            find_place(&compiled, place, cell)
        });
        let mut details: Vec<String> = message.cloned().collect();
        match place {
            Some(place) => details.extend(error::point(cell, place, 1, "", true)),
            // A function of an earlier cell: its line number means nothing to the user.
            None if panic.place_in_cell().is_some() => details.push(" --> in a function of an earlier cell".to_owned()),
            None => details.push(format!(" --> {}", panic.place)),
        }
        details.push(kept.to_owned());
        let mut error = CellError::new(Kind::Panic, "Panic", value, details);
        // Whoever asked for it wants all of it.
        error.traceback.extend(panic.backtrace.iter().cloned());
        error
    }

    fn terminated(
        &self,
        report: &str,
        stop: Option<Stop>,
        panic: Option<Panic>,
        cell: &str,
        before: &[(String, String)],
    ) -> CellError {
        let lost = termination::lost(before);
        match (stop, panic) {
            (Some(Stop::Killed), _) => CellError::new(
                Kind::Interrupted,
                "Interrupted",
                "the cell did not end when it was asked to, so its process was killed",
                lost,
            ),
            // `:preserve_vars_on_panic 0`, or a panic that cannot unwind.
            (_, Some(panic)) => self.panicked(&panic, cell, &lost.join("; ")),
            _ => CellError::new(
                Kind::Terminated,
                "Terminated",
                &termination::reason(report, &self.output.stderr()),
                lost,
            ),
        }
    }
}

/// Nothing where a cell shows only `()`: it ends with a loop, or with `println!` and no semicolon.
fn without_unit(shown: Shown) -> Shown {
    let is_unit = shown.len() == 1 && shown.get("text/plain").is_some_and(|text| text.trim() == "()");
    if is_unit { Shown::new() } else { shown }
}

fn interrupted(panic: Option<Panic>, ended_early: bool) -> CellError {
    let mut details: Vec<String> = panic.map(|panic| panic.message).unwrap_or_default();
    details.push(match ended_early {
        true => "variables of earlier cells are kept".to_owned(),
        false => "the work in it ended early; all variables are kept, with what there was by then".to_owned(),
    });
    CellError::new(Kind::Interrupted, "Interrupted", "the cell was stopped", details)
}

/// evcxr prints the error of a `?` before it ends the cell.
fn returned(stderr: &[String], cell: &str) -> CellError {
    let said = stderr.iter().rev().find(|line| !line.trim().is_empty());
    let value = said.map_or("a `?` ended the cell early", String::as_str);
    let mut marks = cell.lines().zip(1..).filter_map(|(line, number)| {
        let before = line.split_once('?')?.0;
        Some(panic::Place { line: number, column: before.chars().count() + 1 })
    });
    let mut details = match (marks.next(), marks.next()) {
        (Some(place), None) => error::point(cell, place, 1, "this `?` ended the cell", true),
        _ => vec!["a `?` ended the cell before its last statement".to_owned()],
    };
    details.push("variables of earlier cells are kept".to_owned());
    CellError::new(Kind::Returned, "Returned", value, details)
}

fn refused(message: &str) -> CellError {
    let details = message.lines().skip(1).map(str::to_owned).collect();
    CellError::new(Kind::Refused, "Error", message, details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_a_loop_is_not_shown() {
        let shown = |mime: &str, text: &str| Shown::from([(mime.to_owned(), text.to_owned())]);
        assert_eq!(without_unit(shown("text/plain", "()")), Shown::new());
        for kept in [shown("text/plain", "\"()\""), shown("text/plain", "((), 1)"), shown("text/html", "()")] {
            assert_eq!(without_unit(kept.clone()), kept);
        }
    }
}
