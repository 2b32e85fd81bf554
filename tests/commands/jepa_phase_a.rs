//! `train --model jepa --phase a`: the encoder alone, its report, and `embed`.

use super::tool::{Place, json, model};
use crate::common::python;
use genailab::data::{AnnData, Dataset};
use std::process::Command;

/// A small network.
const SHORT: &str = "[encoder]\nwidth = 16\nmasks = { patterns = 4 }\n\
                     encoder = { kind = \"groups\", groups = 4, hidden = 16, tokens = 16, depth = 1, attention = { heads = 2 } }\n\
                     [pretraining]\nbatch_size = 64\n";
const TRAIN: &str = "train --data cells.h5ad --model jepa --phase a";

#[test]
fn an_encoder_of_cells_is_trained_judged_and_used() {
    let place = Place::new().with_cells();
    place.write("short.toml", SHORT);
    // A VAE of the same split: the fractions of the two models' defaults differ.
    place.write("vae.toml", "[split]\nvalidation = 0.1\ntest = 0.2\n");
    place.run("train --data cells.h5ad --config vae.toml --epochs 1 --out v").done();
    let said = place.run(&format!("{TRAIN} --config short.toml --epochs 3 --compare-vae v --out m"));
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
    assert_eq!(json(&place.path("m/model.json"))["model"], "jepa");
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
    place.fails(&format!("{TRAIN} --epochs 5 --resume --out m"), &["cannot resume", "width was 16 and is now 32"]);
    let resumed = place.run(&format!("{TRAIN} --config short.toml --epochs 5 --resume --out m --label lane"));
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
    place.fails("embed --model m --data other.h5ad --out o.h5ad", &["other.h5ad", "none of the 150 genes"]);
}

#[test]
fn an_encoder_goes_on_with_cells_of_other_genes() {
    let place = Place::new().with_cells();
    place.write("short.toml", SHORT);
    place.run(&format!("{TRAIN} --config short.toml --epochs 1 --out m")).done();
    // A part of the genes, and one that the encoder has never seen.
    let data = Dataset::open(place.path("cells.h5ad")).expect("cells");
    let mut other = data.select_genes(&(20..150).collect::<Vec<_>>()).expect("genes");
    other.genes.names[7] = "UNHEARD".to_owned();
    other.write(place.path("other.h5ad")).expect("a file");
    place.write(
        "b.toml",
        "[response]\nhidden = 16\ncells = 12\ndraws = 2\nfolds = 2\nrank = 2\ninteraction = { epochs = 2 }\n",
    );
    let train = "train --data other.h5ad --model jepa --from m --config b.toml --epochs 1 --seed 2";
    let said = place.run(&format!("{train} --out n"));
    let wanted = "began as that of m: 129 of its 150 genes are in the data, and 1 genes of the data are new to it";
    assert!(said.done().contains(wanted), "{}", said.stdout);
    let settings = &json(&place.path("n/model.json"))["description"]["settings"];
    assert_eq!(settings["encoder"]["width"], 16, "the encoder is that of m: {settings}");
    let weights = || std::fs::read(place.path("n/model.safetensors")).expect("a model");
    let first = weights();
    place.run(&format!("{train} --resume --out n")).done();
    assert_eq!(weights(), first);
    place.run("predict --model n --perturbations control --cells 20 --out p.h5ad").done();
    // Phase A goes on, from a model of phases A and B too.
    let said = place.run("train --data cells.h5ad --model jepa --from n --phase a --epochs 1 --out o");
    assert!(said.done().contains("129 of its 130 genes"), "{}", said.stdout);

    place.fails(&format!("{TRAIN} --config short.toml --from m --out q"), &["--from", "[encoder]"]);
    place.fails(&format!("{TRAIN} --context lane --out q"), &["--context", "--phase a"]);
    place.fails("train --data cells.h5ad --model vae --from m --out q", &["--from m", "begins anew"]);
    place.fails("train --data cells.h5ad --model jepa --from nothing --out q", &["nothing"]);
    place.run("simulate --cells 200 --genes 90 --seed 4 --out stranger.h5ad").done();
    let mut stranger = Dataset::open(place.path("stranger.h5ad")).expect("cells");
    stranger.genes.names.iter_mut().for_each(|name| name.push_str("-other"));
    stranger.write(place.path("stranger.h5ad")).expect("a file");
    place.fails("train --data stranger.h5ad --model jepa --from m --out q", &["0 of the encoder's 150 genes"]);
}

