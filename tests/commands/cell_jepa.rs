//! `train --model cell-jepa`, its report, and `embed`.

use super::tool::{Place, json, model};
use crate::common::python;
use genailab::data::AnnData;
use std::process::Command;

const SHORT: &str = "[model]\nwidth = 16\nencoder = { kind = \"mlp\", hidden = [32] }\n";

#[test]
fn an_encoder_of_cells_is_trained_judged_and_used() {
    let place = Place::new().with_cells();
    place.write("short.toml", SHORT);
    // A VAE of the same split: the fractions of the two models' defaults differ.
    place.write("vae.toml", "[split]\nvalidation = 0.1\ntest = 0.2\n");
    place.run("train --data cells.h5ad --config vae.toml --epochs 1 --out v").done();
    let line = "train --data cells.h5ad --model cell-jepa --config short.toml --epochs 3 --compare-vae v --out m";
    let said = place.run(line);
    assert!(said.done().contains("Linear probe:") && said.stdout.contains("no label is used"), "{}", said.stdout);
    for file in [
        "model.json",
        "model.safetensors",
        "history.jsonl",
        "split.json",
        "report.html",
        "figures/diagnostics.svg",
        "figures/umap_pca50.svg",
        "figures/umap_jepa.svg",
        "figures/umap_vae.svg",
    ] {
        assert!(place.path("m").join(file).exists(), "{file} is missing: {:?}", place.files());
    }
    assert_eq!(json(&place.path("m/model.json"))["model"], "cell-jepa");
    let metrics = json(&place.path("m/metrics.json"));
    let scores = metrics["probe"]["scores"].as_array().expect("a score each");
    let names: Vec<&str> = scores.iter().filter_map(|score| score["name"].as_str()).collect();
    assert_eq!(names, ["PCA(50)", "JEPA", "VAE"]);
    assert!(scores.iter().all(|score| score["accuracy"].as_f64().is_some_and(|a| (0.0..=1.0).contains(&a))));
    assert!(metrics["last_epoch"]["effective_rank"].as_f64().is_some_and(|rank| rank >= 1.0), "{metrics}");
    let report = std::fs::read_to_string(place.path("m/report.html")).expect("a report");
    for words in ["kNN purity:", "Before and after", "Are the embeddings collapsing?", "probe accuracy"] {
        assert!(report.contains(words), "{words}");
    }

    // Two epochs more are those of a longer training, and another model is not gone on with.
    place.fails(
        "train --data cells.h5ad --model cell-jepa --epochs 5 --resume --out m",
        &["cannot resume", "width was 16 and is now 64"],
    );
    let line = "train --data cells.h5ad --model cell-jepa --config short.toml --epochs 5 --resume --out m --label lane";
    let resumed = place.run(line);
    assert!(resumed.done().contains("epoch 5/5") && !resumed.stdout.contains("epoch 3/5"), "{}", resumed.stdout);
    assert_eq!(json(&place.path("m/metrics.json"))["label"], "lane");

    place.run("embed --model m --data cells.h5ad --out z.h5ad").done();
    place.run("embed --model v --data cells.h5ad --out y.h5ad").done();
    let embedding = |file: &str, name: &str| {
        AnnData::open(place.path(file)).expect("a file").read_obsm(name).expect("an embedding")
    };
    let (jepa, vae) = (embedding("z.h5ad", "X_jepa"), embedding("y.h5ad", "X_vae"));
    assert_eq!((jepa.nrows(), vae.nrows(), jepa.ncols()), (600, 600, 16));
    assert!(jepa.iter().chain(&vae).all(|value| value.is_finite()));
    if let Some(python) = python(&["anndata"]) {
        let script = "import anndata; a = anndata.read_h5ad('z.h5ad'); \
                      print(a.obsm['X_jepa'].shape, a.shape, 'perturbation' in a.obs)";
        let output = Command::new(python).current_dir(place.path("")).args(["-c", script]).output().expect("it starts");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "(600, 16) (600, 150) True");
    }
    place.fails("predict --model m --perturbations control --out p.h5ad", &["encoder of cells", "genailab embed"]);
    place.run("simulate --cells 200 --genes 90 --seed 4 --out other.h5ad").done();
    place.fails("embed --model m --data other.h5ad --out o.h5ad", &["other.h5ad", "lacks", "150 genes"]);
}

#[test]
fn a_collapse_is_told_and_leaves_no_model() {
    let place = Place::new().with_cells();
    place.write(
        "doomed.toml",
        "[model]\nwidth = 24\nencoder = { kind = \"mlp\", hidden = [48] }\nobjective = { kind = \"masks\" }\n\
         anti_collapse = { kind = \"none\" }\nteacher = { ema = { kind = \"constant\", momentum = 0.0 } }\n\
         [train]\nlearning_rate = 0.1\n",
    );
    let ended = place.run("train --data cells.h5ad --model cell-jepa --config doomed.toml --epochs 12 --out m");
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    let line = ended.stderr.lines().last().expect("a reason");
    assert!(line.contains("no model is kept") && line.contains("have collapsed in epoch"), "{}", ended.stderr);
    for file in ["model.json", "model.safetensors", "last.safetensors", "metrics.json", "report.html"] {
        assert!(!place.path("m").join(file).exists(), "{file} is left: {:?}", place.files());
    }
}

#[test]
fn what_cannot_be_trained_is_said_in_one_line() {
    let place = Place::new().with_cells();
    place.fails("train --data cells.h5ad --model cell-jepa --label nosuch --out m", &["--label nosuch", "obs"]);
    place.fails("train --data cells.h5ad --label perturbation --out m", &["--label", "cell-jepa"]);
    let vae = model().display().to_string();
    // The model of the other tests held out fewer cells.
    place.fails(
        &format!("train --data cells.h5ad --model cell-jepa --compare-vae {vae} --out m"),
        &["--compare-vae", "[split]"],
    );
    place.write("typo.toml", "[model]\nwidht = 1\n");
    place.fails("train --data cells.h5ad --model cell-jepa --config typo.toml --out m", &["typo.toml line 2", "widht"]);
    place.run("simulate --cells 300 --genes 80 --seed 3 --out c.h5ad").done();
    let effects = genailab::data::Dataset::open(place.path("c.h5ad")).expect("cells");
    genailab::data::Effects::of_cells(&effects).expect("control").write(place.path("e.h5ad")).expect("a file");
    place.fails("train --data e.h5ad --model cell-jepa --out m", &["e.h5ad", "effects dataset"]);
}
