//! Formats other than `.h5ad`, recognised by content and read as AnnData: 10x `.h5`, `.h5mu`, loom, MatrixMarket folders, text
//! tables. What is not read is refused with the line that converts it.

mod delimited;
mod loom;
mod mtx;
mod orientation;
mod refused;
mod tenx;
mod text;

pub(super) use delimited::{ORIENTATION, table, transpose};
pub(super) use loom::LoomMatrix;
pub(super) use mtx::Mtx;

use super::{column::Frame, hdf, source::Matrix};
use crate::{Error, Result};
use hdf5::{File, LocationType};
use std::{
    io::Read,
    path::{Path, PathBuf},
};

/// Files named so are HDF5 or damaged, whatever their content looks like.
const HDF5_ENDINGS: [&str; 6] = ["h5ad", "h5", "h5mu", "loom", "hdf5", "h5seurat"];
/// The modality of a `.h5mu` that is read where none is named.
const GENE_EXPRESSION: &str = "rna";
/// Bytes that a format is recognised by.
const START: usize = 4096;

/// A file whose format is known.
pub(super) enum Found {
    /// An `.h5ad`.
    AnnData(File),
    /// An `.h5mu`, and the modality to read.
    Modality { file: File, name: String },
    /// Any other.
    Parts(Box<Parts>),
}

/// What formats without `uns`, `obsm` and `raw` hold.
pub(super) struct Parts {
    pub(super) obs: Frame,
    pub(super) var: Frame,
    pub(super) x: Option<Matrix>,
    pub(super) layers: Vec<(String, Matrix)>,
    pub(super) notes: Vec<String>,
}

fn parts(parts: Parts) -> Found {
    Found::Parts(Box::new(parts))
}

/// Recognises the format of a file or folder, and opens it.
///
/// # Errors
/// A path that is not there, a format that is not read, a damaged file.
pub(super) fn find(path: &Path) -> Result<Found> {
    let (file, part) = split(path);
    if file.is_dir() {
        return mtx::open_folder(&file).map(parts);
    }
    let start = beginning(&file)?;
    let ending = file.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
    if HDF5_ENDINGS.contains(&ending.as_str()) || start.starts_with(hdf::SIGNATURE.as_slice()) {
        return hdf5_file(&file, part.as_deref());
    }
    if let Some(error) = refused::known(&file, &start) {
        return Err(error);
    }
    let opened = match text::beginning(&file, &start) {
        Some(text) if text.starts_with(mtx::BANNER) => mtx::open_file(&file),
        Some(text) if delimited::looks_like_table(&text) => delimited::open(&file),
        _ => return hdf5_file(&file, part.as_deref()),
    };
    opened.map(parts).map_err(|e| e.at(file.display()))
}

/// `FILE:PART` where there is no file of the whole name: a modality, a genome.
fn split(path: &Path) -> (PathBuf, Option<String>) {
    if !path.exists()
        && let Some((file, part)) = path.to_str().and_then(|whole| whole.rsplit_once(':'))
        && Path::new(file).is_file()
        && !part.is_empty()
    {
        return (PathBuf::from(file), Some(part.to_owned()));
    }
    (path.to_owned(), None)
}

fn beginning(path: &Path) -> Result<Vec<u8>> {
    let failed = |e| Error::io("read", path, e);
    let mut start = Vec::new();
    std::fs::File::open(path).map_err(failed)?.take(START as u64).read_to_end(&mut start).map_err(failed)?;
    Ok(start)
}

/// Tells the formats that are HDF5 files apart.
fn hdf5_file(path: &Path, part: Option<&str>) -> Result<Found> {
    let file = hdf::open(path)?;
    let here = |e: Error| e.at(path.display());
    let is = |name: &str, kind| hdf::kind_of(&file, name) == Some(kind);
    if is("mod", LocationType::Group) {
        let name = part.unwrap_or(GENE_EXPRESSION).to_owned();
        return Ok(Found::Modality { file, name });
    }
    if hdf::kind_of(&file, "obs").is_some() && hdf::kind_of(&file, "var").is_some() {
        return match part {
            None => Ok(Found::AnnData(file)),
            Some(part) => Err(here(Error::config(format!(
                "this is an .h5ad file, which has no modalities: leave `:{part}` away"
            )))),
        };
    }
    if is("row_attrs", LocationType::Group) && is("col_attrs", LocationType::Group) {
        return loom::open(&file).map(parts).map_err(here);
    }
    if let Some(parts) = tenx::open(&file, part).map_err(here)? {
        return Ok(Found::Parts(Box::new(parts)));
    }
    if is("assays", LocationType::Group) || is("cell.names", LocationType::Dataset) {
        return Err(refused::seurat(path));
    }
    let names = hdf::members(&file).map_err(here)?;
    Err(here(Error::data(format!(
        "this is an HDF5 file but not an AnnData (.h5ad) file, which needs `obs` and `var`, nor MuData (`mod`), 10x (`matrix`) or \
         loom (`row_attrs`): it holds {}",
        if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
    ))))
}
