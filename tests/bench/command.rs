//! `genailab bench` as a script sees it.

use super::{
    common::{cells, effects},
    contract::check,
};
use crate::common::real_data;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A folder with `effects.h5ad` and `cells.h5ad`, and a tool that runs in it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        effects().write(folder.path().join("effects.h5ad")).unwrap();
        cells().write(folder.path().join("cells.h5ad")).unwrap();
        Self(folder)
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_genailab"));
        command.current_dir(self.0.path()).args(line.split_whitespace());
        command
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    #[track_caller]
    fn done(&self, line: &str) -> String {
        let output = self.run(line);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{line}: {out}{err}");
        out.into_owned()
    }

    #[track_caller]
    fn fails(&self, line: &str, parts: &[&str]) {
        let before = self.files();
        let output = self.run(line);
        let text = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
        assert_eq!(output.status.code(), Some(1), "{line}: {text}");
        assert!(text.starts_with("error: ") && text.lines().count() == 1, "one line is wanted: {text}");
        parts.iter().for_each(|part| assert!(text.contains(part), "{part:?} is missing: {text}"));
        assert_eq!(before, self.files(), "`{line}` left something behind");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn files(&self) -> Vec<PathBuf> {
        fn list(folder: &Path, found: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                found.push(entry.path());
                if entry.path().is_dir() {
                    list(&entry.path(), found);
                }
            }
        }
        let mut found = Vec::new();
        list(self.0.path(), &mut found);
        found.sort();
        found
    }
}

#[test]
fn triples_are_judged_by_models_of_singles_and_doubles() {
    let place = Place::new();
    place.done("simulate --cells 900 --genes 60 --triples 6 --seed 5 --out triples.h5ad");
    place.done("bench --data triples.h5ad --split triples --seeds 1 --models additive,combination --out t");
    let results: serde_json::Value = serde_json::from_str(&place.read("t/results.json")).expect("JSON");
    assert_eq!(results["splits"][0]["test"], 6);
    let of = |model: &str| {
        let rows = results["rows"].as_array().expect("rows");
        rows.iter().filter(|row| row["model"] == model && row["metric"] == "l2").count()
    };
    assert_eq!((of("additive"), of("combination"), of("no_change")), (6, 6, 6), "each triple is predicted");
    let groups = results["groups"].as_array().expect("groups");
    let has_doubles =
        |group: &serde_json::Value| group["group"].as_str().is_some_and(|name| name.starts_with("doubles"));
    assert!(!groups.is_empty() && groups.iter().all(has_doubles), "{groups:?}");
    place.fails("bench --data cells.h5ad --split triples --models additive --out u", &["(0 are triples)", "doubles"]);
}

#[test]
fn both_kinds_of_data_give_the_contract() {
    let place = Place::new();
    for data in ["effects", "cells"] {
        let said = place.done(&format!("bench --data {data}.h5ad --split doubles --seeds 2 --out {data} --threads 2"));
        assert!(said.contains("additive") && said.contains(&format!("{data}/results.json")), "{said}");
        let text = place.read(&format!("{data}/results.json"));
        let results = check(&text);
        assert_eq!(results["dataset"], format!("{data}.h5ad"));
        for seed in 0..2 {
            let split: serde_json::Value =
                serde_json::from_str(&place.read(&format!("{data}/splits/{seed}.json"))).unwrap();
            assert_eq!(split["plan"]["seed"], seed, "the split says how it was made");
        }
        let again = place.done(&format!("bench --data {data}.h5ad --split doubles --seeds 2 --out {data}"));
        assert!(again.contains("additive"));
        assert_eq!(
            text,
            place.read(&format!("{data}/results.json")),
            "read, not computed: even the seconds are the same"
        );
        let left = place.files();
        assert!(left.iter().all(|file| !file.to_string_lossy().contains(".genailab-")), "{left:?}");
    }
}

#[test]
fn predictions_take_part() {
    let place = Place::new();
    std::fs::copy(place.path("effects.h5ad"), place.path("cheater.h5ad")).unwrap();
    let bench = "bench --data effects.h5ad --split doubles --seeds 2 --models additive";
    let said = place.done(&format!("{bench} --predictions cheater.h5ad --predictions other=cheater.h5ad"));
    assert!(said.contains("note: cheater: the same predictions stand for every seed"), "{said}");
    let results = check(&place.read("genailab-bench/results.json"));
    for model in ["cheater", "other"] {
        let of = |one: &&serde_json::Value| one["model"] == model && one["metric"] == "l2";
        let summary = results["summary"].as_array().unwrap().iter().find(of).unwrap();
        assert_eq!(summary["mean"], 0.0, "{summary}");
    }
    place.fails(
        &format!("{bench} --out x --predictions additive=cheater.h5ad"),
        &["two models are called \"additive\""],
    );
}

#[test]
fn wrong_input_is_one_line() {
    let place = Place::new();
    let bench = "bench --data effects.h5ad --out x";
    place.fails(&format!("{bench} --split nothing"), &["there is no split \"nothing\"", "doubles", "simulation"]);
    place.fails(&format!("{bench} --split doubles --seeds 0"), &["--seeds", "at least 1"]);
    place.fails(&format!("{bench} --split doubles --models gears"), &["there is no model \"gears\"", "additive"]);
    place.fails("bench --data nowhere.h5ad --split doubles --out x", &["nowhere.h5ad"]);
    place.fails("bench --data cells.h5ad --split context:well --out x", &["well", "batch"]);
    place.fails(&format!("{bench} --split context:batch"), &["effects"]);
    place.fails(&format!("{bench} --split doubles --gene-sets nowhere.gmt"), &["nowhere.gmt"]);
    place.fails("bench --data cells.h5ad --split doubles --out x --perturbation-column batch", &["control"]);
    assert_eq!(place.run(&format!("{bench} --split doubles --predictions-are medians")).status.code(), Some(2));
    assert_eq!(place.run("bench --data effects.h5ad").status.code(), Some(2), "a split is wanted");
}

