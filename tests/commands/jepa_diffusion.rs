//! `train --model jepa-diffusion`, and `predict` and `embed` with it.

use super::tool::{Place, json};
use genailab::data::{Dataset, Effects};

/// Small networks, few steps.
const QUICK: &str = "control_cells = 2\ngenerator = { kind = \"diffusion\", model = { net = { kind = \"film_mlp\", width = 32, depth = 2 } } }\n\
     [jepa.encoder]\nwidth = 12\nmasks = { patterns = 4 }\n\
     encoder = { kind = \"groups\", groups = 4, hidden = 16, tokens = 16, depth = 1, attention = { heads = 2 } }\n\
     [jepa.response]\nhidden = 16\ncells = 12\ndraws = 2\nfolds = 2\nrank = 2\ninteraction = { epochs = 2 }\n";

#[test]
fn cells_are_drawn_in_the_space_of_a_jepa_and_a_training_is_gone_on_with() {
    let place = Place::new().with_cells();
    place.write("quick.toml", QUICK);
    let data = Dataset::open(place.path("cells.h5ad")).expect("cells");
    let double = data.perturbations.iter().find(|p| p.genes().len() == 2).expect("a double").to_string();
    let train = "train --data cells.h5ad --model jepa-diffusion --config quick.toml --epochs 1 --seed 2";
    let said = place.run(&format!("{train} --out m"));
    assert!(said.done().contains("closed-form Gaussian denoiser"), "{}", said.stdout);
    assert!(said.stdout.contains("drawn embeddings"), "{}", said.stdout);
    assert_eq!(json(&place.path("m/model.json"))["model"], "jepa-diffusion");
    let metrics = json(&place.path("m/metrics.json"));
    assert_eq!(metrics["test"]["denoising"].as_array().map(Vec::len), Some(9));
    assert!(metrics["chosen"]["diffusion"]["width"].is_number());

    let line =
        format!("predict --model m --perturbations {double},control --cells 30 --samples 2 --steps 5 --guidance 1.5");
    let said = place.run(&format!("{line} --library 900 --out p.h5ad"));
    said.done();
    let predicted = Dataset::open(place.path("p.h5ad")).expect("cells");
    assert_eq!((predicted.n_cells(), predicted.n_genes()), (120, 150));
    // Two responses of each of the file's control cells.
    let line = format!("predict --model m --perturbations {double},control --control-cells cells.h5ad --samples 2");
    place.run(&format!("{line} --out f.h5ad")).done();
    let (from, controls) = (Dataset::open(place.path("f.h5ad")).expect("cells"), data.control_cells());
    assert_eq!(from.n_cells(), 4 * controls.len());
    let names = from.cells.column("control_cell").expect("named").to_text();
    assert_eq!(names[controls.len() + 3].as_deref(), Some(data.cells.names[controls[3]].as_str()));
    let both = place
        .run(&format!("predict --model m --perturbations {double} --control-cells cells.h5ad --cells 3 --out q.h5ad"));
    assert!(both.code == Some(2) && both.stderr.contains("--cells"), "{}", both.stderr);
    place.run("embed --model m --data cells.h5ad --out z.h5ad").done();
    place.run("predict --model m/jepa --perturbations control --cells 5 --out q.h5ad").done();

    // Interrupted parts are gone on with: the same bits as in one go.
    let weights = |name: &str| std::fs::read(place.path(name)).expect("a model");
    let parts = ["m/model.safetensors", "m/generator/model.safetensors", "m/jepa/model.safetensors"];
    let first = parts.map(weights);
    parts.iter().for_each(|name| std::fs::remove_file(place.path(name)).expect("it was there"));
    std::fs::remove_dir_all(place.path("m/generator")).expect("it was there");
    std::fs::remove_dir_all(place.path("m/jepa/phase-b")).expect("it was there");
    place.run(&format!("{train} --resume --out m")).done();
    assert!(parts.map(weights) == first);
    place.fails(&format!("{train} --resume --out n"), &["nothing to resume"]);
    place.fails("predict --model m --perturbations NOSUCH --out q.h5ad", &["--perturbations", "NOSUCH"]);
}

#[test]
fn its_spread_is_judged_beside_shifted_control_cells_and_decoded_noise() {
    let place = Place::new().with_cells();
    let short = "training = { epochs = 1 }\n";
    place.write("quick.toml", &format!("{short}{QUICK}{short}[jepa.pretraining]\nepochs = 1\n"));
    let said = place.run("calibrate --data cells.h5ad --model jepa-diffusion --config quick.toml --out c");
    let words = ["never seen", "control cells shifted", "decoder fed with noise"];
    words.iter().for_each(|word| assert!(said.done().contains(word), "{word}: {}", said.stdout));
    let found = json(&place.path("c/results.json"));
    assert_eq!(found["model"], "jepa-diffusion");
    let opponents = found["summary"]["unseen_opponents"].as_array().expect("there are some");
    assert_eq!(opponents.len(), 2);
    assert!(opponents.iter().all(|opponent| opponent["crps"].as_f64().is_some_and(|crps| crps > 0.0)));
    let row = &found["study"]["rows"][0];
    assert!(row["cells"]["log_variance_ratio_correlation"].is_number(), "{row}");

    let cells = Dataset::open(place.path("cells.h5ad")).expect("cells");
    Effects::of_cells(&cells).expect("there is control").write(place.path("e.h5ad")).expect("a file");
    place.fails("calibrate --data e.h5ad --model jepa --out c", &["e.h5ad", "effects dataset", "jepa"]);
    place.fails("calibrate --data cells.h5ad --model combination --out c", &["--model combination", "draws no cells"]);
    place.fails("calibrate --data cells.h5ad --model nosuch --out c", &["nosuch", "jepa-diffusion"]);
}

#[test]
fn what_it_cannot_be_trained_on_is_refused() {
    let place = Place::new().with_cells();
    let cells = Dataset::open(place.path("cells.h5ad")).expect("cells");
    Effects::of_cells(&cells).expect("there is control").write(place.path("e.h5ad")).expect("a file");
    let train = "train --model jepa-diffusion --out m";
    place.fails(&format!("{train} --data e.h5ad"), &["e.h5ad", "effects dataset", "jepa-diffusion"]);
    place.fails(&format!("{train} --data cells.h5ad --phase a"), &["--phase a", "predictor"]);
    place.write("half.toml", "[jepa]\nphase = \"a\"\n");
    place.fails(&format!("{train} --data cells.h5ad --config half.toml"), &["half.toml", "phase"]);
    place.write("typo.toml", "[generator]\nkind = \"diffusion\"\nmodle = 1\n");
    place.fails(&format!("{train} --data cells.h5ad --config typo.toml"), &["typo.toml"]);
}
