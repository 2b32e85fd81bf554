//! `predict`: what is in the file, and what is refused.

use super::tool::{Place, cells, copy_folder, json, model};
use crate::common::{python, real_data};
use genailab::data::{AnnData, AnnDataWriter, Column, Dataset, Effects, Table, Uns};
use std::{path::Path, process::Command};

/// Two single perturbations that the model knows.
fn known() -> (String, String) {
    let names = json(&model().join("model.json"));
    let name = |i: usize| names["description"]["vocabulary"]["perturbed"][i].as_str().expect("a gene name").to_owned();
    (name(0), name(1))
}

fn predict(place: &Place, model: &Path, perturbations: &str, more: &str) {
    place.run(&format!("predict --model {} --perturbations {perturbations} {more}", model.display())).done();
}

#[test]
fn cells_are_counts_with_their_perturbation() {
    let place = Place::new();
    let (a, b) = known();
    predict(&place, model(), &format!("{b}+{a},control,{b}"), "--cells 30 --samples 2 --seed 5 --out p.h5ad");
    assert_eq!(place.files(), ["p.h5ad"]);
    let file = AnnData::open(place.path("p.h5ad")).expect("an .h5ad file");
    assert_eq!((file.n_obs(), file.n_vars(), file.x_kind().to_string()), (180, 150, "csr".to_owned()));
    let Some(Uns::Text(record)) = file.uns("provenance").expect("readable") else { panic!("it says what made it") };
    let record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
    let files = record["files"].as_array().expect("files");
    let weights =
        |file: &serde_json::Value| file["path"].as_str().is_some_and(|path| path.ends_with("model.safetensors"));
    assert!(files.iter().any(|file| weights(file) && file["sha256"].as_str().is_some_and(|sum| sum.len() == 64)));
    assert!(record["command"].as_array().expect("words").iter().any(|word| word == "--seed"));
    let (obs, double) = (file.obs().expect("cells"), format!("{a}+{b}"));
    assert_eq!(file.var().expect("genes").names, Dataset::open(cells()).expect("cells").genes.names);
    assert!(matches!(obs.column("perturbation"), Some(Column::Categorical { .. })));
    let labels = obs.column("perturbation").expect("a column").to_text();
    for (block, name) in [(0, &double), (1, &"control".to_owned()), (2, &b)] {
        assert!(labels[60 * block..60 * (block + 1)].iter().all(|label| label.as_ref() == Some(name)), "{name}");
    }
    let names: std::collections::HashSet<&String> = obs.names.iter().collect();
    assert_eq!(names.len(), 180, "every cell has a name of its own");

    // It is a dataset again, without reservations.
    let data = Dataset::open(place.path("p.h5ad")).expect("counts");
    assert_eq!((data.control_cells().len(), data.notes.as_slice()), (60, &[][..]));
    assert_eq!(data.counts.first_non_count(), None);
    assert!(data.counts.nnz() > 1000, "cells are not empty");
}

#[test]
fn a_seed_decides_and_order_does_not() {
    let place = Place::new();
    let (a, b) = known();
    let read = |perturbations: &str, seed: u64| {
        predict(&place, model(), perturbations, &format!("--cells 20 --seed {seed} --out p.h5ad"));
        AnnData::open(place.path("p.h5ad")).expect("an .h5ad file").read_matrix("X").expect("a matrix")
    };
    let first = read(&format!("{a}+{b}"), 1);
    assert_eq!(read(&format!("{a}+{b}"), 1), first);
    assert_eq!(read(&format!("{b}+{a}"), 1), first);
    assert_eq!(read(&format!("{a}_{b}"), 1), first, "scPerturb's spelling");
    assert_eq!(read(&format!("{a}+{b},{b}+{a},{a}+{b}"), 1), first, "what is named twice is predicted once");
    assert_eq!(read(&format!("{a}+ctrl"), 1), read(&a, 1), "GEARS' spelling");
    assert_ne!(read(&format!("{a}+{b}"), 2), first);
    assert_ne!(read(&a, 1), first);
}

