//! Wrong settings and wrong usage.

use super::tool::Place;

#[test]
fn a_configuration_is_checked_line_by_line() {
    let place = Place::new().with_cells();
    for (text, line, parts) in [
        ("[train]\nepochs = 2\nlr = 3\n", 3, &["unknown field `lr`", "learning_rate"][..]),
        ("[model]\n\nlatent = \"many\"\n", 3, &["many"]),
        ("[model]\nlikelihood = \"poisson\"\n", 2, &["poisson", "zinb"]),
        ("[training]\n", 1, &["training", "train"]),
        ("[train]\nlearning_rate = -1.0\n", 2, &["learning_rate", "above 0"]),
        ("[train]\nseed = 1\n[model]\ndropout = 1.5\n", 4, &["dropout"]),
        ("[split]\ntest = 1.0\n", 2, &["test = 1", "below 1"]),
        ("[train\n", 1, &[]),
    ] {
        place.write("bad.toml", text);
        for command in ["train", "run"] {
            let place_named = format!("bad.toml line {line}: ");
            let parts: Vec<&str> = parts.iter().copied().chain([place_named.as_str()]).collect();
            place.fails(&format!("{command} --data cells.h5ad --out out --config bad.toml"), &parts);
        }
    }
    place.fails("train --data cells.h5ad --out out --config missing.toml", &["missing.toml", "No such file"]);
}

#[test]
fn arguments_that_ask_for_the_impossible() {
    let place = Place::new().with_cells();
    for command in ["train --data cells.h5ad --out out", "run --data cells.h5ad --out out"] {
        place.fails(&format!("{command} --epochs 0"), &["epochs = 0", "at least 1"]);
        place.fails(&format!("{command} --resume"), &["nothing to resume", "last.safetensors"]);
        if cfg!(not(feature = "cuda")) {
            place.fails(&format!("{command} --device cuda"), &["cuda"]);
            place.fails(&format!("{command} --device cuda:1"), &["cuda"]);
        }
        place.fails(&format!("{command} --device metal"), &["metal", "not built in"]);
    }
    place.fails("train --data cells.h5ad --out out --model gpt", &["gpt", "vae"]);
}

#[test]
fn wrong_usage_is_another_exit_code() {
    let place = Place::new();
    for line in [
        "trian",
        "train",
        "train --data a.h5ad",
        "predict --model m --out p.h5ad",
        "predict --model m --perturbations A --cells -1 --out p.h5ad",
        "run --epochs many",
        "run --device gpu",
        "inspect",
        "simulate",
        "bench-train",
    ] {
        let ended = place.run(line);
        assert_eq!(ended.code, Some(2), "genailab {line}: {}", ended.stderr);
        assert!(ended.stdout.is_empty() && ended.stderr.contains("--help"), "genailab {line}: {}", ended.stderr);
    }
    assert!(place.files().is_empty());
}

#[test]
fn help_is_no_mistake() {
    let place = Place::new();
    for command in ["run", "train", "predict", "inspect", "simulate", "bench-train"] {
        let help = place.run(&format!("{command} --help"));
        assert!(help.done().contains("Usage: genailab"), "{}", help.stdout);
    }
}

#[test]
fn folders_that_cannot_be_written() {
    let place = Place::new().with_cells();
    place.write("file", "a file where a folder is needed");
    for out in ["file", "file/below", "/proc/nowhere"] {
        for command in ["train", "run"] {
            place.fails(&format!("{command} --data cells.h5ad --out {out} --epochs 1"), &["folder", out]);
        }
        place.fails(&format!("simulate --cells 60 --genes 150 --out {out}/s.h5ad"), &["cannot write", out]);
    }
}

/// Root may write anywhere, but nobody gets past a limit on the size of a file: the nearest to a full disk.
#[cfg(unix)]
#[test]
fn a_disk_that_is_full() {
    use crate::commands::tool::{BINARY, Ended, model};
    let place = Place::new().with_cells();
    let limited = |kilobytes: u32, line: &str| -> Ended {
        let script = format!("trap '' XFSZ; ulimit -f {kilobytes}; exec \"$0\" {line}");
        let mut bash = std::process::Command::new("bash");
        bash.current_dir(place.path("")).args(["-c", &script, BINARY]).output().expect("bash starts").into()
    };
    let predict = format!("predict --model {} --perturbations control --cells 2000", model().display());
    let before = place.files();
    limited(8, &format!("{predict} --out p.h5ad")).one_line(&["cannot write p.h5ad", "File too large"]);
    limited(8, "simulate --cells 600 --genes 150 --out s.h5ad").one_line(&["cannot write s.h5ad", "File too large"]);
    assert_eq!(place.files(), before);
    limited(64, "train --data cells.h5ad --out out --epochs 2").one_line(&["last.safetensors", "File too large"]);
    let left = place.files();
    assert!(!left.iter().any(|file| file.contains(".genailab-") || file.ends_with(".part")), "{left:?}");
    assert!(!left.iter().any(|file| file.ends_with(".safetensors")), "{left:?}");
    // Once there is room again, the same command works.
    place.run("train --data cells.h5ad --out out --epochs 1").done();
}

/// Where nobody can read what is printed, the work is still done; where it cannot be stored, one line says so.
#[cfg(target_os = "linux")]
#[test]
fn output_that_goes_nowhere() {
    use crate::commands::tool::Ended;
    use std::process::Stdio;
    let place = Place::new().with_cells();
    for line in [
        "train --data cells.h5ad --out out --epochs 1",
        "inspect cells.h5ad",
        "simulate --cells 60 --genes 150 --out s.h5ad",
        "bench-train --data cells.h5ad --cells 100 --json",
    ] {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("Linux has it");
        let output = place.command(line.split_whitespace()).stdout(Stdio::from(full)).output().expect("it starts");
        Ended::from(output).one_line(&["stdout", "No space left"]);
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = place.command(line.split_whitespace()).stdout(writer).output().expect("it starts");
        Ended::from(output).done();
    }
}
