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
    shared_path(&format!("{name}.h5ad")).map(|path| open(path))
}

/// The numbers of `tests/reference/hvg.py`.
pub fn reference() -> serde_json::Value {
    serde_json::from_str(include_str!("../reference/hvg.json")).expect("the file is JSON")
}

/// A dataset of these genes and cells (perturbation, counts); library sizes are row sums.
pub fn dataset<const GENES: usize>(genes: &[&str; GENES], cells: &[(&str, [f32; GENES])]) -> Dataset {
    let dense = Array2::from_shape_fn((cells.len(), GENES), |(cell, gene)| cells[cell].1[gene]);
    let of = |name: &str| if name == "control" { Perturbation::control() } else { Perturbation::of(name.split('+')) };
    let mut perturbations: Vec<Perturbation> = cells.iter().map(|(name, _)| of(name)).collect();
    perturbations.sort();
    perturbations.dedup();
    let labels = cells
        .iter()
        .map(|(name, _)| perturbations.iter().position(|known| *known == of(name)).expect("listed") as u32)
        .collect();
    let counts = Counts::from_dense(&dense);
    Dataset {
        library_size: counts.row_sums(),
        counts,
        genes: Table::from_names(genes.iter().map(ToString::to_string).collect()),
        cells: Table::from_names((0..cells.len()).map(|cell| format!("c{cell}")).collect()),
        perturbations,
        labels,
        lanes: vec!["all".to_owned()],
        lane_of: vec![0; cells.len()],
    }
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

pub fn open(path: PathBuf) -> Dataset {
    let f = hdf5::File::open(path).unwrap();
    let r = |n: &str| f.dataset(n).unwrap();
    let indptr: Vec<usize> = r("X/indptr").read_raw::<i64>().unwrap().into_iter().map(|x| x as usize).collect();
    let indices: Vec<u32> = r("X/indices").read_raw::<i64>().unwrap().into_iter().map(|x| x as u32).collect();
    let values: Vec<f32> = r("X/data").read_raw::<f32>().unwrap();
    let strings = |n: &str| -> Vec<String> {
        r(n).read_raw::<hdf5::types::VarLenUnicode>().unwrap().into_iter().map(|x| x.to_string()).collect()
    };
    let genes = strings(&format!(
        "var/{}",
        f.group("var").unwrap().attr("_index").unwrap().read_scalar::<hdf5::types::VarLenUnicode>().unwrap()
    ));
    let codes: Vec<i64> = r("obs/perturbation/codes").read_raw().unwrap();
    let cats = strings("obs/perturbation/categories");
    let of = |name: &str| if name == "control" { Perturbation::control() } else { Perturbation::of(name.split('+')) };
    let mut perturbations: Vec<Perturbation> = cats.iter().map(|n| of(n)).collect();
    perturbations.sort();
    let labels: Vec<u32> =
        codes.iter().map(|&c| perturbations.iter().position(|p| *p == of(&cats[c as usize])).unwrap() as u32).collect();
    let counts = Counts::new(genes.len(), indptr, indices, values).unwrap();
    let n = counts.n_cells();
    let library_size = r_opt(&f, "obs/ncounts").unwrap_or_else(|| counts.row_sums());
    let mut cells = Table::from_names((0..n).map(|c| c.to_string()).collect());
    if let Some(x) = r_opt(&f, "obs/ngenes") {
        cells.set("ngenes", genailab::data::Column::Float(x.iter().map(|&x| x.into()).collect()));
    }
    Dataset {
        counts,
        genes: Table::from_names(genes),
        cells,
        perturbations,
        labels,
        lanes: vec!["all".into()],
        lane_of: vec![0; n],
        library_size,
    }
}
fn r_opt(f: &hdf5::File, n: &str) -> Option<Vec<f32>> {
    f.dataset(n).ok().map(|d| d.read_raw::<f32>().unwrap())
}
