//! Messages with a way out, before anything is trained.

use super::{case, fails, says};

#[test]
fn c12_too_few_perturbations_for_a_split() {
    for split in ["simulation", "perturbations"] {
        let line = format!("bench --data FILE --split {split} --seeds 1 --out OUT");
        fails("12_blanks_two_conditions.h5ad", &line, &["12_blanks", "splits that fit this data: stratified"]);
    }
}

#[test]
fn c13_no_cell_is_perturbed() {
    for command in [
        "train --model vae --epochs 1",
        "run --epochs 1",
        "bench --split stratified --seeds 1",
        "calibrate --split stratified",
    ] {
        let line = format!("{command} --data FILE --out OUT");
        fails(
            "13_all_control.h5ad",
            &line,
            &["13_all_control.h5ad", "no cell is perturbed", "all 100 cells are control"],
        );
    }
}

#[test]
fn c14_a_table_without_a_row_is_an_error() {
    let parts = ["two groups of two cells", "5 have one cell"];
    fails("14_five_cells.h5ad", "distances --data FILE --out t.csv", &parts);
    fails("14_five_cells.h5ad", "de --data FILE --out t.csv", &["no perturbation has two cells"]);
}

#[test]
fn c15_no_doubles_to_hold_out() {
    let parts = ["0 are doubles", "splits that fit this data: simulation, perturbations, stratified"];
    fails("15_singles_only.h5ad", "bench --data FILE --split doubles --seeds 1 --out OUT", &parts);
}

#[test]
fn c20_ambient_corrected_counts_can_be_rounded() {
    let line = "train --data FILE --model vae --epochs 1 --out OUT";
    fails("20_soupx.h5ad", line, &["ambient-corrected counts?", "--round-counts"]);
    says("20_soupx.h5ad", &format!("{line} --round-counts"), &["were rounded to whole counts"]);
}

#[test]
fn c21_a_context_that_cannot_be_held_out() {
    let line = "bench --data FILE --split context:batch --seeds 1 --models additive --out OUT";
    fails("21_batch_of_one.h5ad", line, &["21_batch_of_one.h5ad", "context:batch", "splits that fit this data"]);
}

#[test]
fn c26_one_control_cell_is_too_few_for_a_run() {
    let Some((place, ended)) = case("26_one_control.h5ad", "run --data FILE --epochs 2 --out OUT") else { return };
    ended.one_line(&["control cells (1)", "too few", "--control"]);
    assert!(!ended.stdout.contains("epoch"), "it fails before it trains: {}", ended.stdout);
    assert!(!place.files().iter().any(|file| file.ends_with("model.safetensors")), "{:?}", place.files());
    says("26_one_control.h5ad", "train --data FILE --model diffusion --epochs 1 --out OUT", &["model: OUT"]);
}
