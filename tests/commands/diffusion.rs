//! `train --model diffusion`, its `predict`, and `calibrate`.

use super::tool::{Place, json};
use genailab::data::{Dataset, Effects};

const QUICK: &str = "[cells.training]\nepochs = 2\n[cells.effects.spread.training]\nepochs = 2\n\
                     [effects.spread.training]\nepochs = 5\n[effects.combination]\nnetwork = false\n\
                     [cells.effects.combination]\nnetwork = false\n";

/// Simulated cells at `c.h5ad`, and their mean effects at `e.h5ad`.
fn place() -> Place {
    let place = Place::new();
    place.run("simulate --cells 2400 --genes 80 --seed 3 --out c.h5ad").done();
    let cells = Dataset::open(place.path("c.h5ad")).expect("cells");
    Effects::of_cells(&cells).expect("there is control").write(place.path("e.h5ad")).expect("a file");
    // A low beta: so few steps would leave all latents at the prior, and a collapsed latent is refused.
    place.write("quick.toml", &format!("{QUICK}[train]\nepochs = 20\n[vae]\nlatent = 8\nhidden = [32]\nbeta = 0.1\n"));
    place.write(
        "collapsed.toml",
        &format!(
            "{QUICK}[train]\nepochs = 10\n[vae]\nlatent = 4\nhidden = [16]\nbeta = 1e4\nfree_nats = 0\nkl_annealing = \"constant\"\n"
        ),
    );
    place
}

fn doubles(place: &Place) -> Vec<String> {
    let data = Effects::open(place.path("e.h5ad")).expect("effects");
    data.perturbations.iter().filter(|p| p.genes().len() == 2).map(ToString::to_string).collect()
}

#[test]
fn effects_are_drawn_and_judged() {
    let place = place();
    place.run("train --data e.h5ad --model diffusion --config quick.toml --out m").done();
    assert_eq!(json(&place.path("m/model.json"))["model"], "diffusion");
    // The spread is all that is trained by gradient: 5 epochs in quick.toml.
    let history = std::fs::read_to_string(place.path("m/history.jsonl")).expect("a history");
    assert_eq!(history.lines().count(), 5, "{history}");
    let held_out = json(&place.path("m/metrics.json"))["expected_error"].as_object().expect("by name").clone();
    let double = held_out.keys().next().expect("a double was held out").clone();
    place.run(&format!("predict --model m --perturbations {double} --samples 20 --out p.h5ad")).done();
    let file = genailab::data::AnnData::open(place.path("p.h5ad")).expect("a file");
    assert_eq!(file.obs().expect("rows").column("sample").expect("numbered").to_f64().expect("numbers").len(), 20);
    place.run(&format!("predict --model m --perturbations {double} --out mean.h5ad")).done();
    assert_eq!(Effects::open(place.path("mean.h5ad")).expect("effects").perturbations.len(), 1);
    let line = format!("predict --model m/combination --perturbations {double} --samples 3 --cells 5 --out one.h5ad");
    let said = place.run(&line);
    for note in ["--cells has no meaning", "draws no effects: one row per perturbation, not 3"] {
        assert!(said.done().contains(note), "{}", said.stdout);
    }
    assert_eq!(Effects::open(place.path("one.h5ad")).expect("effects").perturbations.len(), 1);
    place.fails("predict --model m --perturbations NOSUCH --samples 3 --out q.h5ad", &["--perturbations", "NOSUCH"]);
    place.fails(
        &format!("predict --model m --perturbations {double} --guidance 2 --out q.h5ad"),
        &["--guidance", "diffusion of cells"],
    );

    let said = place.run("calibrate --data e.h5ad --config quick.toml --out c");
    assert!(said.done().contains("90 % intervals"), "{}", said.stdout);
    let found = json(&place.path("c/results.json"));
    let covered = found["summary"]["means"]["coverage"][8].as_f64().expect("a share");
    assert!((0.5..=1.0).contains(&covered), "{covered}");
    for row in found["study"]["rows"].as_array().expect("rows") {
        let off = row["means"]["mean_of_draws"].as_f64().expect("a ratio");
        assert!((off - 1.0).abs() < 0.02, "the mean of the draws is as near as the combination model: {off}");
    }
    assert!(!found["study"]["next"].as_array().expect("a list").is_empty());
    assert!(std::fs::read_to_string(place.path("c/report.html")).expect("a report").contains("<svg"));
}

#[test]
fn cells_are_drawn_and_judged() {
    let place = place();
    place.run("train --data c.h5ad --model diffusion --config quick.toml --out m").done();
    assert_eq!(json(&place.path("m/model.json"))["model"], "diffusion");
    let double = doubles(&place)[0].clone();
    place
        .run(&format!(
            "predict --model m --perturbations {double},control --cells 20 --samples 2 --steps 5 --guidance 1.5 \
             --library 4000 --out p.h5ad"
        ))
        .done();
    let drawn = Dataset::open(place.path("p.h5ad")).expect("cells");
    assert_eq!((drawn.n_cells(), drawn.n_genes()), (80, 80));
    for (options, words) in [
        ("--steps 0", ["steps", "0"]),
        ("--guidance=-1", ["guidance", "-1"]),
        ("--library 0", ["library size", "0"]),
        ("--library nan", ["library size", "NaN"]),
    ] {
        place.fails(&format!("predict --model m --perturbations {double} {options} --out q.h5ad"), &words);
    }
    let said = place.run("calibrate --data c.h5ad --split stratified --config quick.toml --out c");
    assert!(said.done().contains("trained on"), "{}", said.stdout);
    let found = json(&place.path("c/results.json"));
    assert!(found["summary"]["seen_cells"]["crps"][0].as_f64().expect("a score") > 0.0);
    assert!(found["study"]["rows"][0]["true_variance"].as_f64().is_some(), "simulated cells have a truth");
}

#[test]
fn mistakes_are_told_in_one_line() {
    let place = place();
    place.fails("train --data e.h5ad --model diffusion --resume --out m", &["--resume"]);
    place.write("bad.toml", "[cells]\ndirections = 0\n");
    place.fails("calibrate --data c.h5ad --config bad.toml --out c", &["bad.toml line 2", "directions"]);
    place.write("typo.toml", "[cells]\nspaces = 1\n");
    place.fails("train --data c.h5ad --model diffusion --config typo.toml --out m", &["typo.toml line 2", "spaces"]);
    place.fails("calibrate --data e.h5ad --split stratified --out c", &["stratified"]);
    // The VAE is trained by then: its checkpoint stays, and there is no model.
    let collapsed = place.run("train --data c.h5ad --model diffusion --config collapsed.toml --out m");
    collapsed.one_line(&["c.h5ad", "collapsed"]);
    assert!(!place.path("m/model.json").exists() && !place.path("m/model.safetensors").exists());
}
