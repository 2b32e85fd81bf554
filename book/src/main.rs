//! `genailab-book [DESTINATION]`: renders the course into `tutorials/book`, or into the folder that is given.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

fn main() -> Result<()> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the crate lies in the repository")?;
    let destination = match std::env::args_os().nth(1) {
        Some(folder) => std::env::current_dir()?.join(PathBuf::from(folder)),
        None => repository.join("tutorials/book"),
    };
    let counts = genailab_book::build(repository, &destination)?;
    println!(
        "{}: {} pages, {} formulas, {} figures, {} notes in place of a figure",
        destination.join("index.html").display(),
        counts.pages,
        counts.formulas,
        counts.figures,
        counts.missing_figures
    );
    Ok(())
}
