//! Reading and writing `.h5ad`: files made here, real ones, damaged ones, and those that Python makes and reads.

mod damage;
mod datasets;
mod forms;
mod python;

use genailab::{
    data::{Counts, Dataset, Perturbation, Table},
    ndarray::array,
};
use std::path::PathBuf;

/// Real files, or `None` (said loudly) where there are none.
fn real_data(test: &str) -> Option<PathBuf> {
    let folder = match std::env::var_os("GENAILAB_TEST_DATA") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
    };
    if folder.join("norman_cells.h5ad").exists() {
        return Some(folder);
    }
    eprintln!("SKIPPED {test}: no real data at {} (set GENAILAB_TEST_DATA)", folder.display());
    None
}

/// All `.h5ad` files of the real data.
fn real_files(test: &str) -> Vec<PathBuf> {
    let Some(folder) = real_data(test) else { return Vec::new() };
    let list = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    list(folder.clone())
        .chain(list(folder.join("interop")))
        .filter(|path| path.extension().is_some_and(|extension| extension == "h5ad"))
        .collect()
}

fn names(prefix: &str, n: usize) -> Vec<String> {
    (0..n).map(|i| format!("{prefix}{i}")).collect()
}

/// Six cells, four genes: control, A, A+B, B, control, A.
fn small() -> Dataset {
    let counts = Counts::from_dense(&array![
        [1.0, 0.0, 2.0, 0.0],
        [0.0, 5.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0],
        [3.0, 0.0, 0.0, 4.0],
        [0.0, 0.0, 7.0, 0.0],
        [1.0, 1.0, 1.0, 1.0],
    ]);
    let labels: Vec<Perturbation> =
        ["control", "A", "B+A", "B", "ctrl", "A"].iter().map(|label| label.parse().expect("a label")).collect();
    let lanes: Vec<String> = ["x", "y", "x", "y", "x", "y"].map(str::to_owned).to_vec();
    let sizes = vec![10.0, 11.0, 12.0, 13.0, 14.0, 15.0];
    let (genes, cells) = (Table::from_names(names("gene", 4)), Table::from_names(names("cell", 6)));
    Dataset::new(counts, genes, cells, &labels, Some(&lanes), Some(sizes)).expect("the parts fit")
}
