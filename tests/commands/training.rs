//! Training into a folder: anew, again, stopped, resumed.

use super::tool::{Place, copy_folder, json, model};
use crate::common::real_data;
use genailab::data::{Dataset, Effects};

const FILES: [&str; 9] = [
    "events.out.tfevents.genailab",
    "history.jsonl",
    "last.safetensors",
    "metrics.json",
    "model.json",
    "model.safetensors",
    "provenance.json",
    "split.json",
    "training.json",
];

fn weights(place: &Place, folder: &str) -> Vec<u8> {
    std::fs::read(place.path(folder).join("model.safetensors")).expect("a trained model")
}

#[test]
fn a_folder_holds_one_training() {
    let place = Place::new().with_cells();
    let before = place.files();
    let said = place.run("train --data cells.h5ad --out model --epochs 2 --seed 1");
    assert!(said.done().contains("held-out ELBO") && said.stdout.ends_with("model: model\n"), "{}", said.stdout);
    let new: Vec<String> = place.files().into_iter().filter(|file| !before.contains(file)).collect();
    let expected: Vec<String> =
        std::iter::once("model".to_owned()).chain(FILES.map(|file| format!("model/{file}"))).collect();
    assert_eq!(new, expected);
    assert!(json(&place.path("model/metrics.json"))["test"]["elbo"].as_f64().is_some_and(|elbo| elbo < 0.0));
    let lines = |folder: &str| std::fs::read_to_string(place.path(folder).join("history.jsonl")).expect("text");
    assert_eq!(lines("model").lines().count(), 2);

    // The same seed gives the same model, another one another; a finished training is replaced.
    let first = weights(&place, "model");
    place.run("train --data cells.h5ad --out model --epochs 1 --seed 2").done();
    assert_ne!(weights(&place, "model"), first);
    assert_eq!(lines("model").lines().count(), 1);
    place.run("train --data cells.h5ad --out model --epochs 2 --seed 1").done();
    assert_eq!(weights(&place, "model"), first);

    // A finished training can be made longer.
    place.run("train --data cells.h5ad --out model --epochs 3 --seed 1 --resume").done();
    assert_eq!(lines("model").lines().count(), 3);
    place.run("train --data cells.h5ad --out model --epochs 3 --seed 1 --resume").done();
    place.run("train --data cells.h5ad --out straight --epochs 3 --seed 1").done();
    assert_eq!(weights(&place, "model"), weights(&place, "straight"));
}

#[test]
fn a_folder_where_another_process_trains_is_left_to_it() {
    let place = Place::new().with_cells();
    for folder in ["out", "out/vae"] {
        std::fs::create_dir(place.path(folder)).expect("a folder can be made");
        place.write(&format!("{folder}/last.safetensors"), "of a training that has begun");
    }
    let lock = std::fs::File::create(place.path("out/.genailab.lock")).expect("a file can be made");
    lock.try_lock().expect("nobody else holds it");
    for command in ["train", "run"] {
        let line = format!("{command} --data cells.h5ad --out out");
        place.fails(&line, &["another genailab writes into out", "wait", "--out"]);
        place.fails(&format!("{command} --data cells.h5ad --out cells.h5ad"), &["cells.h5ad is a file", "--out"]);
    }
}

#[test]
fn only_the_same_training_is_resumed() {
    let place = Place::new().with_cells();
    copy_folder(model(), &place.path("model"));
    let resume = "train --data cells.h5ad --out model --epochs 4 --resume";
    place.write("other.toml", "[train]\nbatch_size = 64\n");
    place.write("beta.toml", "[model]\nbeta = 2.0\n");
    place.write("narrow.toml", "[model]\nlatent = 8\n");
    let cases = [
        ("--seed 5", &["cannot resume", "seed"][..]),
        ("--config other.toml", &["cannot resume with other settings", "batch_size was 128 and is now 64"]),
        ("--config narrow.toml", &["training.json", "latent was 64 and is now 8"]),
        ("--config beta.toml", &["training.json", "beta was 1.0 and is now 2.0"]),
    ];
    for (change, parts) in cases {
        place.fails(&format!("{resume} {change}"), parts);
    }
    // What was refused has changed nothing.
    place.run("predict --model model --perturbations control --cells 3 --out p.h5ad").done();
    place.run("train --data cells.h5ad --out model --epochs 2 --resume").done();
    std::fs::write(place.path("model/last.safetensors"), b"half a checkpoint").expect("written");
    place.fails(resume, &["last.safetensors", "not a whole safetensors file"]);
}