#[test]
fn what_the_model_does_not_know() {
    let place = Place::new();
    let (a, _) = known();
    let model = model().display();
    let with = |perturbations: &str| {
        let mut command = place.command(["predict", "--model", &model.to_string(), "--out", "p.h5ad"]);
        let ended: crate::commands::tool::Ended =
            command.arg(format!("--perturbations={perturbations}")).output().expect("it starts").into();
        assert!(place.files().is_empty());
        ended
    };
    with(&format!("FOO,{a}+BAR,BAZ")).one_line(&["BAR, BAZ, FOO", "trained on", &a]);
    with(&a.to_lowercase()).one_line(&["did you mean", &a]);
    for empty in ["", " ", ",", &format!("{a},"), &format!("{a}++{a}")] {
        with(empty).one_line(&["--perturbations", "empty", "A+B"]);
    }
    let predict = format!("predict --model {model} --perturbations {a}");
    for (more, parts) in [
        ("--out p.h5ad --cells 0", &["--cells 0"][..]),
        ("--out p.h5ad --samples 0", &["--samples 0"]),
        ("--out p.h5ad --cells 18446744073709551615 --samples 2", &["at most"]),
        ("--out missing/p.h5ad", &["no folder missing"]),
        ("--out .", &["is a folder"]),
        ("--out p.h5ad --device metal", &["metal", "not built in"]),
    ] {
        place.fails(&format!("{predict} {more}"), parts);
    }
}

#[test]
fn folders_that_hold_no_such_model() {
    let place = Place::new();
    let predict = "predict --model model --perturbations control --out p.h5ad";
    place.fails(predict, &["model", "holds no model", "genailab train"]);
    let path = place.path("model");
    let description = std::fs::read_to_string(model().join("model.json")).expect("text");
    let with_description = |text: &str| {
        copy_folder(model(), &path);
        std::fs::write(path.join("model.json"), text).expect("written");
    };
    let changed = |from: &str, to: &str| {
        assert!(description.contains(from), "{from} in {description}");
        with_description(&description.replacen(from, to, 1));
    };
    changed("\"model\": \"vae\"", "\"model\": \"novel\"");
    place.fails(predict, &["model: ", "no model \"novel\"", "there are vae"]);
    changed("\"model\": \"vae\"", "\"model\": \"jepa-sets\"");
    place.fails(predict, &["no model \"jepa-sets\" any more", "it is called jepa"]);
    changed("\"model\": \"vae\"", "\"model\": \"cell-jepa\"");
    place.fails(predict, &["model: ", "no model \"cell-jepa\" any more", "--model jepa --phase a"]);
    changed("\"format\": 5", "\"format\": 99");
    place.fails(predict, &["model/model.json", "format 99", "train again"]);
    changed("\"latent\": 64", "\"latent\": 32");
    place.fails(predict, &["model: ", "64", "32"]);
    with_description(&description[..description.len() / 2]);
    place.fails(predict, &["model/model.json", "damaged"]);
    with_description("{}");
    place.fails(predict, &["model/model.json", "damaged"]);

    copy_folder(model(), &path);
    let whole = std::fs::read(path.join("model.safetensors")).expect("weights");
    std::fs::write(path.join("model.safetensors"), &whole[..whole.len() / 2]).expect("written");
    place.fails(predict, &["model/model.safetensors", "cut off"]);
    std::fs::remove_file(path.join("model.safetensors")).expect("removed");
    place.fails(predict, &["did not come to its end", "--resume"]);
}

