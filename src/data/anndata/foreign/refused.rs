//! Formats that are not read, each with the line of Python or R that converts it.

use crate::Error;
use std::path::Path;

/// An error for a file of a known format that is not read, by its first bytes.
pub(super) fn known(path: &Path, start: &[u8]) -> Option<Error> {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
    let is_compressed = [&b"\x1f\x8b"[..], b"BZh", b"\xfd7zXZ"].iter().any(|magic| start.starts_with(magic));
    let is_r = start.starts_with(b"RDX") || start.starts_with(b"X\n\0\0") || start.starts_with(b"RDA");
    if is_r || (is_compressed && ["rds", "rdata", "rda", "qs"].contains(&ending.as_str())) {
        return Some(r(path));
    }
    if start.starts_with(b"PK\x03\x04") {
        let is_arrays = start.windows(4).any(|bytes| bytes == b".npy");
        let (what, load) = match is_arrays {
            true => (
                "a NumPy archive (.npz), which names neither cells nor genes",
                format!("import anndata, scipy.sparse as s; anndata.AnnData(s.load_npz({})", quoted(path))
                    + ".tocsr())",
            ),
            false => (
                "a workbook (.xlsx)",
                format!("import anndata, pandas as p; anndata.AnnData(p.read_excel({}, index_col=0))", quoted(path)),
            ),
        };
        return Some(python(path, what, &load));
    }
    let name = quoted(path);
    let (what, load) = match start {
        _ if start.starts_with(b"\x93NUMPY") => (
            "a NumPy array, which names neither cells nor genes",
            format!("import anndata, numpy as n; anndata.AnnData(n.load({name}))"),
        ),
        _ if start.starts_with(b"PAR1") => {
            ("a Parquet table", format!("import anndata, pandas as p; anndata.AnnData(p.read_parquet({name}))"))
        }
        _ if start.starts_with(b"ARROW1") || start.starts_with(b"FEA1") => (
            "an Arrow table",
            format!("import anndata, pandas as p; anndata.AnnData(p.read_feather({name}).set_index('index'))"),
        ),
        _ if start.starts_with(b"\x80") && ["pkl", "pickle"].contains(&ending.as_str()) => {
            ("a Python pickle", format!("import pickle; pickle.load(open({name}, 'rb'))"))
        }
        _ => return None,
    };
    Some(python(path, what, &load))
}

/// A folder that is a Zarr store.
pub(super) fn zarr(path: &Path) -> Error {
    python(path, "a Zarr store", &format!("import anndata; anndata.read_zarr({})", quoted(path)))
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

/// An `.h5seurat`.
pub(super) fn seurat(path: &Path) -> Error {
    Error::data(format!(
        "{} is an h5Seurat file, which is not read; write an .h5ad with R: Rscript -e 'SeuratDisk::Convert({}, dest = \"h5ad\")'",
        path.display(),
        double_quoted(path)
    ))
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display())
}

fn double_quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}
