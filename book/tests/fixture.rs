//! A small course with every kind of output, rendered and looked at.

use scraper::{Html, Selector};
use std::fs;
use std::path::{Path, PathBuf};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture")
}

/// Copies the fixture, so that a test can damage it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The error of a build in which `from` is `to` in the file at `path`.
fn error_with(path: &str, from: &str, to: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    copy(&fixture(), folder.path());
    let file = folder.path().join(path);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from));
    fs::write(&file, text.replace(from, to)).unwrap();
    let error = genailab_book::build(folder.path(), &folder.path().join("out")).unwrap_err();
    format!("{error:#}")
}

fn select<'a>(page: &'a Html, selector: &str) -> Vec<scraper::ElementRef<'a>> {
    page.select(&Selector::parse(selector).unwrap()).collect()
}

fn text(element: scraper::ElementRef<'_>) -> String {
    element.text().collect()
}

#[test]
fn a_notebook_is_a_page_with_its_outputs() {
    let out = tempfile::tempdir().unwrap();
    let counts = genailab_book::build(&fixture(), out.path()).unwrap();
    assert_eq!((counts.pages, counts.figures, counts.missing_figures), (3, 2, 0));

    let page = Html::parse_document(&fs::read_to_string(out.path().join("notebooks/01_test.html")).unwrap());
    assert_eq!(select(&page, "code.language-rust").len(), 6);
    let printed: Vec<_> = select(&page, "pre.output").into_iter().map(text).collect();
    assert_eq!(printed, ["<5> costs $5\n\nsecond $x$ line", "red & dead", "5"]);
    let images: Vec<_> = select(&page, "main img").into_iter().map(|image| image.value()).collect();
    assert_eq!(images[0].attr("src"), Some("figures/01_test/code-svg-1.svg"), "SVG is preferred");
    assert_eq!(images[0].attr("alt"), Some("A blue \"box\", two by one"), "the text stands in for the picture");
    assert_eq!(images[1].attr("src"), Some("figures/01_test/code-svg-2.png"));
    assert_eq!(images[1].attr("alt"), Some("The second figure"), "metadata come first");
    assert!(fs::read_to_string(out.path().join("notebooks/figures/01_test/code-svg-1.svg")).unwrap().contains("<rect"));
    assert!(fs::read(out.path().join("notebooks/figures/01_test/code-svg-2.png")).unwrap().starts_with(b"\x89PNG"));
    assert_eq!(text(select(&page, ".output td")[0]), "5 < 6, $7");
    assert_eq!(
        images[2].attr("src"),
        Some("figures/01_test/code-html-1.svg"),
        "an SVG inside HTML is a figure as well"
    );
    let captions: Vec<_> = select(&page, "figcaption").into_iter().map(text).collect();
    assert_eq!(captions, ["A blue \"box\", two by one", "The second figure", "Old. With a caption."]);
    assert_eq!(select(&page, ".katex").len(), 2);
    assert_eq!(select(&page, "main a[href='../01_test.html#maths']").len(), 1);
}

#[test]
fn a_chapter_shows_formulas_links_and_figures() {
    let out = tempfile::tempdir().unwrap();
    genailab_book::build(&fixture(), out.path()).unwrap();
    let page = Html::parse_document(&fs::read_to_string(out.path().join("01_test.html")).unwrap());
    assert_eq!(select(&page, "main a[href='notebooks/01_test.html']").len(), 1);
    let codes: Vec<_> = select(&page, "main p > code").into_iter().map(text).collect();
    assert_eq!(codes, ["notebooks/evcxr.toml", "notebooks/evcxr.toml"], "a source file is named, not linked");
    let sources: Vec<_> =
        select(&page, "figure > img").iter().map(|image| image.value().attr("src").unwrap()).collect();
    assert_eq!(sources, ["figures/box.svg", "notebooks/figures/01_test/code-svg-2.png"]);
    assert_eq!(select(&page, "figcaption em").len(), 1);
    assert_eq!(select(&page, "figcaption .katex").len(), 1);
}

#[test]
fn mistakes_are_errors_that_name_the_place() {
    let chapter = "tutorials/src/01_test.md";
    let error = error_with(chapter, "code-svg 2", "code-svg 3");
    assert!(error.contains("01_test.md") && error.contains("the cell stores 2 figures"), "{error}");
    let error = error_with(chapter, "code-svg 2", "code-none 1");
    assert!(error.contains("no code cell `code-none`"), "{error}");
    let error = error_with(chapter, "evcxr.toml)", "gone.toml)");
    assert!(error.contains("notebooks/gone.toml, which does not exist"), "{error}");
    let error = error_with(chapter, r"$a\,b\;c$", r"$\frac{a}$");
    assert!(error.contains("KaTeX does not understand"), "{error}");
    let error = error_with("notebooks/01_test.ipynb", "01_test.md#maths", "01_test.md#missing");
    assert!(error.contains("01_test.html: ../01_test.html#missing has no such anchor"), "{error}");
    let error = error_with(chapter, "## Maths", "{{#include gone.rs}}");
    assert!(error.contains("mdBook warns") && error.contains("gone.rs"), "{error}");
    let error = error_with(chapter, "## Maths", "<details>\n\nNot closed.");
    assert!(error.contains("mdBook warns") && error.contains("details"), "{error}");
    let error = error_with(chapter, "{{#figure", "- {{#figure");
    assert!(error.contains("a paragraph of its own"), "{error}");
    let error = error_with(chapter, "![A box]", "![]");
    assert!(error.contains("needs a text in place of the picture"), "{error}");
}

#[test]
fn a_notebook_without_outputs_leaves_a_loud_note() {
    let folder = tempfile::tempdir().unwrap();
    copy(&fixture(), folder.path());
    let file = folder.path().join("notebooks/01_test.ipynb");
    let mut notebook: serde_json::Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    for cell in notebook["cells"].as_array_mut().unwrap() {
        if cell["cell_type"] == "code" {
            cell["outputs"] = serde_json::json!([]);
        }
    }
    fs::write(&file, notebook.to_string()).unwrap();
    let out = folder.path().join("out");
    let counts = genailab_book::build(folder.path(), &out).unwrap();
    assert_eq!((counts.figures, counts.missing_figures), (1, 1));
    let page = Html::parse_document(&fs::read_to_string(out.join("01_test.html")).unwrap());
    let note = select(&page, "figure.missing a")[0].value().attr("href").unwrap();
    assert_eq!(note, "notebooks/01_test.html#cell-code-svg");
}
