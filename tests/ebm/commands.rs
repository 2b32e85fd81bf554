//! `train --model ebm` and `plausibility`.

use crate::commands::tool::{Place, json, model};

const QUICK: &str = "[space]\nkind = \"pca\"\ncomponents = 8\n[model.net]\nwidth = 32\ndepth = 2\n";

/// Simulated cells, and an energy of them in `m`.
fn place() -> Place {
    let place = Place::new().with_cells();
    place.write("quick.toml", QUICK);
    let said = place.run("train --data cells.h5ad --model ebm --config quick.toml --epochs 15 --out m");
    for part in ["8 principal components", "acceptance", "shuffled dimensions"] {
        assert!(said.done().contains(part), "{part}: {}", said.stdout);
    }
    place
}

#[test]
fn generated_cells_are_judged() {
    let place = place();
    let metrics = json(&place.path("m/metrics.json"));
    let energy = |name: &str| metrics["test"][name].as_f64().expect("a number");
    assert!(energy("energy").is_finite() && energy("energy_of_shuffled").is_finite(), "{metrics}");
    assert!(metrics["chosen"]["sampling"]["acceptance"].as_f64().expect("a share") > 0.5);

    // Real cells in the place of generated ones: as plausible as real cells are.
    let said = place.run("plausibility --model m --data cells.h5ad --generated cells.h5ad --out same");
    assert!(said.done().contains("split.json holds out"), "{}", said.stdout);
    let same = json(&place.path("same/results.json"));
    let auroc = |found: &serde_json::Value| found["all"]["auroc"].as_f64().expect("a number");
    assert!(
        (auroc(&same) - 0.5).abs() < 4.0 * same["all"]["auroc_error"].as_f64().expect("a number"),
        "{}",
        same["all"]
    );

    // Cells of a decoder that was trained for two epochs.
    let decoder = model().display().to_string();
    let data = genailab::data::Dataset::open(place.path("cells.h5ad")).expect("cells");
    let double = data.perturbations.iter().find(|p| p.genes().len() == 2).expect("a double is simulated");
    place.run(&format!("predict --model {decoder} --perturbations {double},control --cells 100 --out p.h5ad")).done();
    place.run("plausibility --model m --data cells.h5ad --generated p.h5ad --out c").done();
    let found = json(&place.path("c/results.json"));
    assert_eq!(found["all"]["generated"]["cells"], 200);
    let histogram = found["histogram"]["generated"].as_array().expect("bins").iter();
    assert!((histogram.map(|share| share.as_f64().expect("a share")).sum::<f64>() - 1.0).abs() < 1e-9);
    assert!(std::fs::read_to_string(place.path("c/report.html")).expect("a report").contains("<svg"));
}

#[test]
fn a_conditional_energy_in_a_latent_knows_its_perturbations() {
    let place = Place::new().with_cells();
    place.write(
        "vae.toml",
        "condition = \"perturbation\"\n[space]\nkind = \"vae\"\n[model.objective]\nkind = \"dsm\"\n[model.net]\nwidth = 16\ndepth = 2\n\
         [vae]\nlatent = 6\nhidden = [16]\n",
    );
    place.run("train --data cells.h5ad --model ebm --config vae.toml --epochs 2 --out m").done();
    place.run("plausibility --model m --data cells.h5ad --generated cells.h5ad --out c").done();
    assert_eq!(json(&place.path("c/results.json"))["settings"]["condition"], "perturbation");
}

#[test]
fn mistakes_are_told_in_one_line() {
    let place = place();
    place.fails("predict --model m --perturbations control --out p.h5ad", &["ebm", "genailab plausibility"]);
    place.fails("embed --model m --data cells.h5ad --out p.h5ad", &["ebm", "embeds no cells"]);
    let plausibility = "plausibility --data cells.h5ad --out c";
    let decoder = model().display().to_string();
    place.fails(&format!("{plausibility} --model {decoder} --generated cells.h5ad"), &["vae", "--model ebm"]);
    place.fails(&format!("{plausibility} --model m --generated nosuch.h5ad"), &["nosuch.h5ad"]);
    place.run("simulate --cells 200 --genes 90 --seed 3 --out few.h5ad").done();
    place.fails(&format!("{plausibility} --model m --generated few.h5ad"), &["few.h5ad", "lacks", "genes"]);
    place.write("bad.toml", "[model.objective]\nkind = \"nce\"\nnoise = 0\n");
    place.fails("train --data cells.h5ad --model ebm --config bad.toml --out b", &["bad.toml line 3", "noise = 0"]);
    place.fails("train --data cells.h5ad --model ebm --resume --out b", &["--resume"]);
}
