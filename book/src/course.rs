//! The preprocessor that mdBook runs: each chapter made ready, each notebook a page below its chapter.

use crate::links::CHAPTERS;
use crate::markdown::{self, Place};
use crate::maths::Maths;
use crate::notebook::Notebook;
use anyhow::{Context, Result, bail};
use mdbook_preprocessor::book::{Book, BookItem, Chapter};
use mdbook_preprocessor::{Preprocessor, PreprocessorContext};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What a build made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Chapters, notebooks and solutions.
    pub pages: usize,
    /// Formulas, in a line or as a display.
    pub formulas: usize,
    /// Figures of the chapters.
    pub figures: usize,
    /// Notes of the chapters in place of a figure of a notebook that stores no outputs.
    pub missing_figures: usize,
}

/// What the preprocessor hands over: mdBook knows no way for it.
#[derive(Default)]
pub struct Gathered {
    /// Files to write, with their paths relative to the book.
    pub files: Vec<(PathBuf, Vec<u8>)>,
    /// What was made.
    pub counts: Counts,
}

/// What each page may need while it is made.
pub struct Site<'a> {
    /// The root of the repository.
    pub repository: &'a Path,
    /// Renders formulas.
    pub maths: Maths,
    /// The notebooks by their names, such as `01_perturb_seq_data`.
    pub notebooks: &'a BTreeMap<String, Notebook>,
    gathered: &'a Mutex<Gathered>,
}

impl Site<'_> {
    /// Changes the counts.
    pub fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.gathered.lock().expect("no thread panicked").counts);
    }

    /// Adds a file to the book.
    pub fn write(&self, path: PathBuf, bytes: Vec<u8>) {
        self.gathered.lock().expect("no thread panicked").files.push((path, bytes));
    }
}

/// The preprocessor.
pub struct CoursePages {
    repository: PathBuf,
    notebooks: BTreeMap<String, Notebook>,
    solutions: BTreeMap<String, Notebook>,
    gathered: Arc<Mutex<Gathered>>,
}

impl CoursePages {
    /// Reads all notebooks of the repository.
    pub fn new(repository: &Path) -> Result<Self> {
        Ok(Self {
            notebooks: read_all(&repository.join("notebooks"))?,
            solutions: read_all(&repository.join("notebooks/solutions"))?,
            repository: repository.to_path_buf(),
            gathered: Arc::default(),
        })
    }

    /// Where the files and counts are after the run.
    pub fn gathered(&self) -> Arc<Mutex<Gathered>> {
        Arc::clone(&self.gathered)
    }

    fn chapters(&self, site: &Site<'_>, items: &mut [BookItem]) -> Result<()> {
        for item in items {
            let BookItem::Chapter(chapter) = item else { continue };
            self.chapters(site, &mut chapter.sub_items)?;
            let Some(path) = chapter.path.clone() else { continue };
            let folder = Path::new(CHAPTERS).join(path.parent().unwrap_or(Path::new("")));
            let place = Place { page: &path, folder: &folder };
            chapter.content =
                markdown::prepare(site, place, &chapter.content).with_context(|| path.display().to_string())?;
            site.count(|counts| counts.pages += 1);
            self.add_notebooks(site, chapter, &path)?;
        }
        Ok(())
    }

    /// Adds the notebook, and its solutions, whose number the chapter's file begins with.
    fn add_notebooks(&self, site: &Site<'_>, chapter: &mut Chapter, path: &Path) -> Result<()> {
        let name = path.to_string_lossy();
        let Some((number, _)) = name.split_once('_').filter(|(number, _)| number.parse::<u8>().is_ok()) else {
            return Ok(());
        };
        for (notebooks, folder, title) in
            [(&self.notebooks, "notebooks", "Notebook"), (&self.solutions, "notebooks/solutions", "Solutions")]
        {
            let Some((name, notebook)) = notebooks.iter().find(|(name, _)| name.starts_with(number)) else {
                continue;
            };
            let page = Path::new(folder).join(name).with_extension("md");
            let place = Place { page: &page, folder: Path::new(folder) };
            let text = notebook.page(site, place, name).with_context(|| page.display().to_string())?;
            let parents = chapter.parent_names.iter().cloned().chain([chapter.name.clone()]).collect();
            let mut added = Chapter::new(&format!("{title} {number}"), text, page.clone(), parents);
            if let Some(section) = &chapter.number {
                let mut numbers = section.to_vec();
                numbers.push(chapter.sub_items.len() as u32 + 1);
                added.number = Some(mdbook_preprocessor::book::SectionNumber::new(numbers));
            }
            chapter.sub_items.push(BookItem::Chapter(added));
            site.count(|counts| counts.pages += 1);
        }
        Ok(())
    }
}

impl Preprocessor for CoursePages {
    fn name(&self) -> &str {
        "course"
    }

    fn run(&self, _: &PreprocessorContext, mut book: Book) -> Result<Book> {
        let site = Site {
            repository: &self.repository,
            maths: Maths::new()?,
            notebooks: &self.notebooks,
            gathered: &self.gathered,
        };
        self.chapters(&site, &mut book.items)?;
        Ok(book)
    }
}

fn read_all(folder: &Path) -> Result<BTreeMap<String, Notebook>> {
    let mut notebooks = BTreeMap::new();
    for file in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = file?.path();
        if path.extension().is_none_or(|ending| ending != "ipynb") {
            continue;
        }
        let Some(name) = path.file_stem().and_then(|name| name.to_str()) else {
            bail!("{} has a name that is no text", path.display());
        };
        notebooks.insert(name.to_owned(), Notebook::open(&path)?);
    }
    Ok(notebooks)
}
