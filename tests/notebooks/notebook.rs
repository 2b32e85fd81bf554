//! A notebook file: its cells, and what the course asks of it before it is run.

use serde_json::Value;
use std::{fs, path::Path};
use syn::visit::Visit;

/// Words that the first cell must hold, so that a reader knows what is ahead.
const OPENING_BLOCK: [&str; 3] = ["Objectives", "Prerequisites", "Time"];
/// Exercises that a notebook offers, each solved in `solutions/`.
const EXERCISES: usize = 3;
/// Beginnings of paths that exist on one machine only.
const ABSOLUTE: [&str; 6] = ["/home/", "/Users/", "/root/", "/tmp/", "/work/", "C:\\"];

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

#[derive(Debug)]
pub struct Notebook {
    pub role: Role,
    cells: Vec<Cell>,
    kernel: String,
}

#[derive(Debug)]
struct Cell {
    is_code: bool,
    source: String,
    has_output: bool,
}

impl Notebook {
    pub fn read(path: &Path, role: Role) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| format!("cannot read it: {error}"))?;
        let json: Value = serde_json::from_str(&text).map_err(|error| format!("not JSON: {error}"))?;
        let cells = json["cells"].as_array().ok_or("it has no list of cells")?.iter().map(Cell::from_json).collect();
        let kernel = json["metadata"]["kernelspec"]["name"].as_str().unwrap_or_default().to_owned();
        Ok(Self { role, cells, kernel })
    }

    /// The code cells, in order: number (from 1, markdown cells not counted) and source.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.cells.iter().filter(|cell| cell.is_code).enumerate().map(|(i, cell)| (i + 1, cell.source.as_str()))
    }

    /// Everything that breaks a rule of the course, one line each.
    pub fn lint(&self, has_solution: bool) -> Vec<String> {
        if self.role == Role::Planted {
            return Vec::new();
        }
        let mut found = Vec::new();
        let text: Vec<&str> = self.cells.iter().filter(|cell| !cell.is_code).map(|cell| cell.source.as_str()).collect();
        let headings: Vec<&str> = text.iter().flat_map(|cell| headings(cell)).collect();
        let titles = headings.iter().filter(|heading| heading.starts_with("# ")).count();
        if titles != 1 {
            found.push(format!("it has {titles} top headings (# ...), expected exactly one"));
        }
        if self.kernel != genailab_kernel::kernelspec::NAME {
            found.push(format!(
                "its kernelspec is '{}', expected '{}'",
                self.kernel,
                genailab_kernel::kernelspec::NAME
            ));
        }
        if !self.code().any(|(_, source)| source.contains("assert")) {
            found.push("no cell asserts anything".to_owned());
        }
        if self.cells.iter().any(|cell| cell.has_output) {
            found.push("it stores outputs: clear them (they come from a run, never from git)".to_owned());
        }
        if let Some(path) = ABSOLUTE.iter().find(|path| self.cells.iter().any(|cell| cell.source.contains(**path))) {
            found.push(format!("it names a path of one machine ({path}...)"));
        }
        for (number, source) in self.code() {
            if source.lines().any(|line| line.starts_with(":dep") || line.starts_with("extern crate")) {
                found.push(format!("cell {number} adds a dependency: evcxr.toml names the only one"));
            }
            if has_top_level_question_mark(source) {
                found.push(format!("cell {number} has a bare `?`, which ends the cell unnoticed: use .unwrap()"));
            }
        }
        if self.role == Role::Course {
            let opening = text.first().copied().unwrap_or_default();
            found.extend(
                OPENING_BLOCK
                    .iter()
                    .filter(|word| !opening.contains(**word))
                    .map(|word| format!("its first cell does not say '{word}'")),
            );
            let exercises = headings.iter().filter(|h| h.trim_start_matches('#').starts_with(" Exercise ")).count();
            if exercises < EXERCISES {
                found.push(format!("it has {exercises} headings '### Exercise N', expected {EXERCISES}"));
            }
            if !has_solution {
                found.push("its exercises have no notebook of the same name in solutions/".to_owned());
            }
        }
        found
    }
}

impl Cell {
    fn from_json(cell: &Value) -> Self {
        let source = match &cell["source"] {
            Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
            other => other.as_str().unwrap_or_default().to_owned(),
        };
        Self {
            is_code: cell["cell_type"] == "code",
            source,
            has_output: cell["outputs"].as_array().is_some_and(|outputs| !outputs.is_empty())
                || cell["execution_count"].is_number(),
        }
    }
}

/// The headings of a markdown cell, without lines of fenced code that look like one.
fn headings(markdown: &str) -> Vec<&str> {
    let mut in_code = false;
    markdown
        .lines()
        .filter(|line| {
            in_code ^= line.trim_start().starts_with("```");
            !in_code && line.trim_start_matches('#').starts_with(' ') && line.starts_with('#')
        })
        .collect()
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
