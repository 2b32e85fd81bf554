//! `genailab datasets`.

use genailab::data::fetch::{Manifest, Source, cache_dir};
use std::{fmt::Write, fs, path::Path};

/// List the public datasets that `genailab fetch` knows, and which of them are here.
#[derive(clap::Args)]
pub struct Args {}

pub fn run(_args: &Args) -> genailab::Result<()> {
    let (manifest, cache) = (Manifest::current()?, cache_dir()?);
    let mut text = format!("{:<24} {:>9}  {:>19}  {:<10} here\n", "name", "download", "cells x genes", "licence");
    for source in &manifest.datasets {
        let _ = writeln!(
            text,
            "{:<24} {:>9}  {:>19}  {:<10} {}\n    {}\n    {}",
            source.name,
            source.size.map_or("?".to_owned(), megabytes),
            match (source.cells, source.genes) {
                (Some(cells), Some(genes)) => format!("{cells} x {genes}"),
                _ => "?".to_owned(),
            },
            source.licence,
            state(source, &cache),
            source.title,
            source.citation
        );
    }
    let _ = writeln!(text, "\n`genailab fetch NAME` puts a dataset into {}", cache.display());
    crate::print(&text)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.0} MB", bytes as f64 / 1e6)
}

fn state(source: &Source, cache: &Path) -> String {
    let length = |name: &str| fs::metadata(cache.join(name)).ok().map(|metadata| metadata.len());
    match (length(&source.file), length(&format!("{}.part", source.file))) {
        (Some(_), _) => "yes".to_owned(),
        (None, Some(part)) => format!("{} so far", megabytes(part)),
        (None, None) => "no".to_owned(),
    }
}
