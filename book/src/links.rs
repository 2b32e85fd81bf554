//! Where a link of the repository leads on the website.
//!
//! The Markdown files and notebooks link to each other, and to source files, by paths that hold in the repository. On
//! the website a chapter and a notebook are pages; a source file is not there, so its path is shown as text.

use anyhow::{Result, bail};
use std::path::{Component, Path, PathBuf};

/// The chapters' folder in the repository.
pub const CHAPTERS: &str = "tutorials/src";

/// What a link becomes.
#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    /// Stays as it is: another website, or a place on the same page.
    Unchanged,
    /// A page or file of the book, relative to the page that links, with its anchor.
    Page(String),
    /// A file of the repository, to be shown by its path from the repository's root.
    Source(String),
}

/// Finds where `link` leads that stands on the page `page` (relative to the book), whose file lies in the folder
/// `folder` of the repository. Fails if there is no such file.
pub fn target(repository: &Path, page: &Path, folder: &Path, link: &str) -> Result<Target> {
    if link.starts_with('#') || link.contains("://") || link.starts_with("mailto:") {
        return Ok(Target::Unchanged);
    }
    let (path, anchor) = match link.split_once('#') {
        Some((path, anchor)) => (path, format!("#{anchor}")),
        None => (link, String::new()),
    };
    let path = normal(&folder.join(path));
    if !repository.join(&path).exists() {
        bail!("the link {link} leads to {}, which does not exist", path.display());
    }
    Ok(match page_of(&path) {
        Some(to) => Target::Page(relative(page, &to) + &anchor),
        None => Target::Source(slashes(&path)),
    })
}

/// The page of the book that shows the file `path` of the repository, if one does.
pub fn page_of(path: &Path) -> Option<PathBuf> {
    if let Ok(chapter) = path.strip_prefix(CHAPTERS) {
        // mdBook makes the navigation of it, and no page.
        return (chapter != Path::new("SUMMARY.md")).then(|| chapter.to_path_buf());
    }
    let is_notebook = path.starts_with("notebooks") && path.extension().is_some_and(|e| e == "ipynb");
    is_notebook.then(|| path.with_extension("md"))
}

/// The path from the page `from` to the file `to`, both relative to the book.
pub fn relative(from: &Path, to: &Path) -> String {
    let up = from.components().count() - 1;
    "../".repeat(up) + &slashes(to)
}

/// Removes `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::Normal(name) => out.push(name),
            _ => {}
        }
    }
    out
}

fn slashes(path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(page: &str, folder: &str, link: &str) -> Target {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        target(repository, Path::new(page), Path::new(folder), link).unwrap()
    }

    #[test]
    fn links_of_a_chapter() {
        let from = |link| of("03_honest_benchmarks.md", CHAPTERS, link);
        assert_eq!(from("#chance"), Target::Unchanged);
        assert_eq!(from("02_count_vae.md#asking"), Target::Page("02_count_vae.md#asking".into()));
        assert_eq!(
            from("../../notebooks/00_rust_notebooks.ipynb"),
            Target::Page("notebooks/00_rust_notebooks.md".into())
        );
        assert_eq!(from("../../src/lib.rs"), Target::Source("src/lib.rs".into()));
    }

    #[test]
    fn links_of_a_notebook() {
        let from = |link| of("notebooks/00_rust_notebooks.md", "notebooks", link);
        assert_eq!(from("../tutorials/src/02_count_vae.md"), Target::Page("../02_count_vae.md".into()));
        assert_eq!(
            from("solutions/00_rust_notebooks.ipynb#x"),
            Target::Page("../notebooks/solutions/00_rust_notebooks.md#x".into())
        );
    }

    #[test]
    fn a_link_that_leads_nowhere_is_an_error() {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let error = target(repository, Path::new("a.md"), Path::new(CHAPTERS), "../../src/no.rs").unwrap_err();
        assert!(error.to_string().contains("src/no.rs"), "{error}");
    }
}
