//! What every notebook has to keep to: a valid file of format 4.5, a structure that a screen reader can follow, figures
//! with a text, nothing of one machine in it.

use super::notebook::{Cell, Notebook, text};
use crate::kernelspec;
use serde_json::Value;
use std::collections::BTreeSet;

/// The format's minor version that brought cell ids.
const MINOR: u64 = 5;
/// The longest id of a cell.
const ID: usize = 64;
/// Beginnings of paths that exist on one machine only.
const ABSOLUTE: [&str; 6] = ["/home/", "/Users/", "/root/", "/tmp/", "/work/", "C:\\"];
/// The largest file in bytes: what GitHub shows, and what a clone of the repository should not grow by with each run.
const LARGEST: usize = 1_000_000;
/// Tag of a cell that is meant to fail, as nbclient knows it.
pub const RAISES: &str = "raises-exception";

/// Everything that breaks a rule, one line each.
pub fn lint(notebook: &Notebook) -> Vec<String> {
    let mut found = Vec::new();
    file(notebook, &mut found);
    structure(notebook, &mut found);
    for cell in notebook.cells() {
        let place = place(cell);
        let problems = form(cell).into_iter().chain(content(cell)).chain(outputs(cell));
        found.extend(problems.map(|problem| format!("{place} {problem}")));
    }
    found
}

fn place(cell: Cell<'_>) -> String {
    match cell.json()["cell_type"].as_str() {
        Some("code") => format!("code cell {}", cell.number),
        Some("markdown") => format!("markdown cell {}", cell.number),
        _ => format!("the cell at position {}", cell.position + 1),
    }
}

/// The notebook as a whole: its version, its kernel, the ids of its cells.
fn file(notebook: &Notebook, found: &mut Vec<String>) {
    let json = notebook.json();
    let minor = json["nbformat_minor"].as_u64().unwrap_or_default();
    if minor < MINOR {
        found.push(format!("its format is 4.{minor}, expected 4.{MINOR} or later: open and save it in Jupyter"));
    }
    let kernel = json["metadata"]["kernelspec"]["name"].as_str().unwrap_or_default();
    if kernel != kernelspec::NAME {
        found.push(format!("its kernelspec is '{kernel}', expected '{}'", kernelspec::NAME));
    }
    let size = notebook.to_bytes().len();
    if size > LARGEST {
        found.push(format!(
            "its file has {:.2} MB, expected at most {:.0}: show fewer points or figures",
            size as f64 / 1e6,
            LARGEST as f64 / 1e6
        ));
    }
    let mut ids = BTreeSet::new();
    for cell in notebook.cells() {
        match cell.json()["id"].as_str() {
            Some(id) if !is_id(id) => found.push(format!(
                "{} has the id '{id}', which is not 1 to {ID} letters, digits, '-' and '_'",
                place(cell)
            )),
            Some(id) if !ids.insert(id) => {
                found.push(format!("{} has the id '{id}', which another cell has too", place(cell)));
            }
            Some(_) => {}
            None => found.push(format!("{} has no id", place(cell))),
        }
    }
}

