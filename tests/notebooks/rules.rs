//! What the course asks of a notebook before it is run, besides what the kernel's `lint` asks of every notebook.

use genailab_kernel::headless::{Notebook, headings, is_figure, lint};
use serde_json::Value;
use syn::visit::Visit;

/// Words that the first cell must hold, so that a reader knows what is ahead.
const OPENING_BLOCK: [&str; 3] = ["Objectives", "Prerequisites", "Time"];
/// Exercises that a notebook offers, each solved in `solutions/`.
const EXERCISES: usize = 3;
/// Lines of a code cell of a chapter: more than that is more than one step.
const CELL_LINES: usize = 40;
/// Lines that such a cell prints, tables and figures apart.
const PRINTED_LINES: usize = 15;

/// Which rules hold for a notebook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A chapter of the course.
    Course,
    /// The solved exercises of a chapter: needs neither a figure nor the opening block.
    Solution,
    /// Planted to test the runner: no rules, only what happens when it runs.
    Planted,
}

/// Everything that breaks a rule, one line each.
pub fn broken(notebook: &Notebook, role: Role, has_solution: bool) -> Vec<String> {
    if role == Role::Planted {
        return Vec::new();
    }
    let mut found = lint(notebook);
    if !notebook.code().any(|cell| cell.source().contains("assert")) {
        found.push("no cell asserts anything".to_owned());
    }
    if role == Role::Course && notebook.code().all(|cell| cell.outputs().is_empty()) {
        found.push("it stores no outputs, so nobody sees its figures without running it: make outputs".to_owned());
    }
    let counts = |cell: &Value| {
        let outputs = cell["outputs"].as_array().into_iter().flatten();
        outputs.chain([cell]).any(|part| part["execution_count"].is_number())
    };
    if notebook.code().any(|cell| counts(cell.json())) {
        found.push("it stores execution counts, which make diffs longer: make outputs".to_owned());
    }
    for cell in notebook.code() {
        let (source, number) = (cell.source(), cell.number);
        let mut figures = cell.outputs().iter().map(|output| &output["data"]).filter(|data| is_figure(data));
        if figures.any(|data| data["image/png"].is_null()) {
            found.push(format!(
                "cell {number} stores a figure as Jupyter does, which GitHub does not show: make outputs"
            ));
        }
        if source.lines().any(|line| line.starts_with(":dep") || line.starts_with("extern crate")) {
            found.push(format!("cell {number} adds a dependency: evcxr.toml names the only one"));
        }
        if has_top_level_question_mark(&source) {
            found.push(format!("cell {number} has a bare `?`, which ends the cell unnoticed: use .unwrap()"));
        }
    }
    if role == Role::Course {
        found.extend(notebook.code().flat_map(|cell| too_long(cell.number, &cell.source(), cell.outputs())));
        let opening = notebook.cells().find(|cell| cell.is_markdown()).map(|cell| cell.source()).unwrap_or_default();
        let missing = OPENING_BLOCK.iter().filter(|word| !opening.contains(**word));
        found.extend(missing.map(|word| format!("its first cell does not say '{word}'")));
        let text = notebook.cells().filter(|cell| cell.is_markdown()).map(|cell| cell.source());
        let exercises =
            text.flat_map(|text| headings(&text)).filter(|(_, words)| words.starts_with("Exercise ")).count();
        if exercises < EXERCISES {
            found.push(format!("it has {exercises} headings '### Exercise N', expected {EXERCISES}"));
        }
        if !has_solution {
            found.push("its exercises have no notebook of the same name in solutions/".to_owned());
        }
    }
    found
}

/// What is longer than a step of a chapter may be: the code of a cell, or what it prints.
fn too_long(number: usize, source: &str, outputs: &[Value]) -> Vec<String> {
    let printed: usize = outputs
        .iter()
        .filter_map(|output| output["text"].as_array())
        .map(|lines| lines.iter().filter_map(Value::as_str).collect::<String>().lines().count())
        .sum();
    let mut found = Vec::new();
    for (what, lines, most) in [("has", source.lines().count(), CELL_LINES), ("prints", printed, PRINTED_LINES)] {
        if lines > most {
            found.push(format!("cell {number} {what} {lines} lines, at most {most} are one step"));
        }
    }
    found
}

/// Whether a `?` of the cell itself, not of a function or closure in it, could end the cell early.
pub fn has_top_level_question_mark(source: &str) -> bool {
    let code: String = source.lines().filter(|line| !line.starts_with([':', '!'])).map(|l| format!("{l}\n")).collect();
    // A cell that does not parse fails to compile: nothing to find here.
    let Ok(block) = syn::parse_str::<syn::Block>(&format!("{{{code}}}")) else { return false };
    let mut finder = QuestionMark(false);
    finder.visit_block(&block);
    finder.0
}

struct QuestionMark(bool);

impl<'ast> Visit<'ast> for QuestionMark {
    fn visit_expr_try(&mut self, _: &'ast syn::ExprTry) {
        self.0 = true;
    }
    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.0 |= call.tokens.clone().into_iter().any(has_question_mark) && !call.path.is_ident("macro_rules");
    }
    fn visit_item(&mut self, _: &'ast syn::Item) {}
    fn visit_expr_closure(&mut self, _: &'ast syn::ExprClosure) {}
    fn visit_expr_async(&mut self, _: &'ast syn::ExprAsync) {}
}

fn has_question_mark(token: proc_macro2::TokenTree) -> bool {
    match token {
        proc_macro2::TokenTree::Punct(punct) => punct.as_char() == '?',
        proc_macro2::TokenTree::Group(group) => group.stream().into_iter().any(has_question_mark),
        _ => false,
    }
}
