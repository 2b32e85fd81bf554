//! What the tests share.

use crate::common::real_data;
use genailab::{
    data::{Column, Counts, Dataset, Effects, NamedSplit, Perturbation, Table},
    ndarray::{Array1, Array2},
};
use std::collections::BTreeMap;

/// A cells dataset of the shared test data.
pub fn shared_data(name: &str) -> Option<Dataset> {
    real_data(&format!("{name}.h5ad")).map(|path| Dataset::open(path).expect("a valid dataset"))
}

/// The numbers of `tests/reference/hvg.py`.
pub fn reference() -> serde_json::Value {
    serde_json::from_str(include_str!("../reference/hvg.json")).expect("the file is JSON")
}

/// A dataset of these genes and cells (perturbation, counts); library sizes are row sums.
pub fn dataset<const GENES: usize>(genes: &[&str; GENES], cells: &[(&str, [f32; GENES])]) -> Dataset {
    let dense = Array2::from_shape_fn((cells.len(), GENES), |(cell, gene)| cells[cell].1[gene]);
    let labels: Vec<Perturbation> = cells.iter().map(|(name, _)| perturbation(name)).collect();
    let genes = Table::from_names(genes.iter().map(ToString::to_string).collect());
    let names = Table::from_names((0..cells.len()).map(|cell| format!("c{cell}")).collect());
    Dataset::new(Counts::from_dense(&dense), genes, names, &labels, None, None).expect("the parts fit")
}

/// The perturbation that a test calls so.
pub fn perturbation(name: &str) -> Perturbation {
    if name == "control" { Perturbation::control() } else { Perturbation::of(name.split('+')) }
}

/// An effects dataset of these perturbations, all effects zero: for tests of what is held out.
pub fn effects<S: AsRef<str>>(perturbations: &[S]) -> Effects {
    Effects {
        values: Array2::zeros((perturbations.len(), 1)),
        genes: Table::from_names(vec!["g1".to_owned()]),
        perturbations: perturbations.iter().map(|name| perturbation(name.as_ref())).collect(),
        table: Table::from_names(perturbations.iter().map(|name| name.as_ref().to_owned()).collect()),
    }
}

/// Singles `g000`, `g001`, … and doubles of each gene with the next but `k`, for `k = 1, 2, …`: all distinct.
pub fn screen(singles: usize, doubles: usize) -> Vec<String> {
    let gene = |number: usize| format!("g{:03}", number % singles);
    let double = |number: usize| format!("{}+{}", gene(number), gene(number + 1 + number / singles));
    (0..singles).map(gene).chain((0..doubles).map(double)).collect()
}

/// Number of conditions to train on, for validation and to judge.
pub fn sizes(split: &NamedSplit) -> (usize, usize, usize) {
    (split.train.len(), split.validation.len(), split.test.len())
}

/// Number of judged conditions of each group.
pub fn groups(split: &NamedSplit) -> BTreeMap<&str, usize> {
    let mut sizes = BTreeMap::new();
    split.groups.values().for_each(|group| *sizes.entry(group.as_str()).or_default() += 1);
    sizes
}

/// Cells of two contexts: two control cells and three cells of each perturbation in each.
pub fn in_contexts(perturbations: [&[&str]; 2]) -> Dataset {
    let (mut rows, mut contexts) = (Vec::new(), Vec::new());
    for (context, named) in ["rest", "stimulated"].into_iter().zip(perturbations) {
        for (&name, n) in std::iter::once((&"control", 2)).chain(named.iter().map(|name| (name, 3))) {
            rows.extend(std::iter::repeat_n((name, [1.0, 2.0]), n));
            contexts.extend(std::iter::repeat_n(Some(context.to_owned()), n));
        }
    }
    let mut data = dataset(&["g1", "g2"], &rows);
    data.cells.set("state", Column::Text(contexts));
    data
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
