//! Public data: a file may be given by the name that the manifest has for it.

use crate::provenance;
use genailab::{
    Result,
    data::fetch::{FetchOptions, Manifest, cache_dir, fetch_source},
};
use std::path::{Path, PathBuf};

/// Reads the path of a data file. The name of a public dataset is the path that it is fetched to when it is opened.
pub fn data_file(text: &str) -> Result<PathBuf> {
    let path = PathBuf::from(text);
    match Manifest::current()?.find(text) {
        Ok(source) if !path.exists() => Ok(cache_dir()?.join(&source.file)),
        _ => Ok(path),
    }
}

/// Fetches a public dataset that was asked for by its name, or verifies it where it is there. Every data file passes here.
pub fn fetch_if_public(file: &Path) -> Result<()> {
    provenance::reads(file)?;
    let Ok(dir) = cache_dir() else { return Ok(()) };
    if file.parent() != Some(&dir) {
        return Ok(());
    }
    let manifest = Manifest::current()?;
    let public = manifest.datasets.iter().find(|source| file.ends_with(&source.file));
    public.map_or(Ok(()), |source| fetch_source(source, &dir, &FetchOptions::default()).map(drop))
}