/// Finished parts after which a run is interrupted.
#[cfg(unix)]
const PARTS: usize = 3;

#[cfg(unix)]
fn parts(place: &Place, out: &str) -> usize {
    std::fs::read_dir(place.path(out).join("parts")).map_or(0, |files| files.count())
}

/// Runs the tool and sends it Ctrl-C once it has finished some parts.
#[cfg(unix)]
fn interrupted_after_parts(place: &Place, line: &str, out: &str) -> Output {
    let child = place.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while parts(place, out) < PARTS {
        assert!(start.elapsed() < Duration::from_secs(60), "no part was finished");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    child.wait_with_output().unwrap()
}

/// Ctrl-C after some parts: one line, no results, and the same command goes on to the results of an unbroken run.
#[cfg(unix)]
#[test]
fn an_interrupted_command_goes_on() {
    let place = Place::new();
    // A fast machine may end a short run before the signal arrives: then a longer one is interrupted.
    let (bench, out, output) = [8, 64, 512]
        .into_iter()
        .find_map(|seeds| {
            let bench =
                format!("bench --data cells.h5ad --split doubles --seeds {seeds} --threads 1 --models additive");
            let out = format!("o{seeds}");
            let output = interrupted_after_parts(&place, &format!("{bench} --out {out}"), &out);
            (!output.status.success()).then_some((bench, out, output))
        })
        .expect("even the longest run ended before the signal arrived");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = said.trim_end().lines().last().unwrap_or_default();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(last.starts_with("error: interrupted; ") && last.contains("the same command goes on"), "{said}");
    assert!(!place.path(&out).join("results.json").exists());
    let kept = parts(&place, &out);
    assert!(kept >= PARTS);
    place.done(&format!("{bench} --out {out}"));
    assert!(parts(&place, &out) > kept);
    place.done(&format!("{bench} --out unbroken"));
    let rows = |folder: &str| check(&place.read(&format!("{folder}/results.json")))["rows"].clone();
    assert_eq!(rows(&out), rows("unbroken"));
}

#[test]
fn data_without_control_or_doubles() {
    let place = Place::new();
    if let Some(file) = real_data("papalexi_cells.h5ad") {
        place.fails(&format!("bench --data {} --split doubles --out x", file.display()), &["double"]);
    }
}

#[test]
fn settings_of_models_come_from_a_file() {
    let place = Place::new();
    let write = |text: &str| std::fs::write(place.path("bench.toml"), text).unwrap();
    let bench = "bench --data effects.h5ad --split doubles --seeds 1 --models vae,latent_additive --config bench.toml";
    write(
        "[vae.train] # short\nepochs = 2\n\n[vae.model]\nlatent = 3\n[latent_additive]\nwidth = 7\n[vae]\nvalidation_fraction = 0.3\n",
    );
    place.done(&format!("{bench} --out out"));
    let results: serde_json::Value = serde_json::from_str(&place.read("out/results.json")).unwrap();
    let settings = |name: &str| {
        let models = results["models"].as_array().unwrap();
        models.iter().find(|model| model["name"] == name).unwrap()["settings"].clone()
    };
    let vae = &settings("vae")["settings"];
    assert_eq!((&vae["train"]["epochs"], &vae["model"]["latent"]), (&2.into(), &3.into()));
    assert_eq!((&vae["validation_fraction"], &vae["model"]["hidden"][0]), (&0.3.into(), &128.into()), "kept");
    assert_eq!(settings("latent_additive")["width"], 7);
    for (text, parts) in [
        ("[vae.train]\nepochs = 2\nlr = 3\n", &["bench.toml line 3", "unknown field `lr`"][..]),
        ("# many\n[latent_additive]\nwidth = 0\n", &["bench.toml line 3", "width must be at least 1"]),
        ("[vaee]\nlatent = 2\n", &["bench.toml", "there is no model \"vaee\"", "vae_conditional"]),
        ("[additive]\nfactor = 2\n", &["bench.toml", "additive has no settings"]),
        ("[combination]\nno_such = 2\n", &["bench.toml line 2", "no_such"]),
        ("[vae.split]\ntest = 0.5\n", &["bench.toml", "[vae.split]"]),
        ("epochs = 3\n", &["bench.toml line 1", "epochs", "beneath the name of their model"]),
        ("vae = { train = { lr = 3 } }\n", &["bench.toml", "unknown field `lr`"]),
        ("[vae\n", &["bench.toml line 1"]),
    ] {
        write(text);
        place.fails(&format!("{bench} --out bad"), parts);
    }
}

#[test]
fn a_device_that_is_not_there_is_refused() {
    let place = Place::new();
    let bench = "bench --data effects.h5ad --split doubles --seeds 1 --out out";
    place.fails(&format!("{bench} --device metal"), &["metal"]);
    if cfg!(not(feature = "cuda")) {
        place.fails(&format!("{bench} --device cuda --models vae"), &["cuda"]);
    }
    place.done(&format!("{bench} --device cpu --models mean"));
}