#[test]
fn guides_of_a_gene_are_two_perturbations_or_one() {
    let place = Place::new();
    let n = 120;
    let labels = ["KLF1_1", "KLF1_2", "control", "Y_RNA"];
    let mut obs = Table::from_names((0..n).map(|cell| format!("cell{cell}")).collect());
    obs.set("perturbation", Column::Text((0..n).map(|cell| Some(labels[cell % 4].to_owned())).collect()));
    let var = Table::from_names(["KLF1", "Y_RNA", "G3"].map(String::from).to_vec());
    let values = genailab::ndarray::Array2::from_shape_fn((n, 3), |(cell, gene)| ((cell * gene + 1) % 5) as f32);
    let counts = genailab::data::Counts::from_dense(&values);
    AnnDataWriter::new(&obs, &var).x(&counts).write(place.path("guides.h5ad")).expect("written");

    place.run("train --data guides.h5ad --epochs 1 --out guides").done();
    place.run("train --data guides.h5ad --epochs 1 --out genes --guide-suffix").done();
    let out = "--cells 2 --out p.h5ad";
    predict(&place, &place.path("guides"), "KLF1_1,KLF1_2,KLF1_1+KLF1_2,Y_RNA", out);
    assert_eq!(AnnData::open(place.path("p.h5ad")).expect("a file").n_obs(), 8);
    predict(&place, &place.path("genes"), "KLF1,Y_RNA", out);
    place.fails(&format!("predict --model guides --perturbations KLF1 {out}"), &["KLF1", "KLF1_1, KLF1_2"]);
    place.fails(&format!("predict --model genes --perturbations KLF1_1 {out}"), &["KLF1_1", "KLF1, Y_RNA"]);
}

#[test]
fn effects_have_a_row_a_perturbation() {
    let Some(effects) = real_data("norman_pseudobulk.h5ad") else { return };
    let place = Place::new();
    place.run(&format!("train --data {} --epochs 3 --out model", effects.display())).done();
    assert!(json(&place.path("model/metrics.json"))["test"].is_array());
    predict(&place, &place.path("model"), "MAP2K6+KLF1,KLF1+MAP2K6,CEBPE", "--out p.h5ad");
    let predicted = Effects::open(place.path("p.h5ad")).expect("an effects dataset");
    let names: Vec<String> = predicted.perturbations.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["KLF1+MAP2K6", "CEBPE"]);
    assert_eq!(predicted.genes.names, Effects::open(&effects).expect("effects").genes.names);
    assert!(predicted.values.iter().any(|&value| value.abs() > 1e-4));
    predict(&place, &place.path("model"), "control,CEBPE", "--out with_control.h5ad");
    let with_control = AnnData::open(place.path("with_control.h5ad")).expect("a file").read_dense("X").expect("X");
    assert!(with_control.row(0).iter().all(|&value| value == 0.0), "control differs from itself by nothing");
    assert_eq!(with_control.row(1), predicted.values.row(1));
    place.fails("predict --model model --perturbations KLF1+FOO,BAR --out q.h5ad", &["BAR, FOO"]);

    let Some(python) = python(&["anndata"]) else { return };
    let (a, b) = known();
    predict(&place, model(), &format!("{a}+{b},control"), "--cells 5 --out cells.h5ad");
    let script = "
import anndata, numpy, scipy.sparse, sys
effects, cells = anndata.read_h5ad(sys.argv[1]), anndata.read_h5ad(sys.argv[2])
assert effects.shape == (2, 2000), effects.shape
assert list(effects.obs['perturbation']) == ['KLF1+MAP2K6', 'CEBPE'], effects.obs
assert list(effects.obs_names) == ['KLF1+MAP2K6', 'CEBPE']
assert 'difference to control' in effects.uns['effect'], effects.uns
assert effects.var_names.is_unique and effects.var_names[0] == sys.argv[3], effects.var_names[0]
assert cells.shape == (10, 150) and cells.obs_names.is_unique
assert scipy.sparse.issparse(cells.X) and (cells.X.data == numpy.round(cells.X.data)).all()
assert cells.obs['perturbation'].dtype.name == 'category'
assert cells.obs['perturbation'].value_counts().to_dict() == {sys.argv[4]: 5, 'control': 5}, cells.obs
";
    let (effects, cells) = (place.path("p.h5ad"), place.path("cells.h5ad"));
    let output = Command::new(python)
        .args(["-c", script, &effects.to_string_lossy(), &cells.to_string_lossy()])
        .args([&predicted.genes.names[0], &format!("{a}+{b}")])
        .output()
        .expect("Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
