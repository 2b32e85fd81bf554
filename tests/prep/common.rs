//! What the tests share.

use genailab::{
    data::{Counts, Dataset, Perturbation, Table},
    ndarray::{Array1, Array2},
};
use std::path::PathBuf;

/// A file of the shared test data, or `None` (and a loud word) where it is not there.
pub fn shared_path(file: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("GENAILAB_TEST_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let path = folder.join(file);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: {} is not there; set GENAILAB_TEST_DATA to the folder that holds it", path.display());
    None
}

/// A cells dataset of the shared test data.
pub fn shared_data(name: &str) -> Option<Dataset> {
    shared_path(&format!("{name}.h5ad")).map(|path| Dataset::open(path).expect("a valid dataset"))
}

/// The numbers of `tests/reference/hvg.py`.
pub fn reference() -> serde_json::Value {
    serde_json::from_str(include_str!("../reference/hvg.json")).expect("the file is JSON")
}

/// A dataset of these genes and cells (perturbation, counts); library sizes are row sums.
pub fn dataset<const GENES: usize>(genes: &[&str; GENES], cells: &[(&str, [f32; GENES])]) -> Dataset {
    let dense = Array2::from_shape_fn((cells.len(), GENES), |(cell, gene)| cells[cell].1[gene]);
    let of = |name: &str| if name == "control" { Perturbation::control() } else { Perturbation::of(name.split('+')) };
    let labels: Vec<Perturbation> = cells.iter().map(|(name, _)| of(name)).collect();
    let genes = Table::from_names(genes.iter().map(ToString::to_string).collect());
    let names = Table::from_names((0..cells.len()).map(|cell| format!("c{cell}")).collect());
    Dataset::new(Counts::from_dense(&dense), genes, names, &labels, None, None).expect("the parts fit")
}

/// Fails unless both are NaN, or equal to `tolerance` relative to `expected` (or to 0.001 if that is larger).
pub fn close(what: &str, ours: f64, expected: f64, tolerance: f64) {
    let error = (ours - expected).abs() / expected.abs().max(1e-3);
    assert!(error <= tolerance || ours.is_nan() && expected.is_nan(), "{what}: {ours}, expected {expected}");
}

/// Pearson correlation.
pub fn pearson(a: &Array1<f64>, b: &Array1<f64>) -> f64 {
    let (a, b) = (a - a.mean().expect("not empty"), b - b.mean().expect("not empty"));
    a.dot(&b) / (a.dot(&a) * b.dot(&b)).sqrt()
}