#[test]
fn cells_without_anything_to_tell_apart_are_trained_on_and_embedded() {
    let place = Place::new().with_cells();
    let data = Dataset::open(place.path("cells.h5ad")).expect("cells");
    let control: Vec<usize> = (0..data.n_cells()).filter(|&cell| data.perturbation_of(cell).is_control()).collect();
    data.select_cells(&control).write(place.path("control.h5ad")).expect("a file");
    place.write("short.toml", SHORT);
    let train = "train --data control.h5ad --model jepa --phase a --config short.toml --epochs 1 --out m";
    assert!(place.run(train).done().contains("the embeddings are not compared"));
    let report = std::fs::read_to_string(place.path("m/report.html")).expect("a report");
    assert!(report.contains("The embeddings are not compared"));
    assert!(json(&place.path("m/metrics.json"))["no_probe_because"].is_string());
    place.run("embed --model m --data control.h5ad --out z.h5ad").done();
    let z = AnnData::open(place.path("z.h5ad")).expect("a file").read_obsm("X_jepa").expect("an embedding");
    assert_eq!(z.dim(), (control.len(), 16));
}

#[test]
fn a_collapse_is_told_and_leaves_no_model() {
    let place = Place::new().with_cells();
    place.write(
        "doomed.toml",
        "[encoder]\nwidth = 24\nencoder = { kind = \"mlp\", hidden = [48] }\nobjective = { kind = \"masks\" }\n\
         anti_collapse = { kind = \"none\" }\n\
         teacher = { ema = { kind = \"constant\", momentum = 0.0 }, sees = \"target\" }\n\
         [pretraining]\nlearning_rate = 0.1\nbatch_size = 64\nschedule = { kind = \"constant\" }\n",
    );
    let ended = place.run(&format!("{TRAIN} --config doomed.toml --epochs 12 --out m"));
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    let line = ended.stderr.lines().last().expect("a reason");
    assert!(line.contains("no model is kept in m") && line.contains("have collapsed in epoch"), "{}", ended.stderr);
    let left = place.files();
    for file in ["model.json", "model.safetensors", "last.safetensors", "metrics.json", "report.html", "training.json"]
    {
        assert!(!left.iter().any(|path| path.starts_with("m/") && path.ends_with(file)), "{file} is left: {left:?}");
    }
}

#[test]
fn what_cannot_be_trained_is_said_in_one_line() {
    let place = Place::new().with_cells();
    place.fails(&format!("{TRAIN} --label nosuch --out m"), &["--label nosuch", "obs"]);
    let whole = "train --data cells.h5ad --model jepa";
    for other in ["train --data cells.h5ad", whole, &format!("{whole} --phase ab"), &format!("{whole} --phase b")] {
        place.fails(&format!("{other} --label perturbation --out m"), &["--label", "--model jepa --phase a"]);
        place.fails(&format!("{other} --compare-vae v --out m"), &["--compare-vae", "--model jepa --phase a"]);
    }
    let vae = model().display().to_string();
    // The model of the other tests held out fewer cells.
    place.fails(&format!("{TRAIN} --compare-vae {vae} --out m"), &["--compare-vae", "[split]"]);
    place.write("typo.toml", "[encoder]\nwidht = 1\n");
    place.fails(&format!("{TRAIN} --config typo.toml --out m"), &["typo.toml line 2", "widht"]);
    place.fails("train --data cells.h5ad --model jepa --phase c --out m", &["--phase c"]);
    let auto = place.run(&format!("{TRAIN} --preset auto --epochs 1 --out auto"));
    assert!(auto.done().contains("preset: tiny (600 cells ask for tiny; this machine, "), "{}", auto.stdout);
    place.fails("train --data cells.h5ad --model vae --preset auto --out m", &["--preset auto", "one size"]);
    place.fails(&format!("{TRAIN} --preset huge --out m"), &["--preset huge", "tiny"]);
    place.fails("train --data cells.h5ad --model vae --preset tiny --out m", &["--preset tiny", "one size"]);
    place.fails("train --data cells.h5ad --model vae --phase a --out m", &["--phase a", "phases"]);
    place.fails("train --data cells.h5ad --model cell-jepa --out m", &["cell-jepa", "--model jepa --phase a"]);
    place.run("simulate --cells 300 --genes 80 --seed 3 --out c.h5ad").done();
    let effects = Dataset::open(place.path("c.h5ad")).expect("cells");
    genailab::data::Effects::of_cells(&effects).expect("control").write(place.path("e.h5ad")).expect("a file");
    place.fails("train --data e.h5ad --model jepa --phase a --out m", &["e.h5ad", "effects dataset"]);
}
