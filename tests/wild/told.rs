//! What is read without an error, and is said all the same.

use super::{case, says};
use crate::commands::tool::json;

/// The file holds no value that is no number.
fn no_nan(text: &str) {
    assert!(!text.to_lowercase().contains("nan"), "{text}");
}

#[test]
fn c22_cells_without_counts() {
    let told = "30 cells hold no counts";
    for line in [
        "train --model vae --epochs 2 --out OUT",
        "bench --split stratified --seeds 1 --models additive,no_change --out OUT",
        "de --out t.csv",
        "distances --to-control --out t.csv",
        "train --model jepa --phase a --epochs 1 --out OUT",
        "train --model diffusion --epochs 1 --out OUT",
    ] {
        let Some((place, ended)) = case("22_empty_cells.h5ad", &format!("{line} --data FILE")) else { return };
        assert_eq!(ended.code, Some(0), "{line}: {}", ended.stderr);
        assert!(ended.stderr.contains(told), "{line}: {}", ended.stderr);
        for file in place.files().iter().filter(|file| file.ends_with(".csv") || file.ends_with("results.json")) {
            no_nan(&std::fs::read_to_string(place.path(file)).expect("a text"));
        }
        if let Ok(report) = std::fs::read_to_string(place.path("OUT/report.html")) {
            assert!(report.contains(told), "the report of {line} tells it");
        }
    }
}

#[test]
fn c23_a_perturbation_without_counts() {
    let told = "40 cells hold no counts, all those of BPGM+SAMD1 among them";
    let line = "bench --data FILE --split stratified --seeds 1 --models additive --out OUT";
    let Some((place, ended)) = case("23_empty_perturbation.h5ad", line) else { return };
    assert!(ended.stdout.contains(told) && ended.stderr.contains(told), "{}{}", ended.stdout, ended.stderr);
    let found = json(&place.path("OUT/results.json"));
    assert!(found["rows"].as_array().expect("rows").iter().all(|row| row["value"].is_f64() || row["value"].is_i64()));
    says("23_empty_perturbation.h5ad", "train --data FILE --model jepa --phase a --epochs 1 --out OUT", &[told]);
}

#[test]
fn c25_groups_of_one_cell() {
    for line in [
        "de --data FILE --method t-test --out t.csv",
        "distances --data FILE --to-control --out t.csv",
        "distances --data FILE --test --permutations 50 --out t.csv",
    ] {
        says("25_one_cell_groups.h5ad", line, &["of one cell were left out", "KLF1+ONLY1", "ONLY2"]);
    }
}

#[test]
fn c28_ensembl_ids_and_symbols() {
    let parts = ["genes are named by Ensembl ids", "their symbols are read from `gene_name` of var"];
    says("28_ensembl.h5ad", "inspect FILE", &parts);
}

#[test]
fn c30_names_that_occur_twice() {
    let parts = ["gene names occurred more than once", "cell names occur more than once"];
    says("30_duplicates.h5ad", "train --data FILE --model vae --epochs 1 --out OUT", &parts);
}

#[test]
fn c31_guides_are_no_genes() {
    let told = "features that are no genes were left out, by `feature_types` of var: 17 CRISPR Guide Capture";
    says("31_guide_capture.h5ad", "inspect FILE", &[told]);
    says("31_guide_capture.h5ad", "train --data FILE --model vae --epochs 1 --out OUT", &[told, "x 120 genes"]);
}

#[test]
fn c38_counts_of_raw() {
    let parts = ["counts are read from `raw/X`", "it has 120 genes where X has 70"];
    says("38_raw_counts.h5ad", "train --data FILE --model vae --epochs 1 --out OUT", &parts);
    says("38_raw_counts.h5ad", "de --data FILE --out t.csv", &parts);
}

#[test]
fn c43_lanes_that_are_perturbations() {
    let parts = ["14 of 14 perturbations share no lane (`batch`) with control cells", "cannot be told apart"];
    says("43_confounded_lane.h5ad", "train --data FILE --model vae --epochs 1 --out OUT", &parts);
}

#[test]
fn c44_a_lane_for_each_cell() {
    let line = "train --data FILE --model vae --epochs 1 --out OUT";
    says("44_lane_each.h5ad", line, &["`batch` has a value for nearly every cell", "--lane-column"]);
    says("44_lane_each.h5ad", &format!("{line} --lane-column batch"), &["`batch` names 660 lanes for 660 cells"]);
}
