//! What a command must not write over, what it leaves when it is stopped, and what it finds of one that was killed.

use super::tool::{Ended, Place, copy_folder, model};
use genailab::data::{AnnData, AnnDataWriter, Column};
use std::{
    process::Stdio,
    thread::sleep,
    time::{Duration, Instant},
};

fn read(place: &Place, name: &str) -> Vec<u8> {
    std::fs::read(place.path(name)).expect("it is there")
}

#[test]
fn no_result_replaces_what_it_is_made_of() {
    let place = Place::new().with_cells();
    let said = ["cells.h5ad is read by this command", "another name"];
    std::fs::hard_link(place.path("cells.h5ad"), place.path("same.h5ad")).expect("a link");
    for line in [
        "convert cells.h5ad cells.h5ad",
        "de --data cells.h5ad --out cells.h5ad",
        "distances --data cells.h5ad --out ./cells.h5ad",
        "pseudotime --data cells.h5ad --root control --out cells.h5ad",
        "split --data cells.h5ad --split doubles --out cells.h5ad",
    ] {
        place.fails(line, &said);
    }
    place.write("sets.gmt", "ONE\tx\tG001\tG002\n");
    place.fails("enrich --data cells.h5ad --gene-sets sets.gmt --out sets.gmt", &["sets.gmt is read", "another name"]);
    copy_folder(model(), &place.path("vae"));
    place.fails("embed --model vae --data cells.h5ad --out cells.h5ad", &said);
    place.fails("embed --model vae --data cells.h5ad --out vae/model.json", &["model.json is read", "another name"]);
    place.fails("adapt --model vae --data cells.h5ad --out vae/../vae", &["the folder of --model", "another --out"]);
}

#[cfg(unix)]
#[test]
fn links_stay_and_pipes_are_refused() {
    let place = Place::new().with_cells();
    std::fs::create_dir(place.path("elsewhere")).expect("a folder");
    std::os::unix::fs::symlink("elsewhere/wanted.csv", place.path("link.csv")).expect("a link");
    place.run("distances --data cells.h5ad --to-control --cells 5 --out link.csv").done();
    assert!(place.path("link.csv").is_symlink());
    assert!(!read(&place, "elsewhere/wanted.csv").is_empty());
    let pipe = std::process::Command::new("mkfifo").arg(place.path("pipe.csv")).status();
    assert!(pipe.expect("a tool of every Unix").success());
    let ended = place.run("distances --data cells.h5ad --to-control --out pipe.csv");
    ended.one_line(&["pipe.csv", "a device or a pipe"]);
}

#[test]
fn what_a_killed_process_left_is_removed() {
    let place = Place::new().with_cells();
    place.write(".genailab-abc123.part", "half of a table");
    place.run("convert cells.h5ad out.h5ad").done();
    assert_eq!(place.files(), ["cells.h5ad", "out.h5ad"]);
    for folder in ["out", "out/vae"] {
        std::fs::create_dir(place.path(folder)).expect("a folder");
        place.write(&format!("{folder}/.genailab-abc123.part"), "half of a model");
    }
    place.run("screen --data cells.h5ad --target G063 --out out").code.expect("it ends");
    assert!(!place.files().iter().any(|file| file.contains(".genailab")), "{:?}", place.files());
}

#[cfg(unix)]
#[test]
fn ctrl_c_while_a_file_is_written() {
    let place = Place::new();
    place.run("simulate --cells 1500 --genes 800 --seed 3 --out cells.h5ad").done();
    let is_writing = || place.files().iter().any(|file| file.contains(".genailab-"));
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        let mut command = place.command("convert cells.h5ad out.h5ad --gzip 9".split(' '));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        while !is_writing() && child.try_wait().expect("a child of ours").is_none() {
            sleep(Duration::from_millis(1));
        }
        // SAFETY: a signal to a child that has not been waited for.
        unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) };
        let ended: Ended = child.wait_with_output().expect("it ends").into();
        if ended.code == Some(0) {
            continue;
        }
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), "error: interrupted\n"));
        assert_eq!(place.files(), ["cells.h5ad"]);
        return;
    }
    panic!("the file was always written before the signal came");
}

/// As nohup leaves it: the signal is ignored before the program starts.
#[cfg(unix)]
#[test]
fn a_hangup_that_is_ignored_stays_ignored() {
    let place = Place::new();
    let mut command = place.command("simulate --cells 3000 --genes 800 --seed 3 --out cells.h5ad".split(' '));
    // SAFETY: it sets how the child meets a signal, which may be done between fork and exec.
    unsafe {
        std::os::unix::process::CommandExt::pre_exec(&mut command, || {
            libc::signal(libc::SIGHUP, libc::SIG_IGN);
            Ok(())
        });
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    while child.try_wait().expect("a child of ours").is_none() {
        // SAFETY: a signal to a child that has not been waited for.
        unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGHUP) };
        sleep(Duration::from_millis(20));
    }
    let ended: Ended = child.wait_with_output().expect("it ends").into();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(place.files(), ["cells.h5ad"]);
}

#[test]
fn results_are_not_put_into_the_folder_of_a_model() {
    let place = Place::new().with_cells();
    copy_folder(model(), &place.path("m"));
    place.fails(
        "bench --data cells.h5ad --split doubles --seeds 1 --models no_change --out m",
        &["m holds a model", "--out"],
    );
}

#[test]
fn doses_that_the_data_lacks_are_said() {
    let place = Place::new().with_cells();
    place.run("simulate --cells 300 --genes 60 --doses 1,10,100 --seed 3 --out dosed.h5ad").done();
    place.run("train --data dosed.h5ad --epochs 1 --out model").done();
    let ended = place
        .run("dose-response --model model --perturbations G11 --doses 1,10 --cells 20 --data cells.h5ad --out curves");
    assert!(ended.stderr.contains("note: cells.h5ad has no measured dose of G11"), "{}", ended.stderr);
}

#[test]
fn names_with_commas_stay_one_field() {
    let place = Place::new().with_cells();
    let file = AnnData::open(place.path("cells.h5ad")).expect("simulated");
    let (mut obs, var) = (file.obs().expect("obs"), file.var().expect("var"));
    let mut labels = obs.column("perturbation").expect("it names them").to_text();
    let single = labels.iter().flatten().find(|label| *label != "control" && !label.contains('+')).cloned();
    labels.iter_mut().filter(|label| **label == single).for_each(|label| *label = Some("2,4-DNP".to_owned()));
    obs.set("perturbation", Column::Text(labels));
    let counts = file.read_matrix("X").expect("counts");
    AnnDataWriter::new(&obs, &var).x(&counts).write(place.path("drugs.h5ad")).expect("written");
    for (line, table) in [
        ("distances --data drugs.h5ad --out pairs.csv --cells 20", "pairs.csv"),
        ("distances --data drugs.h5ad --out control.csv --cells 20 --to-control", "control.csv"),
        ("distances --data drugs.h5ad --out test.csv --cells 20 --test --permutations 5", "test.csv"),
        ("de --data drugs.h5ad --out de.csv", "de.csv"),
    ] {
        place.run(line).done();
        let text = String::from_utf8(read(&place, table)).expect("UTF-8");
        assert!(text.contains("\"2,4-DNP\",") && !text.contains("\n2,4-DNP"), "{table}");
    }
}
