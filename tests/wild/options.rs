//! The options that say how labels are read, on every command, and `genailab.toml` beside the data.

use super::write_labels;
use crate::commands::tool::Place;

const LABELS: [Option<&str>; 6] = [Some("base_1"), Some("base_2"), Some("A/B"), Some("A"), Some("bad"), None];

#[test]
fn every_command_takes_them() {
    let place = Place::new();
    write_labels(&place, "d.h5ad", "well", &LABELS, &["A1", "B1", "C1", "D1"]);
    let options = "--perturbation-column well --control base* --separator / --drop-label bad";
    let said = place.run(&format!("inspect d.h5ad {options}"));
    for part in
        ["of which 60 control", "1 single, 1 combined", "A+B (30)", "30 cells of `well` were left out as asked for"]
    {
        assert!(said.done().contains(part), "{part:?} in {}", said.stdout);
    }
    for command in [
        "train --model vae --epochs 1 --out m --data",
        "de --out t.csv --data",
        "distances --to-control --out t.csv --data",
        "bench --split stratified --seeds 1 --models additive --out b --data",
        "bench-train --cells 64 --batch 32 --data",
        "embed --model m --out e.h5ad --data",
    ] {
        place.run(&format!("{command} d.h5ad {options}")).done();
    }
    for command in ["calibrate", "ablate", "run", "enrich", "predict"] {
        let help = place.run(&format!("{command} --help"));
        for option in ["--control <", "--separator", "--drop-label", "--guide-suffix", "--round-counts"] {
            assert!(help.done().contains(option), "{command} has no {option}");
        }
    }
}

#[test]
fn a_file_beside_the_data_says_the_same() {
    let place = Place::new();
    write_labels(&place, "d.h5ad", "well", &LABELS, &["A1", "B1", "C1", "D1"]);
    place.write(
        "genailab.toml",
        "perturbation_column = \"well\"\ncontrol = [\"base*\"]\nseparator = \"/\"\ndrop_label = \"bad\"\n",
    );
    let said = place.run("inspect d.h5ad");
    assert!(
        said.done().contains("of which 60 control") && said.stdout.contains("1 single, 1 combined"),
        "{}",
        said.stdout
    );
    let said = place.run("inspect d.h5ad --control NaN");
    assert!(said.done().contains("of which 90 control"), "the command line adds to it: {}", said.stdout);
    place.write("genailab.toml", "perturbation_column = \"well\"\ncontrols = \"base\"\n");
    place.fails("inspect d.h5ad", &["genailab.toml line 2", "controls"]);
}

#[test]
fn two_columns_can_be_a_pair() {
    let place = Place::new();
    write_labels(&place, "d.h5ad", "guide_A", &[Some("NTC"), Some("KLF1"), Some("EGR1")], &["A1", "B1"]);
    let path = place.path("d.h5ad");
    let data = genailab::data::AnnData::open(&path).expect("opened");
    let (mut obs, var, counts) =
        (data.obs().expect("obs"), data.var().expect("var"), data.read_matrix("X").expect("X"));
    drop(data);
    let second = (0..obs.len()).map(|cell| Some(if cell % 2 == 0 { "NTC" } else { "MYC" }.to_owned()));
    obs.set("guide_B", genailab::data::Column::Text(second.collect()));
    genailab::data::AnnDataWriter::new(&obs, &var).x(&counts).write(&path).expect("written");
    for line in ["inspect d.h5ad", "inspect d.h5ad --perturbation-column guide_A,guide_B"] {
        let said = place.run(line);
        assert!(
            said.done().contains("EGR1+MYC (15)") && said.stdout.contains("of which 15 control"),
            "{}",
            said.stdout
        );
    }
}

#[test]
fn a_split_stands_alone() {
    let place = Place::new();
    let labels = [Some("ctrl"), Some("A|B"), Some("A"), Some("B"), Some("C")];
    write_labels(&place, "d.h5ad", "condition", &labels, &["A1", "B1"]);
    let said = place.run("split --data d.h5ad --split doubles --out s.json");
    assert!(said.done().contains("120 rows to train on"), "{}", said.stdout);
    let split = crate::commands::tool::json(&place.path("s.json"));
    assert_eq!(split["test"]["perturbations"], serde_json::json!(["A|B"]), "in the file's own spelling");
    assert_eq!((split["test"]["rows"][0].as_str(), split["seed"].as_u64()), (Some("cell30"), Some(0)));
    place.fails("split --data d.h5ad --split combos --out missing/s.json", &["no folder missing"]);
}

#[test]
fn a_name_with_a_comma_can_be_asked_for() {
    let place = Place::new();
    let labels = [Some("DMSO"), Some("N,N-amine"), Some("B1")];
    write_labels(&place, "d.h5ad", "perturbation", &labels, &["A1", "C1"]);
    place.run("train --data d.h5ad --model vae --epochs 1 --out m").done();
    place.run("predict --model m --perturbations N,N-amine,B1,control --cells 2 --out p.h5ad").done();
    let read = genailab::data::AnnData::open(place.path("p.h5ad")).expect("a file");
    let labels = read.obs_column("perturbation").expect("readable").expect("there").to_text();
    let labels: Vec<&str> = labels.iter().flatten().map(String::as_str).step_by(2).collect();
    assert_eq!(labels, ["N,N-amine", "B1", "control"]);
}
