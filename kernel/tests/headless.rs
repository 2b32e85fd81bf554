//! The commands for notebooks without Jupyter, as a user calls them: on small notebooks that depend on nothing.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A cell: its code and its tags.
type Cell<'a> = (&'a str, &'a [&'a str]);

fn kernel(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_genailab-kernel"));
    command.args(arguments).current_dir(folder).env_remove("RUST_BACKTRACE");
    command
}

/// Runs the kernel and expects it to end with `code`; returns all that it said.
fn said(folder: &Path, arguments: &[&str], code: i32) -> String {
    let Output { status, stdout, stderr } = kernel(folder, arguments).output().expect("the kernel starts");
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert_eq!(status.code(), Some(code), "{arguments:?} said {text}");
    text
}

fn notebook(cells: &[Cell<'_>]) -> Value {
    let title = json!({"cell_type": "markdown", "id": "title", "metadata": {}, "source": "# A title"});
    let code = cells.iter().enumerate().map(|(at, (source, tags))| {
        json!({"cell_type": "code", "id": format!("code-{at}"), "metadata": {"tags": tags}, "source": source,
               "outputs": [], "execution_count": null})
    });
    let cells: Vec<Value> = std::iter::once(title).chain(code).collect();
    let metadata = json!({"kernelspec": {"name": "genailab", "display_name": "Rust (genailab)", "language": "rust"}});
    json!({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells})
}

fn write(folder: &Path, name: &str, cells: &[Cell<'_>]) {
    fs::write(folder.join(name), notebook(cells).to_string()).expect("written");
}

fn read(folder: &Path, name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(folder.join(name)).expect("it is there")).expect("JSON")
}

/// A folder whose notebooks can be run.
fn course() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("evcxr.toml"), "[evcxr]\nopt_level = \"0\"\n").expect("written");
    folder
}

#[test]
fn wrong_usage_is_one_line_and_nothing_is_touched() {
    let folder = course();
    let folder = folder.path();
    write(folder, "a.ipynb", &[("1", &[])]);
    write(folder, "late.ipynb", &[("1", &["timeout=soon"])]);
    write(folder, "parameters.ipynb", &[("let epochs: usize = 5;", &["parameters"])]);
    fs::write(folder.join("text.ipynb"), "no notebook").expect("written");
    fs::write(folder.join("old.ipynb"), r#"{"nbformat": 3}"#).expect("written");
    write(folder, "locked.ipynb", &[("1", &[])]);
    let mut permissions = fs::metadata(folder.join("locked.ipynb")).expect("it is there").permissions();
    permissions.set_readonly(true);
    fs::set_permissions(folder.join("locked.ipynb"), permissions).expect("set");
    let before = fs::read(folder.join("a.ipynb")).expect("it is there");
    let cases: [(&[&str], &str); 22] = [
        (&["run"], "required arguments were not provided: <NOTEBOOK>..."),
        (&["clear"], "required arguments were not provided: <NOTEBOOK>..."),
        (&["run", "--fast", "a.ipynb"], "unexpected argument '--fast'"),
        (&["run", "--timeout", "soon", "a.ipynb"], "'soon' for '--timeout <SECONDS>': not a number of seconds"),
        (&["run", "--timeout", "-1", "a.ipynb"], "not a number of seconds above 0"),
        (&["run", "--jobs", "0", "a.ipynb"], "'0' for '--jobs <N>'"),
        (&["check", "--tolerance", "5", "a.ipynb"], "not a number from 0 to 1"),
        (&["run", "gone.ipynb"], "cannot read gone.ipynb: No such file"),
        (&["check", "a.ipynb", "gone.ipynb"], "cannot read gone.ipynb"),
        (&["lint", "."], "is a folder: name its notebooks"),
        (&["run", "text.ipynb"], "text.ipynb is not valid JSON"),
        (&["clear", "old.ipynb"], "old.ipynb is no notebook of format 4"),
        (&["run", "late.ipynb"], "code cell 1: timeout=soon: not a number of seconds"),
        (&["run", "locked.ipynb"], "cannot write locked.ipynb: the file is read-only"),
        (&["clear", "a.ipynb", "locked.ipynb"], "cannot write locked.ipynb: the file is read-only"),
        (&["run", "a.ipynb", "--junit", "gone/report.xml"], "cannot write gone/report.xml"),
        (&["run", "-p", "epochs", "3", "parameters.ipynb"], "--output"),
        (&["run", "-p", "epochs", "3", "--output", "b.ipynb", "a.ipynb"], "no code cell is tagged 'parameters'"),
        (&["run", "-p", "epoch", "3", "--output", "b.ipynb", "parameters.ipynb"], "it defines epochs"),
        (&["run", "-p", "epochs", "-3", "--output", "b.ipynb", "parameters.ipynb"], "too small for usize"),
        (&["run", "--output", "a.ipynb", "parameters.ipynb", "a.ipynb"], "one file for 2 notebooks"),
        (&["run", "--output", ".", "a.ipynb"], "would overwrite the notebook ./a.ipynb"),
    ];
    for (arguments, words) in cases {
        let text = said(folder, arguments, 2);
        assert!(text.starts_with("error: ") && text.contains(words), "{arguments:?} said {text}");
        assert_eq!(text.lines().count(), 1, "{arguments:?} said {text}");
    }
    assert_eq!(fs::read(folder.join("a.ipynb")).expect("it is there"), before);
    assert!(!folder.join(".evcxr").exists() && !folder.join("b.ipynb").exists());
    assert!(said(folder, &["run", "--help"], 0).contains("--junit"));
}

#[test]
fn lint_and_clear_work_in_a_folder_with_a_space() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = &folder.path().join("my notebooks");
    fs::create_dir(folder).expect("a folder");
    let mut good = notebook(&[("1", &[])]);
    good["cells"][1]["outputs"] = json!([{"output_type": "stream", "name": "stdout", "text": "1"}]);
    good["cells"][1]["execution_count"] = json!(1);
    fs::write(folder.join("good one.ipynb"), good.to_string()).expect("written");
    write(folder, "bad.ipynb", &[(" ", &[])]);
    assert_eq!(said(folder, &["lint", "good one.ipynb"], 0), "good one.ipynb: ok\n");
    let text = said(folder, &["lint", "good one.ipynb", "bad.ipynb"], 1);
    assert!(text.contains("bad.ipynb: 1 problem\n  code cell 1 is empty"), "{text}");
    for _ in 0..2 {
        assert_eq!(said(folder, &["clear", "good one.ipynb"], 0), "");
        assert_eq!(read(folder, "good one.ipynb"), notebook(&[("1", &[])]));
    }
}