#[cfg(unix)]
#[test]
fn an_interrupted_training_is_resumed_bit_for_bit() {
    use crate::commands::tool::Ended;
    use std::{
        process::{Command, Stdio},
        time::{Duration, Instant},
    };
    let place = Place::new().with_cells();
    let interrupted = |line: &str, checkpoint: &str| -> Ended {
        let mut command = place.command(line.split_whitespace());
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let begin = Instant::now();
        while !place.path(checkpoint).exists() {
            assert!(begin.elapsed() < Duration::from_secs(60), "no checkpoint came");
            std::thread::sleep(Duration::from_millis(2));
        }
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill starts").success());
        child.wait_with_output().expect("it ends").into()
    };
    let train = "train --data cells.h5ad --epochs 40 --out";
    interrupted(&format!("{train} stopped"), "stopped/last.safetensors").one_line(&[
        "interrupted in epoch",
        "stopped/last.safetensors",
        "--resume",
    ]);
    let left = place.files();
    assert!(!left.iter().any(|file| file.contains(".genailab-")), "{left:?}");
    place.fails(&format!("{train} stopped"), &["stopped", "was stopped", "--resume"]);
    place.fails(
        "predict --model stopped --perturbations control --out p.h5ad",
        &["did not come to its end", "--resume"],
    );
    place.run(&format!("{train} stopped --resume")).done();
    place.run(&format!("{train} straight")).done();
    assert_eq!(weights(&place, "stopped"), weights(&place, "straight"));
    for name in ["model.json", "split.json", "metrics.json"] {
        let read = |folder: &str| std::fs::read(place.path(folder).join(name)).expect("a file");
        assert_eq!(read("stopped"), read("straight"), "{name}");
    }

    place.write("free.toml", "[qc]\nmin_genes = 1\nmin_cells_per_perturbation = 1\n");
    let run = "run --data cells.h5ad --config free.toml --epochs 10 --out report";
    interrupted(run, "report/vae/last.safetensors").one_line(&["interrupted in epoch", "--resume"]);
    // That it goes on to the same report is seen in `kills`.
    assert!(!place.path("report/report.html").exists());
}

#[test]
fn effects_have_no_count_likelihood() {
    let Some(effects) = real_data("norman_pseudobulk.h5ad") else { return };
    let place = Place::new();
    let data = effects.display();
    for likelihood in ["nb", "zinb"] {
        place.write("counts.toml", &format!("[model]\nlikelihood = \"{likelihood}\"\n"));
        for command in ["train", "run"] {
            let line = format!("{command} --data {data} --out out --config counts.toml");
            place.fails(&line, &["effects are no counts", "gaussian"]);
        }
    }
    place.fails(&format!("bench-train --data {data}"), &["needs cells", "effects dataset"]);
}

#[test]
fn quality_control_comes_before_averaging() {
    let place = Place::new().with_cells();
    place.write("qc.toml", "[qc]\nmin_genes = 1\nmin_cells_per_perturbation = 1\nmin_cells_per_gene = 500\n");
    let said = place.run("train --data cells.h5ad --model combination --config qc.toml --out means");
    assert!(said.done().contains("of 150 kept"), "{}", said.stdout);
    let genes = json(&place.path("means/model.json"))["description"]["genes"].as_array().expect("a list").len();
    assert!((1..150).contains(&genes), "{genes} of 150 genes are counted in 500 cells");

    let cells = Dataset::open(place.path("cells.h5ad")).expect("cells");
    Effects::of_cells(&cells).expect("effects").write(place.path("effects.h5ad")).expect("written");
    for line in ["train --data effects.h5ad --model combination --out e", "run --data effects.h5ad --epochs 1 --out r"]
    {
        let said = place.run(&format!("{line} --config qc.toml"));
        assert!(said.done().contains("[qc] has no meaning for an effects dataset"), "{}", said.stdout);
    }
}
