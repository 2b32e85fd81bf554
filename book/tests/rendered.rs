//! The course as it is rendered: formulas, pictures, figures. (The build itself checks links: `src/check.rs`.)

use scraper::{ElementRef, Html, Node, Selector};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

struct Course {
    pages: BTreeMap<PathBuf, String>,
    counts: genailab_book::Counts,
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn course() -> &'static Course {
    static COURSE: OnceLock<Course> = OnceLock::new();
    COURSE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("book");
        let counts = genailab_book::build(repository(), &root).unwrap();
        let mut pages = BTreeMap::new();
        for name in genailab_book::check::pages(&root).unwrap() {
            let text = fs::read_to_string(root.join(&name)).unwrap();
            pages.insert(name, text);
        }
        Course { pages, counts }
    })
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

fn select<'a>(page: &'a Html, selector: &str) -> Vec<ElementRef<'a>> {
    page.select(&Selector::parse(selector).unwrap()).collect()
}

/// The text of a page that a reader sees as prose: no code, no formula, no printed output.
fn prose(element: ElementRef<'_>, out: &mut String) {
    for child in element.children() {
        if let Node::Text(text) = child.value() {
            out.push_str(text);
        } else if let Some(child) = ElementRef::wrap(child) {
            let skipped = ["code", "pre", "svg", "script", "style"].contains(&child.value().name())
                || child.value().classes().any(|class| class == "katex" || class == "output");
            if !skipped {
                prose(child, out);
            }
        }
    }
}

fn main_of(page: &Html) -> ElementRef<'_> {
    select(page, "main")[0]
}

#[test]
fn no_id_stands_twice() {
    for (name, text) in &course().pages {
        let page = Html::parse_document(text);
        let ids: Vec<_> = select(&page, "main [id]").iter().filter_map(|element| element.value().attr("id")).collect();
        let unique: BTreeSet<_> = ids.iter().collect();
        assert_eq!(unique.len(), ids.len(), "{}", name.display());
    }
}

#[test]
fn formulas_are_rendered() {
    let course = course();
    assert!(course.counts.formulas > 300, "{:?}", course.counts);
    for (name, text) in &course.pages {
        let page = Html::parse_document(text);
        let mut words = String::new();
        prose(main_of(&page), &mut words);
        for raw in ["$", r"\(", r"\[", "{{#"] {
            if let Some(at) = words.find(raw) {
                let from = (0..=at.saturating_sub(40)).rev().find(|&i| words.is_char_boundary(i)).unwrap_or(0);
                panic!("{}: `{raw}` is left in: {}", name.display(), &words[from..at + raw.len()]);
            }
        }
        assert!(select(&page, ".katex-error").is_empty(), "{}", name.display());
    }
}

#[test]
fn pictures_have_words() {
    for (name, text) in &course().pages {
        let page = Html::parse_document(text);
        for image in select(&page, "main img") {
            let words = image.value().attr("alt").unwrap_or_default();
            assert!(words.trim().len() > 3, "{}: {} needs a text", name.display(), image.html());
        }
        for caption in select(&page, "figcaption") {
            assert!(
                !caption.text().collect::<String>().trim().is_empty(),
                "{}: a figure without caption",
                name.display()
            );
        }
    }
    for drawing in files(&repository().join("tutorials/src/figures")) {
        let text = fs::read_to_string(&drawing).unwrap();
        assert!(text.contains("<title") && text.contains("<desc"), "{}", drawing.display());
    }
}

#[test]
fn each_chapter_has_figures_questions_and_a_notebook() {
    let course = course();
    let mut missing = 0;
    for number in 0..=18 {
        let prefix = format!("{number:02}_");
        let chapter = course.pages.iter().find(|(name, _)| name.to_string_lossy().starts_with(&prefix));
        let (name, text) = chapter.expect("a chapter");
        let page = Html::parse_document(text);
        assert!(select(&page, "figure").len() >= 3, "{}: fewer than 3 figures", name.display());
        assert!(!select(&page, "figure > img[src^='figures/']").is_empty(), "{}: no diagram", name.display());
        missing += select(&page, "figure.missing").len();
        assert_eq!(select(&page, "details").len(), 5, "{}: five questions", name.display());
        assert!(text.contains("Common mistakes"), "{}", name.display());
        for folder in ["notebooks", "notebooks/solutions"] {
            let page = Path::new(folder).join(name);
            assert!(course.pages.contains_key(&page), "{} is missing", page.display());
        }
    }
    assert_eq!(missing, course.counts.missing_figures);
}

#[test]
fn each_file_is_in_the_summary() {
    let summary = fs::read_to_string(repository().join("tutorials/src/SUMMARY.md")).unwrap();
    for file in files(&repository().join("tutorials/src")) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        if name.ends_with(".md") && name != "SUMMARY.md" {
            assert!(summary.contains(&format!("({name})")), "{name} is not in SUMMARY.md");
        }
    }
}

#[test]
fn each_reference_is_in_the_bibliography() {
    let bibliography = fs::read_to_string(repository().join("tutorials/src/bibliography.md")).unwrap();
    for file in files(&repository().join("tutorials/src")) {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let Some((_, references)) = text.split_once("\n## References\n") else { continue };
        for entry in references.lines().filter_map(|line| line.strip_prefix("- ")) {
            let who = entry.split(". *").next().unwrap();
            assert!(bibliography.contains(&format!("- {who}. *")), "{}: {who} is missing", file.display());
        }
    }
}

#[test]
fn nothing_of_one_machine_is_in_the_book() {
    for (name, text) in &course().pages {
        let here = repository().to_string_lossy();
        assert!(!text.contains(&*here), "{}: a path of this machine", name.display());
    }
}