fn is_id(id: &str) -> bool {
    (1..=ID).contains(&id.len()) && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// Headings: one at the top, and no level left out on the way down.
fn structure(notebook: &Notebook, found: &mut Vec<String>) {
    let first = notebook.cells().next();
    let begins_with_heading = first.is_some_and(|cell| {
        let source = cell.source();
        let line = source.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        cell.is_markdown() && heading(line).is_some()
    });
    if !begins_with_heading {
        found.push("its first cell does not begin with a heading".to_owned());
    }
    let mut level = 0;
    let mut titles = 0;
    for cell in notebook.cells().filter(Cell::is_markdown) {
        for (next, words) in headings(&cell.source()) {
            titles += usize::from(next == 1);
            if next > level + 1 && level > 0 {
                found.push(format!("{} goes from heading level {level} to {next}: '{words}'", place(cell)));
            }
            if words.is_empty() {
                found.push(format!("{} has an empty heading", place(cell)));
            }
            level = next;
        }
    }
    if titles != 1 {
        found.push(format!("it has {titles} top headings (# ...), expected exactly one"));
    }
}

/// What the format asks of a cell.
fn form(cell: Cell<'_>) -> Vec<String> {
    let json = cell.json();
    let mut found = Vec::new();
    let allowed: &[&str] = match json["cell_type"].as_str() {
        Some("code") => &["id", "cell_type", "metadata", "source", "outputs", "execution_count"],
        Some("markdown" | "raw") => &["id", "cell_type", "metadata", "source", "attachments"],
        _ => return vec!["is of no known type (code, markdown or raw)".to_owned()],
    };
    let unknown = json.as_object().into_iter().flatten().map(|(key, _)| key).filter(|key| !allowed.contains(&&***key));
    found.extend(unknown.map(|key| format!("has a field '{key}' that the format does not know")));
    if !json["metadata"].is_object() {
        found.push("has no metadata".to_owned());
    }
    if !is_text(&json["source"]) {
        found.push("has a source that is neither text nor a list of lines".to_owned());
    }
    if cell.is_code() {
        if !matches!(json.get("execution_count"), Some(Value::Null | Value::Number(_))) {
            found.push("has no execution_count (a number or null)".to_owned());
        }
        if !json["outputs"].is_array() {
            found.push("has no list of outputs".to_owned());
        }
    }
    found.extend(cell.outputs().iter().enumerate().filter(|(_, output)| !is_output(output)).map(|(at, output)| {
        format!("has an output that the format does not know, number {}: {}", at + 1, output["output_type"])
    }));
    found
}

fn is_text(value: &Value) -> bool {
    value.is_string() || value.as_array().is_some_and(|lines| lines.iter().all(Value::is_string))
}

fn is_output(output: &Value) -> bool {
    match output["output_type"].as_str() {
        Some("stream") => output["name"].is_string() && is_text(&output["text"]),
        Some("display_data") => output["data"].is_object() && output["metadata"].is_object(),
        Some("execute_result") => {
            output["data"].is_object()
                && output["metadata"].is_object()
                && matches!(output.get("execution_count"), Some(Value::Null | Value::Number(_)))
        }
        Some("error") => output["ename"].is_string() && output["evalue"].is_string() && is_text(&output["traceback"]),
        _ => false,
    }
}

/// What a reader meets: empty cells, images without a text, paths of the author's machine.
fn content(cell: Cell<'_>) -> Vec<String> {
    let source = cell.source();
    let mut found = Vec::new();
    if cell.is_code() && source.trim().is_empty() {
        found.push("is empty".to_owned());
    }
    found.extend(absolute_path(&source).map(|path| format!("names a path of one machine ({path}...)")));
    if cell.is_markdown() {
        let prose = prose(&source);
        let nameless = prose.match_indices("![").filter(|(at, _)| {
            let inside = &prose[at + 2..];
            inside.find(']').is_some_and(|end| inside[..end].trim().is_empty() && inside[end + 1..].starts_with('('))
        });
        found.extend(nameless.map(|_| "shows an image without alternative text: write ![what it shows](...)".into()));
        found.extend(images_without_text(&prose));
    }
    found
}

fn outputs(cell: Cell<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for output in cell.outputs() {
        if output["output_type"] == "error" && !cell.has_tag(RAISES) {
            let name = output["ename"].as_str().unwrap_or("?");
            found.push(format!("stores an error ({name}); tag it '{RAISES}' if that is meant"));
        }
        let data = output["data"].as_object();
        for (mime, content) in data.into_iter().flatten() {
            let content = text(content);
            match mime.as_str() {
                "text/html" | "image/svg+xml" => found.extend(images_without_text(&content)),
                image if image.starts_with("image/") => {
                    // Where JupyterLab looks for it.
                    let described = ["alt", mime].iter().any(|key| {
                        let value = &output["metadata"][key];
                        value.as_str().or(value["alt"].as_str()).is_some_and(|words| !words.trim().is_empty())
                    });
                    if !described {
                        found.push(format!("shows an {image} without alternative text (metadata \"alt\")"));
                    }
                }
                _ => {}
            }
        }
        let shown = data.into_iter().flatten().filter(|(mime, _)| mime.starts_with("text/") || mime.contains("svg"));
        let texts = [&output["text"], &output["evalue"], &output["traceback"]].into_iter();
        let path = texts.chain(shown.map(|(_, content)| content)).find_map(|content| absolute_path(&text(content)));
        found.extend(path.map(|path| format!("shows a path of one machine ({path}...)")));
    }
    found
}

/// `<img>` without `alt`, `<svg>` without a title.
fn images_without_text(html: &str) -> Vec<String> {
    let opening = |at: usize| html[at..].split_inclusive('>').next().unwrap_or_default();
    let images = html.match_indices("<img").filter(|(at, _)| {
        // An empty one says that the image is decoration.
        !opening(*at).contains("alt=")
    });
    let drawings = html.match_indices("<svg").filter(|(at, _)| {
        let whole = html[*at..].split("</svg>").next().unwrap_or_default();
        let title = whole.split_once("<title>").is_some_and(|(_, title)| !title.trim_start().starts_with('<'));
        !(title || opening(*at).contains("aria-label=") || opening(*at).contains("aria-hidden=\"true\""))
    });
    let images = images.map(|_| "shows an <img> without alt text".to_owned());
    images.chain(drawings.map(|_| "shows an <svg> without <title> or aria-label".to_owned())).collect()
}

fn absolute_path(text: &str) -> Option<&'static str> {
    ABSOLUTE.into_iter().find(|path| text.contains(path))
}