#[test]
fn notebooks_are_run_compared_and_reported() {
    let folder = course();
    let folder = folder.path();
    let leak = "let secret: i32 = 1;\nfn helper() {}\nunsafe { std::env::set_var(\"LEAK\", \"1\") };\n\
        std::env::set_current_dir(\"/\").unwrap();\nprintln!(\"loss {:.3}\", 0.5);";
    let clean =
        "assert!(std::env::var_os(\"LEAK\").is_none());\nassert!(std::path::Path::new(\"evcxr.toml\").exists());";
    write(folder, "a.ipynb", &[(leak, &[]), ("secret + 1", &[])]);
    write(folder, "b.ipynb", &[("secret", &["raises-exception"]), ("helper()", &["raises-exception"]), (clean, &[])]);
    write(folder, "c.ipynb", &[(":env LEAK=2\nlet a: i32 = 1;", &[]), ("no code", &["skip-execution"])]);
    write(folder, "d.ipynb", &[(clean, &[]), ("loop {}", &["timeout=3"]), ("1", &[])]);
    let all = ["a.ipynb", "b.ipynb", "c.ipynb", "d.ipynb"];
    let text = said(folder, &[&["run", "--junit", "report.xml"], &all[..]].concat(), 1);
    assert!(text.contains("a.ipynb: 2 cells ok in") && text.contains("b.ipynb: 3 cells ok in"), "{text}");
    assert!(text.contains("c.ipynb: 1 cell ok in") && text.contains("d.ipynb: cell 2 failed after"), "{text}");
    assert!(text.contains("Timeout: the cell was stopped because it took longer than 3 s"), "{text}");
    assert!(!text.contains('\u{1b}') && text.contains("error: 1 of 4 notebooks failed"), "{text}");
    let a = read(folder, "a.ipynb");
    assert_eq!(a["cells"][1]["outputs"][0]["text"], json!(["loss 0.500\n"]));
    assert_eq!(a["cells"][2]["outputs"][0]["data"]["text/plain"], json!(["2"]));
    assert_eq!(read(folder, "b.ipynb")["cells"][1]["outputs"][0]["ename"], "E0425", "it is not known any more");
    assert_eq!(read(folder, "b.ipynb")["cells"][2]["outputs"][0]["ename"], "E0425");
    assert_eq!(read(folder, "d.ipynb")["cells"][3]["execution_count"], json!(null), "it was not run");

    let report = fs::read_to_string(folder.join("report.xml")).expect("it is there");
    for part in [
        "tests=\"13\" skipped=\"1\" failures=\"1\" errors=\"0\"",
        "<testsuite name=\"a.ipynb\" tests=\"3\"",
        "<testcase name=\"cell 2: secret + 1\" classname=\"a.ipynb\" time=\"",
        "type=\"Timeout\"",
    ] {
        assert!(report.contains(part), "{part} in {report}");
    }

    // A number that moved, and a notebook without outputs.
    let moved = a.to_string().replace("loss 0.500", "loss 0.600");
    fs::write(folder.join("moved.ipynb"), &moved).expect("written");
    write(folder, "e.ipynb", &[("1", &[])]);
    let text = said(folder, &["check", "--jobs", "2", "a.ipynb", "moved.ipynb", "e.ipynb"], 1);
    assert!(text.contains("a.ipynb: 2 cells ok") && text.contains("outputs as stored"), "{text}");
    assert!(
        text.contains("cell 1: line 1 was `loss 0.600` and is `loss 0.500`: 0.6 and 0.5 differ by 16.7 %"),
        "{text}"
    );
    assert!(text.contains("no stored outputs to compare with"), "{text}");
    assert_eq!(fs::read_to_string(folder.join("moved.ipynb")).expect("it is there"), moved, "left as it was");
    said(folder, &["check", "--tolerance", "0.2", "moved.ipynb"], 0);

    let source = [("let mut epochs: usize = 50;\nlet name = \"a\";", &["parameters"][..]), ("(epochs, name)", &[])];
    write(folder, "p.ipynb", &source);
    let before = fs::read(folder.join("p.ipynb")).expect("it is there");
    said(folder, &["run", "-p", "epochs", "3", "-p", "name", "-x", "--output", "out", "p.ipynb"], 0);
    assert_eq!(fs::read(folder.join("p.ipynb")).expect("it is there"), before);
    let out = read(folder, "out/p.ipynb");
    assert_eq!(out["cells"][2]["metadata"]["tags"], json!(["injected-parameters"]));
    assert_eq!(out["cells"][3]["outputs"][0]["data"]["text/plain"], json!(["(3, \"-x\")"]));
}

