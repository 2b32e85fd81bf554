//! Formats that are not read, each with the line that converts it: Python, R, or the program that unpacks it.

use super::{super::hdf, text};
use crate::Error;
use std::path::Path;

/// An error for a file of a known format that is not read, by its first bytes.
pub(super) fn known(path: &Path, start: &[u8]) -> Option<Error> {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
    if is_of_r(start, &ending) {
        return Some(r(path));
    }
    if let Some((what, command)) = packed(path, start) {
        return Some(Error::data(format!("{} is {what}; unpack it first: {command}", path.display())));
    }
    let name = quoted(path);
    let is = |magic: &[u8]| start.starts_with(magic);
    let (what, load) = if is(b"PK") && contains(start, b".npy") {
        (
            "a NumPy archive (without the names of cells and genes)",
            format!("import anndata, scipy.sparse as s; anndata.AnnData(s.load_npz({name}).tocsr())"),
        )
    } else if is(b"PK") {
        ("a workbook", format!("import anndata, pandas as p; anndata.AnnData(p.read_excel({name}, index_col=0))"))
    } else if is(b"\x93NUMPY") {
        (
            "a NumPy array (without the names of cells and genes)",
            format!("import anndata, numpy as n; anndata.AnnData(n.load({name}))"),
        )
    } else if is(b"PAR1") {
        ("a Parquet table", format!("import anndata, pandas as p; anndata.AnnData(p.read_parquet({name}))"))
    } else if is(b"ARROW1") || is(b"FEA1") {
        ("an Arrow table", format!("import anndata, pandas as p; anndata.AnnData(p.read_feather({name}))"))
    } else if is(b"\x80") && ["pkl", "pickle"].contains(&ending.as_str()) {
        ("a Python pickle", format!("import pickle; pickle.load(open({name}, 'rb'))"))
    } else {
        return None;
    };
    Some(python(path, what, &load))
}

/// A folder that is a Zarr store.
pub(super) fn zarr(path: &Path) -> Error {
    python(path, "a Zarr store", &format!("import anndata; anndata.read_zarr({})", quoted(path)))
}

/// An `.h5seurat`.
pub(super) fn seurat(path: &Path) -> Error {
    Error::data(format!(
        "{} is an h5Seurat file, which is not read; write an .h5ad with R: Rscript -e 'SeuratDisk::Convert({}, dest = \"h5ad\")'",
        path.display(),
        double_quoted(path)
    ))
}

fn is_of_r(start: &[u8], ending: &str) -> bool {
    let is = |magic: &[u8]| start.starts_with(magic);
    let is_compressed = is(b"\x1f\x8b") || is(b"BZh") || is(b"\xfd7zXZ");
    is(b"RDX") || is(b"RDA") || is(b"X\n\0\0") || (is_compressed && ["rds", "rdata", "rda", "qs"].contains(&ending))
}

/// Archives, and HDF5 files that were compressed as a whole.
fn packed(path: &Path, start: &[u8]) -> Option<(&'static str, String)> {
    let name = path.display();
    if start.starts_with(b"\x1f\x8b") {
        let inside = text::decompressed(path);
        return match () {
            () if inside.starts_with(hdf::SIGNATURE.as_slice()) => {
                Some(("an HDF5 file compressed by gzip", format!("gunzip {name}")))
            }
            () if is_tar(&inside) => Some(("a tar archive", format!("tar -xzf {name}"))),
            () => None,
        };
    }
    if is_tar(start) {
        return Some(("a tar archive", format!("tar -xf {name}")));
    }
    let is_zip =
        start.starts_with(b"PK\x03\x04") && !contains(start, b".npy") && !contains(start, b"[Content_Types].xml");
    is_zip.then(|| ("a zip archive", format!("unzip {name}")))
}

fn is_tar(start: &[u8]) -> bool {
    start.get(257..262) == Some(b"ustar")
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|part| part == wanted)
}

/// `load` is Python that ends with an AnnData.
fn python(path: &Path, what: &str, load: &str) -> Error {
    let out = quoted(&path.with_extension("h5ad"));
    Error::data(format!(
        "{} is {what}, which is not read; write an .h5ad with Python: python -c \"{load}.write_h5ad({out})\"",
        path.display()
    ))
}

fn r(path: &Path) -> Error {
    Error::data(format!(
        "{} is a file of R, which is not read; write an .h5ad with R (Bioconductor's zellkonverter): Rscript -e 'x <- readRDS({}); \
         if (inherits(x, \"Seurat\")) x <- Seurat::as.SingleCellExperiment(x); zellkonverter::writeH5AD(x, {})'",
        path.display(),
        double_quoted(path),
        double_quoted(&path.with_extension("h5ad"))
    ))
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display())
}

fn double_quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}
