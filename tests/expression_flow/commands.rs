//! `train --model expression-flow`, `predict`, `bench` and `ablate --generators`.

use crate::commands::tool::{Place, json};
use genailab::data::{AnnData, Dataset};

const QUICK: &str =
    "[model.net]\nwidth = 16\ndepth = 1\nheads = 2\n[model.net.tokens]\nkind = \"modules\"\ncount = 4\n";

#[test]
fn cells_are_learned_drawn_and_judged() {
    let place = Place::new();
    place.run("simulate --cells 700 --genes 40 --seed 3 --out cells.h5ad").done();
    place.write("quick.toml", QUICK);
    let said = place.run("train --data cells.h5ad --model expression-flow --config quick.toml --epochs 3 --out m");
    for part in ["rectified-flow over modules of 40 genes (4 tokens", "of counts are 0"] {
        assert!(said.done().contains(part), "{part}: {}", said.stdout);
    }
    let metrics = json(&place.path("m/metrics.json"));
    assert!(metrics["test"]["zeros"]["real"].as_f64().expect("a share") > 0.0, "{metrics}");

    let data = Dataset::open(place.path("cells.h5ad")).expect("cells");
    let double = data.perturbations.iter().find(|p| p.genes().len() == 2).expect("a double is simulated");
    let predict = format!("predict --model m --perturbations {double},control");
    place.run(&format!("{predict} --out means.h5ad")).done();
    assert_eq!(AnnData::open(place.path("means.h5ad")).expect("means").read_dense("X").expect("X").ncols(), 40);
    place.run(&format!("{predict} --cells 12 --steps 3 --out drawn.h5ad")).done();
    let drawn = AnnData::open(place.path("drawn.h5ad")).expect("cells");
    let of = drawn.obs().expect("rows");
    assert_eq!(of.len(), 24);
    assert!(of.column("perturbation").is_some());
    assert!(drawn.read_dense("X").expect("X").iter().all(|&v| v >= 0.0 && v.fract() == 0.0), "counts");
    place.fails("predict --model m --perturbations NOSUCH --out p.h5ad", &["NOSUCH"]);
    place.fails("embed --model m --data cells.h5ad --out p.h5ad", &["expression-flow", "embeds no cells"]);
    place.write("bad.toml", "[model]\nobjective = \"score\"\n");
    place.fails(
        "train --data cells.h5ad --model expression-flow --config bad.toml --out b",
        &["bad.toml line 2", "rectified-flow", "ddpm"],
    );
    assert!(!place.path("p.h5ad").exists() && !place.path("b").exists());

    place.write(
        "bench.toml",
        "[expression-flow.train]\nepochs = 2\n[expression-flow.model.net]\nwidth = 16\ndepth = 1\n",
    );
    // On a slow machine it tells on stderr how far it is.
    let ended = place
        .run("bench --data cells.h5ad --split stratified --seeds 1 --models no_change,expression-flow --config bench.toml --out c");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let results = json(&place.path("c/results.json"));
    let rows = results["summary"].as_array().expect("rows");
    assert!(rows.iter().any(|row| row["model"] == "expression-flow" && row["metric"] == "edistance_plain"));
}

#[test]
fn settings_of_another_tokenisation_or_objective_are_refused() {
    let place = Place::new();
    place.run("simulate --cells 300 --genes 40 --seed 3 --out cells.h5ad").done();
    for (text, says) in [
        ("[model.net.tokens]\nkind = \"genes\"\ncount = 8\n", "count = 8"),
        ("[model.net.tokens]\nkind = \"patches\"\nsize = 8\n", "unknown field `size`"),
        ("[modules]\nkind = \"random\"\n[model.net.tokens]\nkind = \"patches\"\n", "tokens of the kind \"modules\""),
        ("[model]\nparameterization = \"v\"\n", "objective \"ddpm\""),
        ("[sampling]\nsampler = \"ddpm\"\n", "takes a solver"),
        ("[model]\nobjective = \"ddpm\"\n[sampling]\nsolver = \"heun\"\n", "takes a sampler"),
    ] {
        place.write("own.toml", text);
        place.fails("train --data cells.h5ad --model expression-flow --config own.toml --out m", &["own.toml", says]);
    }
    place.write("own.toml", "[vae]\ncovariates = [\"batch\"]\n");
    place.fails("train --data cells.h5ad --model diffusion --config own.toml --out m", &["covariates", "train a vae"]);
    assert!(!place.path("m").exists());
}

#[test]
fn generators_are_compared() {
    let place = Place::new();
    place.run("simulate --cells 900 --genes 40 --seed 3 --out cells.h5ad").done();
    place.write("quick.toml", QUICK);
    let ablate = "ablate --data cells.h5ad --config quick.toml --seeds 1 --epochs 2";
    place.run(&format!("{ablate} --generators objectives --out a")).done();
    let trials = json(&place.path("a/ablation.json"))["trials"].as_array().expect("trials").clone();
    assert_eq!(trials.len(), 1 + 4 * 6, "the floor, and four ways to draw with six numbers of evaluations");
    assert!(std::fs::read_to_string(place.path("a/report.html")).expect("a report").contains("<svg"));
    // How modules are made is for modules alone; the other tokenisations are compared with them all the same.
    place.write("random.toml", &format!("{QUICK}[modules]\nkind = \"random\"\n"));
    let random = ablate.replace("quick.toml", "random.toml");
    place.run(&format!("{random} --generators tokens --out t")).done();
    let trials = json(&place.path("t/ablation.json"))["trials"].as_array().expect("trials").clone();
    let names: Vec<&str> = trials.iter().map(|trial| trial["variant"].as_str().expect("a name")).collect();
    assert_eq!(names, ["other real cells", "patches", "modules", "latents", "genes"]);
    place.write("ddpm.toml", "[model]\nobjective = \"ddpm\"\n");
    let tokens = "ablate --data cells.h5ad --seeds 1 --epochs 1 --generators tokens";
    place.fails(&format!("{tokens} --config ddpm.toml --out d"), &["objective", "rectified flow"]);
    place.fails(&format!("{ablate} --generators objectives --genes 20 --resume --out a"), &["other settings"]);
    let objectives = "ablate --data cells.h5ad --seeds 1 --epochs 1 --generators objectives --out d";
    for (text, says) in [
        ("[sampling]\nsteps = 3\n", "[sampling]"),
        ("[split]\nseed = 3\n", "[split] is no setting of a comparison"),
        ("[train]\nseed = 3\n", "--seeds"),
    ] {
        place.write("own.toml", text);
        place.fails(&format!("{objectives} --config own.toml"), &[says, "leave it out"]);
    }
    assert!(!place.path("d").exists());
    place.fails("ablate --data cells.h5ad --generators nosuch", &["--generators nosuch", "objectives and tokens"]);
}