/// The code of a cell that shows what the library shows as a figure and a table.
const FIGURE: &str = r##"
let loss = 0.5199;
println!("EVCXR_BEGIN_CONTENT text/html
<figure>
<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1120 560\" width=\"680\" height=\"340\" role=\"img\" aria-label=\"Loss\">
<title>Loss</title>
<rect width=\"1120\" height=\"560\" fill=\"#ffffff\"/>
<text x=\"9\" y=\"40\" font-family=\"sans-serif\" font-size=\"26\">epoch</text>
</svg>
<figcaption>A &lt; B: it ends at {loss:.2}.</figcaption>
</figure>
EVCXR_END_CONTENT");
println!("EVCXR_BEGIN_CONTENT text/plain\nFigure: Loss. A < B: it ends at {loss:.2}.\nEVCXR_END_CONTENT");
"##;
const TABLE: &str = r##"
println!("EVCXR_BEGIN_CONTENT text/html
<table>
<caption>Errors</caption>
<thead><tr><th scope=\"col\">model</th><th scope=\"col\" class=\"number\" style=\"text-align:right\">L2</th></tr></thead>
<tbody>
<tr><td><strong>ridge</strong><br><small>the best</small></td><td class=\"number\" style=\"text-align:right\">0.25</td></tr>
</tbody>
</table>
EVCXR_END_CONTENT");
println!("EVCXR_BEGIN_CONTENT text/plain\nmodel  L2\n*ridge* (the best)  0.25\nEVCXR_END_CONTENT");
"##;

#[test]
fn figures_are_stored_as_pictures_and_compared_by_their_words() {
    let folder = course();
    let folder = folder.path();
    let seconds = "println!(\"took {} s\", 1)";
    let cells: [Cell<'_>; 4] = [(FIGURE, &[]), (TABLE, &[]), (seconds, &["varies"]), ("for _ in 0..1 {}", &[])];
    write(folder, "a.ipynb", &cells);
    said(folder, &["run", "a.ipynb"], 0);
    let stored = read(folder, "a.ipynb");
    let figure = &stored["cells"][1]["outputs"][0];
    let words = "Figure: Loss. A < B: it ends at 0.52.";
    assert_eq!((&figure["data"]["text/html"], &figure["execution_count"]), (&Value::Null, &Value::Null));
    assert_eq!(figure["data"]["text/plain"], json!([words]));
    assert_eq!(figure["metadata"]["image/png"]["alt"], words);
    assert!(figure["data"]["image/svg+xml;charset=utf-8"][0].as_str().is_some_and(|line| line.starts_with("<svg ")));
    let png = STANDARD.decode(figure["data"]["image/png"].as_str().expect("base64")).expect("base64");
    assert!(png.starts_with(b"\x89PNG"));
    assert!(stored["cells"][2]["outputs"][0]["data"]["text/html"].is_array(), "a table stays one");
    assert_eq!(stored["cells"][3]["outputs"].as_array().map(Vec::len), Some(1), "`()` is not shown");
    assert_eq!(stored["cells"][3]["outputs"][0]["text"], json!(["took 1 s\n"]));
    assert_eq!(stored["cells"][4]["outputs"], json!([]));

    // The words of the figure count, with their numbers; in the tagged cell, numbers do not.
    let moved = |name: &str, loss: &str| {
        let text = stored.to_string().replace("ends at 0.52", &format!("ends at {loss}"));
        fs::write(folder.join(name), text.replace("took 1 s", "took 900 s")).expect("written");
    };
    moved("near.ipynb", "0.53");
    moved("far.ipynb", "0.72");
    let text = said(folder, &["check", "a.ipynb", "near.ipynb", "far.ipynb"], 1);
    for part in [
        "a.ipynb: 4 cells ok",
        "error: 1 of 3 notebooks failed",
        "1 show something else than is stored",
        "  cell 1: line 1 was `Figure: Loss. A < B: it ends at 0.72.` and is `Figure: Loss. A < B: it ends at 0.52.`",
        "store them: genailab-kernel run far.ipynb",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    nbconvert_shows_the_picture(folder, words);
}

/// nbconvert shows the picture of a.ipynb and its table, in HTML that is sanitized too.
fn nbconvert_shows_the_picture(folder: &Path, words: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = env::var_os("GENAILAB_PYTHON").map_or_else(|| root.join("../.venv/bin/python"), PathBuf::from);
    let has_nbconvert =
        Command::new(&python).args(["-c", "import nbconvert"]).output().is_ok_and(|output| output.status.success());
    if !has_nbconvert {
        let why = format!("{} has no nbconvert; `make setup` makes it, or set GENAILAB_PYTHON", python.display());
        assert!(env::var_os("GENAILAB_REQUIRE_PYTHON").is_none(), "{why}");
        return eprintln!("ignored: {why}");
    }
    let script = root.join("tests/nbconvert_pages.py");
    let output = Command::new(&python).arg(script).arg(folder.join("a.ipynb")).output().expect("Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout).expect("the script writes JSON");
    let image = "data:image/png;base64";
    // The template `lab`, which is the usual one, has no alternative text for any output.
    assert_eq!(seen["lab"]["images"][0]["source"], image, "{seen}");
    assert_eq!(seen["classic"]["images"], json!([{"alt": words, "source": image}]), "{seen}");
    assert_eq!(seen["unsanitized"]["tables"], json!([["Errors", "model", "L2", "ridgethe best", "0.25"]]), "{seen}");
    assert_eq!(seen["lab"]["tables"][0][1], "0.25", "{seen}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_files_and_no_process() {
    let folder = course();
    let folder = folder.path();
    let mark = folder.join("begun");
    write(folder, "a.ipynb", &[(&format!("std::fs::write({mark:?}, \"\").unwrap();\nloop {{}}"), &[])]);
    let before = fs::read(folder.join("a.ipynb")).expect("it is there");
    let process = kernel(folder, &["run", "a.ipynb"]).stderr(Stdio::piped()).spawn().expect("the kernel starts");
    let begun = Instant::now();
    while !mark.exists() && begun.elapsed() < Duration::from_secs(120) {
        thread::sleep(Duration::from_millis(50));
    }
    assert!(mark.exists(), "the cell runs");
    Command::new("kill").args(["-INT", &process.id().to_string()]).status().expect("kill is there");
    let output = process.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "stopped: notebooks that were not finished are as they were\n");
    assert_eq!(fs::read(folder.join("a.ipynb")).expect("it is there"), before);
    // Whoever takes the slot sees that the worker is gone.
    let lock = fs::File::open(folder.join(".evcxr/1.lock")).expect("it is there");
    let begun = Instant::now();
    while lock.try_lock().is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the worker lives on");
        thread::sleep(Duration::from_millis(50));
    }
}
