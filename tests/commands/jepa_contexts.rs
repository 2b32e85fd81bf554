//! Contexts of several columns on the command line: `train --context A --context B`, `predict --context A=LEVEL --context B=LEVEL`.

use super::tool::{Place, json};
use genailab::data::{AnnData, Column, Dataset};

/// Small networks, few steps.
const QUICK: &str = "[jepa.encoder]\nwidth = 12\nmasks = { patterns = 4 }\n\
     encoder = { kind = \"groups\", groups = 4, hidden = 16, tokens = 16, depth = 1, attention = { heads = 2 } }\n\
     [jepa.response]\nhidden = 16\ncells = 12\ndraws = 2\nfolds = 2\nrank = 2\ninteraction = { epochs = 2 }\n";

/// Cells with the columns `cell_type` (T1, T2) and `donor`, whose levels hold what options are made of.
fn place() -> (Place, Dataset) {
    let place = Place::new();
    place.run("simulate --cells 900 --genes 100 --cell-types 2 --seed 3 --out plain.h5ad").done();
    let mut data = Dataset::open(place.path("plain.h5ad")).expect("cells");
    let donor = |cell: usize| Some(if cell.is_multiple_of(2) { "d=1,a" } else { "e|2" }.to_owned());
    let donors = Column::Text((0..data.n_cells()).map(donor).collect());
    data.cells.set("donor", donors);
    data.write(place.path("all.h5ad")).expect("a file");
    place.write("quick.toml", &QUICK.replace("jepa.", ""));
    place.write("around.toml", &format!("control_cells = 2\n{QUICK}"));
    (place, data)
}

fn counts(place: &Place, name: &str) -> genailab::ndarray::Array2<f32> {
    AnnData::open(place.path(name)).expect("a file").read_matrix("X").expect("counts").to_dense()
}

#[test]
fn a_jepa_is_told_of_two_columns_and_asked_for_a_level_of_each() {
    let (place, data) = place();
    let single = data.perturbations.iter().find(|p| p.genes().len() == 1).expect("a single").to_string();
    let train = "train --data all.h5ad --model jepa --config quick.toml --epochs 1 --seed 2";
    place.run(&format!("{train} --context cell_type --context donor --out m")).done();
    place.run(&format!("{train} --context donor --context cell_type --out swapped")).done();
    let weights = |name: &str| std::fs::read(place.path(name).join("model.safetensors")).expect("a model");
    assert!(weights("m") == weights("swapped"), "the order of the columns plays no part");

    let predict = format!("predict --model m --perturbations {single},control --cells 20");
    place.run(&format!("{predict} --context donor=d=1,a --context cell_type=T1 --out p.h5ad")).done();
    place.run(&format!("{predict} --context cell_type=T1 --context donor=d=1,a --out q.h5ad")).done();
    assert_eq!(counts(&place, "p.h5ad"), counts(&place, "q.h5ad"));
    let predicted = Dataset::open(place.path("p.h5ad")).expect("cells");
    for (column, level) in [("cell_type", "T1"), ("donor", "d=1,a"), ("context", "T1 | d=1,a")] {
        assert_eq!(predicted.cells.column(column).expect(column).to_text()[0].as_deref(), Some(level));
    }
    place.run(&format!("{predict} --context donor=e|2 --context cell_type=T1 --out q.h5ad")).done();
    assert_ne!(counts(&place, "p.h5ad"), counts(&place, "q.h5ad"));
    // Given cells may be of a new combination.
    let from = format!("predict --model m --perturbations {single} --control-cells plain.h5ad");
    place.run(&format!("{from} --context cell_type=T9 --context donor=e|2 --out q.h5ad")).done();

    place.fails(&format!("{predict} --out x.h5ad"), &["cell_type and donor", "--context cell_type=LEVEL"]);
    place.fails(&format!("{predict} --context T1 --out x.h5ad"), &["--context T1", "--context donor=LEVEL"]);
    place.fails(&format!("{predict} --context donor=e|2 --out x.h5ad"), &["cell_type is missing"]);
    let twice = format!("{predict} --context donor=e|2 --context donor=x --out x.h5ad");
    place.fails(&twice, &["donor twice"]);
    let unknown = format!("{predict} --context donor=f --context cell_type=T1 --out x.h5ad");
    place.fails(&unknown, &["donor=f", "d=1,a, e|2"]);
    place.fails(&format!("{train} --context donor --context donor --out x"), &["--context", "donor", "twice"]);
    place.fails(
        "train --data all.h5ad --model causal-vae --context donor --context cell_type --out x",
        &["--context cell_type", "causal-vae takes one column", "jepa"],
    );
}

#[test]
fn combinations_without_control_cells_are_refused_and_sparse_ones_named() {
    let (place, data) = place();
    let text = |name: &str| data.cells.column(name).expect("a column").to_text();
    let (types, donors) = (text("cell_type"), text("donor"));
    let here = |cell: usize| types[cell].as_deref() == Some("T2") && donors[cell].as_deref() == Some("e|2");
    let controls: Vec<usize> = data.control_cells().into_iter().filter(|&cell| here(cell)).collect();
    let without =
        |left: usize| -> Vec<usize> { (0..data.n_cells()).filter(|cell| !controls[left..].contains(cell)).collect() };
    data.select_cells(&without(0)).write(place.path("none.h5ad")).expect("a file");
    data.select_cells(&without(6)).write(place.path("few.h5ad")).expect("a file");
    let train = "--model jepa --config quick.toml --epochs 1 --context cell_type --context donor --out m";
    place.fails(&format!("train --data none.h5ad {train}"), &["1 of 4 contexts", "T2 | e\\|2", "perturbed cells"]);
    let said = place.run(&format!("train --data few.h5ad {train}"));
    let note = said.done().lines().find(|line| line.contains("fewer than 20 control cells"));
    assert!(note.is_some_and(|note| note.contains("T2 | e\\|2: 5")), "{}", said.stdout);
}

#[test]
fn a_diffusion_around_a_jepa_is_told_of_both_columns() {
    let (place, data) = place();
    let single = data.perturbations.iter().find(|p| p.genes().len() == 1).expect("a single").to_string();
    let train = "train --data all.h5ad --model jepa-diffusion --config around.toml --epochs 1 --seed 2";
    let said = place.run(&format!("{train} --context cell_type --context donor --out m"));
    assert!(said.done().contains("closed-form Gaussian denoiser"), "its held-out cells have contexts: {}", said.stdout);
    assert_eq!(json(&place.path("m/metrics.json"))["test"]["denoising"].as_array().map(Vec::len), Some(9));
    let predict = format!("predict --model m --perturbations {single} --seed 1");
    let of = |donor: &str, options: &str| {
        place.run(&format!("{predict} --context cell_type=T1 --context donor={donor} {options} --out p.h5ad")).done();
        counts(&place, "p.h5ad")
    };
    assert_ne!(of("d=1,a", "--cells 20"), of("e|2", "--cells 20"));
    let from = "--control-cells plain.h5ad";
    assert_ne!(of("d=1,a", from), of("e|2", from));
    assert_eq!(of("new", from), of("newer", from), "both are absent");
    place.fails(&format!("{predict} --cells 5 --out x.h5ad"), &["cell_type and donor"]);
}
