//! Reading and writing `.h5ad`: files made here, real ones, damaged ones, and those that Python makes and reads.

mod damage;
mod datasets;
mod forms;
mod large;
mod python;

use crate::common::real_data;
use genailab::{
    data::{Counts, Dataset, Perturbation, Table},
    ndarray::array,
};
use std::path::PathBuf;

/// All `.h5ad` files of the real data.
fn real_files() -> Vec<PathBuf> {
    // `interop`: files that other programs wrote.
    let folders = ["", "interop"].map(real_data).into_iter().flatten();
    folders
        .flat_map(|folder| std::fs::read_dir(folder).expect("a folder"))
        .map(|entry| entry.expect("readable").path())
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
