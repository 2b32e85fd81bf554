//! What the tests share.

use genailab::{
    data::{Effects, Opened, Perturbation, Split},
    eval::benchmark::{BenchmarkData, Task},
};
use std::{collections::BTreeMap, path::PathBuf};

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

/// The effects of Norman 2019.
pub fn norman() -> Option<Effects> {
    shared_path("norman_pseudobulk.h5ad").map(|path| Effects::open(path).expect("a valid effects dataset"))
}

/// The task that trains on all perturbations but those of `test`.
pub fn task(data: &Effects, test: &[Perturbation], left_out: &[Perturbation]) -> Task {
    let mut data = data.clone();
    let kept: Vec<usize> =
        (0..data.perturbations.len()).filter(|&row| !left_out.contains(&data.perturbations[row])).collect();
    data.values = data.values.select(genailab::ndarray::Axis(0), &kept);
    data.perturbations = kept.iter().map(|&row| data.perturbations[row].clone()).collect();
    data.table = data.table.select(&kept);
    let (test, train) = (0..kept.len()).partition(|&row| test.contains(&data.perturbations[row]));
    let split = Split { train, validation: Vec::new(), test };
    let data = BenchmarkData::new(Opened::Effects(data), None).expect("effects need nothing");
    Task::new(&data, &split, &BTreeMap::new(), 0).expect("the split fits")
}
