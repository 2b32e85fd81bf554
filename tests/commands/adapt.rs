//! `adapt`: a jepa of one cell type for another.

use super::{
    jepa::QUICK,
    tool::{Place, json},
};
use genailab::data::{AnnData, Dataset};

/// Two cell types, each in a file, and a jepa of the first.
fn place() -> Place {
    let place = Place::new();
    place.run("simulate --cells 1000 --genes 100 --cell-types 2 --seed 3 --out both.h5ad").done();
    let cells = Dataset::open(place.path("both.h5ad")).expect("cells");
    let types = cells.cells.column("cell_type").expect("there are types").to_text();
    for name in ["T1", "T2"] {
        let rows: Vec<usize> = (0..cells.n_cells()).filter(|&row| types[row].as_deref() == Some(name)).collect();
        cells.select_cells(&rows).write(place.path(&format!("{name}.h5ad"))).expect("a file");
    }
    place.write("quick.toml", QUICK);
    place.run("train --data T1.h5ad --model jepa --config quick.toml --epochs 1 --out base").done();
    place
}

#[test]
fn a_jepa_is_adapted_asked_and_made_again_from_its_adapter() {
    let place = place();
    let said = place.run("adapt --model base --data T2.h5ad --rank 4 --perturbations 4 --epochs 2 --out m");
    assert!(said.done().contains("all 100 genes of the model are in the data"), "{}", said.stdout);
    assert!(said.stdout.contains("adapted by lora on 4 conditions"), "{}", said.stdout);
    assert_eq!(json(&place.path("m/adapt.json"))["report"]["conditions"], 4);
    let cells = Dataset::open(place.path("T2.h5ad")).expect("cells");
    let gene = cells.perturbations.iter().find(|p| p.genes().len() == 1).expect("a single").to_string();
    place.run(&format!("predict --model m --context target --perturbations {gene} --cells 20 --out p.h5ad")).done();
    assert_eq!(AnnData::open(place.path("p.h5ad")).expect("a file").n_obs(), 20);
    place.run("embed --model m --data T2.h5ad --out e.h5ad").done();

    place.run("adapt --model base --data T2.h5ad --adapter m/adapter.safetensors --out again").done();
    let weights = |name: &str| std::fs::read(place.path(name)).expect("a model");
    assert!(weights("m/model.safetensors") == weights("again/model.safetensors"));
    place.fails(
        "adapt --model m --data T2.h5ad --name other --adapter m/adapter.safetensors --out bad",
        &["m/adapter.safetensors", "the adapter belongs to the base model with hash"],
    );

    place.fails("adapt --model nowhere --data T2.h5ad --out bad", &["nowhere", "holds no model"]);
    place.fails("adapt --model base --data T2.h5ad --rank 0 --out bad", &["rank = 0"]);
    place.fails("adapt --model base --data T2.h5ad --perturbations 99 --out bad", &["--perturbations 99"]);
    place.fails("adapt --model m --data T2.h5ad --perturbations 1 --out bad", &["\"target\"", "--name"]);
    let usage = place.run("adapt --model base --data T2.h5ad --method lroa --out bad");
    assert!(usage.code == Some(2) && usage.stderr.contains("lroa"), "{}", usage.stderr);
}

#[test]
fn methods_are_compared_by_a_curve() {
    let place = place();
    place
        .run("adapt --model base --data T2.h5ad --curve --methods none,film --seen 2 --seeds 1 --epochs 1 --out c")
        .done();
    place.fails(
        "adapt --model base --data T2.h5ad --curve --methods none --seen 99 --seeds 1 --out c",
        &["--seen", "can be seen"],
    );
    let curve = json(&place.path("c/curve.json"));
    assert_eq!(curve["curve"]["rows"].as_array().map(Vec::len), Some(2), "{curve}");
    assert!(curve["curve"]["ceiling"][0].as_f64() < curve["curve"]["no_change"][0].as_f64());
    let report = std::fs::read_to_string(place.path("c/report.html")).expect("a report");
    assert!(report.contains("noise ceiling") && report.contains("film"));
    place.fails("adapt --model base --data T2.h5ad --curve --seeds 0 --out d", &["--seeds is 0"]);
}