/// Level and words of the headings of a Markdown cell.
pub fn headings(markdown: &str) -> Vec<(usize, String)> {
    prose(markdown).lines().filter_map(heading).map(|(level, words)| (level, words.to_owned())).collect()
}

/// Level and words of a line that is a heading.
fn heading(line: &str) -> Option<(usize, &str)> {
    let words = line.trim_start_matches('#');
    let level = line.len() - words.len();
    ((1..=6).contains(&level) && (words.is_empty() || words.starts_with(' '))).then(|| (level, words.trim()))
}

/// Markdown without its fenced code, which may hold lines that look like headings.
fn prose(markdown: &str) -> String {
    let mut in_code = false;
    let lines = markdown.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~");
        in_code ^= fence;
        !in_code && !fence
    });
    lines.map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::fs;

    fn read(json: &Value) -> Notebook {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.ipynb");
        fs::write(&path, json.to_string()).expect("written");
        Notebook::read(&path).expect("a notebook")
    }

    fn markdown(id: &str, source: &str) -> Value {
        json!({"cell_type": "markdown", "id": id, "metadata": {}, "source": source})
    }

    fn code(id: &str, source: &str, outputs: &Value) -> Value {
        json!({"cell_type": "code", "id": id, "metadata": {}, "source": source, "outputs": outputs,
               "execution_count": null})
    }

    fn notebook(cells: &[Value]) -> Value {
        json!({"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": {"name": "genailab"}}, "cells": cells})
    }

    #[test]
    fn a_good_notebook_passes() {
        let figure = json!([{"output_type": "display_data", "metadata": {},
            "data": {"text/html": "<svg role=\"img\"><title>Loss</title></svg><img src=\"a\" alt=\"\">"}}]);
        let cells = [
            markdown("a", "# Title\n\n```\n#### no heading\n![](no image)\n```\n## Part\n![a plot](plot.png)"),
            code("b", "plot()", &figure),
            markdown("c", "### Deeper\n# "),
        ];
        let long = json!([{"output_type": "stream", "name": "stdout", "text": "a".repeat(LARGEST)}]);
        let found = lint(&read(&notebook(&[cells[0].clone(), code("b", "plot()", &long)])));
        assert_eq!(found, ["its file has 1.00 MB, expected at most 1: show fewer points or figures"]);
        let found = lint(&read(&notebook(&cells)));
        assert_eq!(
            found,
            ["markdown cell 2 has an empty heading", "it has 2 top headings (# ...), expected exactly one"]
        );
        assert_eq!(lint(&read(&notebook(&cells[..2]))), Vec::<String>::new());
    }

    #[test]
    fn each_broken_rule_is_found() {
        let outputs = json!([
            {"output_type": "error", "ename": "Panic", "evalue": "no", "traceback": ["at /home/me/x.rs"]},
            {"output_type": "display_data", "metadata": {}, "data": {"image/png": "aGk=", "text/html": "<svg></svg>"}},
            {"output_type": "stream", "text": "no name"},
        ]);
        let mut damaged = notebook(&[
            code("a", "  ", &outputs),
            markdown("a", "text\n## Part\n#### Deeper\n![ ](x.png) <img src='y'>"),
            json!({"cell_type": "markdown", "id": "not an id", "metadata": {}, "source": 1, "outputs": []}),
            json!({"cell_type": "code", "metadata": {}, "source": "let a = \"/tmp/a\";"}),
            json!({"cell_type": "heading", "id": "h"}),
        ]);
        damaged["nbformat_minor"] = json!(4);
        damaged["metadata"]["kernelspec"]["name"] = json!("python3");
        let found = lint(&read(&damaged));
        let expected = [
            "its format is 4.4",
            "its kernelspec is 'python3'",
            "markdown cell 1 has the id 'a', which another cell has too",
            "has the id 'not an id'",
            "code cell 2 has no id",
            "its first cell does not begin with a heading",
            "goes from heading level 2 to 4: 'Deeper'",
            "it has 0 top headings",
            "code cell 1 has an output that the format does not know, number 3",
            "code cell 1 is empty",
            "stores an error (Panic)",
            "shows a path of one machine (/home/...)",
            "shows an image/png without alternative text",
            "shows an <svg> without <title>",
            "markdown cell 1 shows an image without alternative text",
            "markdown cell 1 shows an <img> without alt text",
            "a field 'outputs'",
            "a source that is neither",
            "code cell 2 has no execution_count",
            "code cell 2 has no list of outputs",
            "code cell 2 names a path of one machine (/tmp/...)",
            "the cell at position 5 is of no known type",
        ];
        for words in expected {
            assert!(found.iter().any(|line| line.contains(words)), "{words} in {found:#?}");
        }
        assert_eq!(found.len(), expected.len(), "{found:#?}");
    }
}
