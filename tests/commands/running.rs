//! `run`: a report and its figures, on the built-in data and on real ones.

use super::tool::{Place, json};
use crate::common::real_data;
use serde_json::Value;

fn check_report(place: &Place, folder: &str, keys: &[&str]) -> Value {
    let results = json(&place.path(folder).join("results.json"));
    for key in keys {
        let value = results.get(key).unwrap_or_else(|| panic!("{key} in {results}"));
        assert!(!value.is_null() || *key == "truth", "{key} is null");
    }
    let html = std::fs::read_to_string(place.path(folder).join("report.html")).expect("a report");
    assert!(html.starts_with("<!doctype html>") && html.trim_end().ends_with("</html>"));
    assert!(html.contains("<svg") && html.contains("Training"), "pictures and sections");
    for outside in ["<script src", "<link", "src=\"http"] {
        assert!(!html.contains(outside), "{outside} in a self-contained page");
    }
    let left = place.files();
    let ours = |file: &String| file.starts_with(folder) || ["cells.h5ad", "free.toml"].contains(&file.as_str());
    assert!(left.iter().all(|file| ours(file) && !file.contains(".genailab-")), "{left:?}");
    results
}

const CELLS: [&str; 14] = [
    "genailab",
    "source",
    "cells",
    "genes",
    "perturbations",
    "qc",
    "split",
    "model",
    "training",
    "history",
    "held_out",
    "latent",
    "truth",
    "seconds",
];

#[test]
fn the_built_in_data_and_then_other_cells_into_one_folder() {
    let place = Place::new().with_cells();
    place.write("free.toml", "[qc]\nmin_genes = 1\nmin_cells_per_perturbation = 1\n");
    for (data, epochs) in [("", 1), ("--data cells.h5ad --config free.toml --genes 50", 1)] {
        let said = place.run(&format!("run {data} --out out --epochs {epochs}"));
        assert!(said.done().contains("out/report.html"), "{}", said.stdout);
        let results = check_report(&place, "out", &CELLS);
        assert_eq!(results["history"].as_array().expect("a list").len(), epochs);
        assert!(results["truth"].as_array().is_some_and(|rows| !rows.is_empty()), "the truth is known");
        assert!(results["held_out"]["elbo"]["elbo"].as_f64().is_some_and(|elbo| elbo < 0.0));
        assert!(results["held_out"]["effects"]["scores"].as_array().is_some_and(|rows| rows.len() > 10));
        let of = |name: &str| results["held_out"][name].as_f64().expect("a number");
        assert!(of("reconstruction_mse") > 0.0 && of("mean_profile_mse") > 0.0);
        let stages = &results["stages"];
        let judged = stages["jepa_diffusion"]["seen"]["rows"].as_array();
        let is_judged =
            |row: &Value| row["seen"] == true && row["cells"]["crps"].as_f64().is_some_and(|crps| crps > 0.0);
        // Of a few hundred cells, too few are held out of each perturbation to judge a spread.
        let enough = |rows: &Vec<Value>| !data.is_empty() || (rows.len() > 10 && rows.iter().any(is_judged));
        assert!(judged.is_some_and(enough), "{}", stages["notes"]);
    }
    let report = std::fs::read_to_string(place.path("out/report.html")).expect("a report");
    assert!(report.contains("Stage 3: diffusion in the JEPA"), "a section of its own");
    let jepa = "predict --model out/jepa-diffusion --perturbations control --cells 3 --out out/q.h5ad";
    place.run(jepa).done();
    place.run("predict --model out/vae --perturbations control --cells 3 --out out/p.h5ad").done();
}

fn real_cells(name: &str, cells: u64) {
    let Some(file) = real_data(name) else { return };
    let place = Place::new();
    place.run(&format!("run --data {} --out out --epochs 2", file.display())).done();
    let results = check_report(&place, "out", &CELLS);
    assert!(results["truth"].is_null(), "real cells have no known truth");
    assert!(results["source"].as_str().is_some_and(|source| source.ends_with(name)));
    assert!(results["cells"].as_u64().is_some_and(|n| n > cells * 3 / 4 && n <= cells), "{}", results["cells"]);
}

#[test]
fn norman_cells() {
    real_cells("norman_cells.h5ad", 3375);
}

/// A drug in place of genes, patients, and no doubles to hold out.
#[test]
fn glioblastoma_cells() {
    real_cells("glioblastoma_cells.h5ad", 5000);
}

#[test]
fn an_effects_dataset_gets_a_report_too() {
    let Some(file) = real_data("norman_pseudobulk.h5ad") else { return };
    let place = Place::new();
    let said = place.run(&format!("run --data {} --out out --epochs 2", file.display()));
    assert!(said.done().contains("Unseen doubles"), "{}", said.stdout);
    let keys = ["genailab", "source", "perturbations", "genes", "split", "model", "training", "history", "held_out"];
    let results = check_report(&place, "out", &keys);
    assert_eq!(results["history"].as_array().expect("a list").len(), 2);
    assert_eq!(results["held_out"]["effects"].as_array().expect("model and additive").len(), 2);
    place.run("predict --model out/vae --perturbations KLF1+MAP2K6 --out out/p.h5ad").done();
}
