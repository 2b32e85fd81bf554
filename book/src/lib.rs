//! Renders the course as a website that needs no network: the chapters of `tutorials/`, and each notebook as a page.
//!
//! mdBook makes the pages, the search and the navigation. [`CoursePages`] is a preprocessor that mdBook calls before:
//!
//! | module | what it does |
//! |---|---|
//! | [`maths`] | TeX to HTML, by KaTeX itself, when the book is built |
//! | [`notebook`] | a notebook's cells and stored outputs to Markdown |
//! | [`markdown`] | formulas, links and figures of one page |
//! | [`links`] | where a link leads on the website |
//! | [`course`] | walks over the book, and adds the notebooks' pages |
//! | [`check`] | finds broken links in the rendered pages |
//! | [`warnings`] | makes errors of what mdBook only warns of |

pub mod check;
pub mod course;
pub mod links;
pub mod markdown;
pub mod maths;
pub mod notebook;
pub mod warnings;

use anyhow::{Context, Result};
pub use course::{Counts, CoursePages};
use mdbook_driver::MDBook;
use mdbook_driver::config::Config;
use std::fs;
use std::path::Path;

/// Renders the book of the repository at `repository` into the folder `destination`, which is emptied first.
///
/// Fails if a formula is not understood, a link leads nowhere, a figure is not stored in its notebook, or mdBook warns.
pub fn build(repository: &Path, destination: &Path) -> Result<Counts> {
    let root = repository.join("tutorials");
    let mut config = Config::from_disk(root.join("book.toml"))?;
    config.build.build_dir = destination.to_path_buf();
    let pages = CoursePages::new(repository)?;
    let gathered = pages.gathered();
    let mut book = MDBook::load_with_config(&root, config)?;
    book.with_preprocessor(pages);
    warnings::refused(|| book.build())?;

    // mdBook empties the folder first, so what it does not know comes after it.
    copy_katex(destination)?;
    let gathered = gathered.lock().expect("no thread panicked");
    for (path, bytes) in &gathered.files {
        write(&destination.join(path), bytes)?;
    }
    check::links(destination)?;
    Ok(gathered.counts)
}

/// KaTeX's style sheet and fonts, of the same version as the script that [`maths`] runs.
fn copy_katex(destination: &Path) -> Result<()> {
    let vendored = Path::new(env!("CARGO_MANIFEST_DIR")).join("katex");
    let to = destination.join("katex");
    for name in ["katex.min.css", "LICENSE"] {
        write(&to.join(name), &fs::read(vendored.join(name))?)?;
    }
    for font in fs::read_dir(vendored.join("fonts"))? {
        let font = font?.path();
        let name = font.file_name().context("a font has a name")?;
        write(&to.join("fonts").join(name), &fs::read(&font)?)?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
