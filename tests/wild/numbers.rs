//! Wrong numbers and collapse on few cells.

use super::{case, says};
use crate::{
    commands::tool::{Place, json},
    common::real_data,
};

#[test]
fn c15_c22_diffusion_of_few_cells_trains() {
    let line = "train --data FILE --model diffusion --epochs 2 --out OUT";
    let Some((place, ended)) = case("15_singles_only.h5ad", line) else { return };
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    // --epochs reaches the VAE inside, too.
    let epochs = std::fs::read_to_string(place.path("OUT/vae/history.jsonl")).expect("the history of the VAE");
    assert_eq!(epochs.lines().count(), 2);
}

#[test]
fn c48_latents_of_few_cells_stay_in_use() {
    let line = "run --data FILE --epochs 12 --out OUT";
    let Some((place, ended)) = case("15_singles_only.h5ad", line) else { return };
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let found = json(&place.path("OUT/results.json"));
    assert!(found["latent"]["active"].as_u64().is_some_and(|active| active > 0), "{}", found["latent"]);
}

#[test]
fn c27_intervals_of_huge_counts_hold_what_they_should() {
    let line = "calibrate --data FILE --split stratified --out OUT";
    let Some((place, ended)) = case("27_huge_counts.h5ad", line) else { return };
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let said = ended.stdout;
    let hold = said.split("90 % intervals hold ").nth(1).and_then(|rest| rest.split(' ').next());
    let coverage: f64 = hold.and_then(|percent| percent.parse().ok()).expect("a percentage");
    assert!((70.0..=100.0).contains(&coverage), "{said}");
    assert!(place.path("OUT/report.html").exists());
}

#[test]
fn c39_a_prediction_of_no_change_has_no_correlation() {
    let Some(truth) = real_data("wild/39_truth.h5ad") else { return };
    let place = Place::new();
    let bench = |file: &str, out: &str| {
        let file = truth.with_file_name(file);
        let ended = place.run(&format!(
            "bench --data {} --split doubles --seeds 1 --models additive --predictions {} --predictions-are profiles --out {out}",
            truth.display(),
            file.display()
        ));
        (ended.done().to_owned(), json(&place.path(out).join("results.json")))
    };
    let (said, found) = bench("39_pred_constant.h5ad", "constant");
    assert!(
        said.contains("39_pred_constant predicts no change") && said.contains("correlation is not defined"),
        "{said}"
    );
    let rows = found["rows"].as_array().expect("rows");
    let of = |model: &str, metric: &str| -> Vec<f64> {
        let rows = rows.iter().filter(|row| row["model"] == model && row["metric"] == metric);
        rows.map(|row| row["value"].as_f64().expect("a number")).collect()
    };
    assert!(of("39_pred_constant", "pearson").is_empty());
    assert_eq!(of("39_pred_constant", "des_by_effect"), of("no_change", "des_by_effect"), "scored as the floor");

    let (said, _) = bench("39_pred_few_perts.h5ad", "few");
    assert!(
        said.contains("39_pred_few_perts predicts 0 of 3 judged conditions") && said.contains("missing: KLF1+MAP2K6"),
        "{said}"
    );
}

#[test]
fn stored_zeros_are_zeros() {
    let place = Place::new().with_cells();
    let file = hdf5::File::open_rw(place.path("cells.h5ad")).expect("an HDF5 file");
    let values = file.dataset("X/data").expect("a sparse X");
    let mut data: Vec<f32> = values.read_raw().expect("numbers");
    let stored = data.len();
    data[..10].fill(0.0);
    values.write_raw(&data).expect("written");
    drop((values, file));
    let said = place.run("inspect cells.h5ad");
    let wanted = format!("{} values that are not zero", stored - 10);
    assert!(said.done().contains(&wanted) && said.stdout.contains("10 stored zeros"), "{}", said.stdout);
}

#[test]
fn c20_c26_says_what_it_trains_on() {
    let parts = ["labels: 8 single perturbations (320 cells), 6 combined (240 cells), control (1 cells)"];
    says("26_one_control.h5ad", "train --data FILE --model vae --epochs 1 --out OUT", &parts);
}
