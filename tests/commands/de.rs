//! `genailab de`.

use super::tool::{Place, json};
use crate::common::real_data;
use std::collections::HashMap;

/// Score and adjusted p of each perturbation and gene.
fn table(place: &Place, name: &str) -> HashMap<(String, String), (f64, f64)> {
    let text = std::fs::read_to_string(place.path(name)).expect("a table");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("perturbation,gene,score,log2_fold_change,p_value,p_adjusted"));
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let number = |place: usize| fields[place].parse().expect("a number");
            ((fields[0].to_owned(), fields[1].to_owned()), (number(2), number(5)))
        })
        .collect()
}

#[test]
fn a_table_of_every_perturbation_and_gene() {
    let place = Place::new().with_cells();
    let line = place.run("de --data cells.h5ad --out de.csv --json");
    let line: serde_json::Value = serde_json::from_str(line.done()).expect("one line of JSON");
    let wilcoxon = table(&place, "de.csv");
    let (perturbations, genes) = (line["perturbations"].as_u64(), line["genes"].as_u64());
    assert_eq!((genes, perturbations.map(|p| p * 150)), (Some(150), Some(wilcoxon.len() as u64)));
    assert!(line["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
    let changed = wilcoxon.values().filter(|(_, p)| *p < 0.05).count();
    assert_eq!(line["changed"].as_u64(), Some(changed as u64));

    let said = place.run("de --data cells.h5ad --out t.csv --method t-test");
    assert!(said.done().contains("x 150 genes tested"), "{}", said.stdout);
    place.run("de --data cells.h5ad --out doubt.csv --method t-test_overestim_var").done();
    place.run("de --data cells.h5ad --out rest.csv --against rest").done();
    let (t, doubt, rest) = (table(&place, "t.csv"), table(&place, "doubt.csv"), table(&place, "rest.csv"));
    assert!(wilcoxon.keys().all(|key| t.contains_key(key) && doubt.contains_key(key) && rest.contains_key(key)));
    // A reference that is trusted less makes every score smaller (there is more control than of any perturbation).
    assert!(t.iter().all(|(key, (score, _))| doubt[key].0.abs() <= score.abs() + 1e-9));
    assert!(rest.len() > wilcoxon.len(), "against the rest, control is tested too");
}

#[test]
fn what_cannot_be_tested() {
    let place = Place::new().with_cells();
    place.fails("de --data cells.h5ad --out missing/de.csv", &["missing/de.csv", "no folder missing"]);
    place.fails("de --data cells.h5ad --out de.csv --method t-test --no-tie-correction", &["--no-tie-correction"]);
    place.fails("de --data nothing.h5ad --out de.csv", &["nothing.h5ad"]);
    assert_eq!(place.run("de --data cells.h5ad --out de.csv --method anova").code, Some(2));
    if let Some(effects) = real_data("norman_pseudobulk.h5ad") {
        place.fails(&format!("de --data {} --out de.csv", effects.display()), &["effects dataset", "cells"]);
    }
}

#[test]
fn real_knock_outs_are_found() {
    let Some(file) = real_data("papalexi_cells.h5ad") else { return };
    let place = Place::new();
    place.run(&format!("de --data {} --out de.csv", file.display())).done();
    let found = table(&place, "de.csv");
    // The numbers of scanpy, which tests/eval compares to the last digit; here the whole way through the file.
    let reference = json(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/de.json"));
    let full = &reference["papalexi_cells"]["full"];
    let scores = full["expected"]["ties"]["IFNGR1"]["scores"].as_array().expect("scores");
    for (gene, score) in full["genes"].as_array().expect("genes").iter().zip(scores) {
        let (got, _) = found[&("IFNGR1".to_owned(), gene.as_str().expect("a name").to_owned())];
        let score = score.as_f64().expect("a number");
        assert!((got - score).abs() <= 1e-4 * score.abs() + 1e-4, "{gene}: {got}, scanpy {score}");
    }
}
