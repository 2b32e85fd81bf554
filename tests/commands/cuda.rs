//! `--device cuda` of a program without CUDA: it becomes `genailab-cuda`. A library of three lines stands in for NVIDIA's
//! driver, and a script for the other program.

#![cfg(all(unix, not(feature = "cuda")))]

use super::tool::{BINARY, Ended, Place};
use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

/// Says what it was started with, and ends with a code of its own.
const PROGRAM: &str = "#!/bin/sh\necho started with \"$@\"\nexit 7\n";

/// The tool in a folder where no `genailab-cuda` lies beside it.
fn tool(place: &Place) -> PathBuf {
    let tool = place.path("genailab");
    fs::hard_link(BINARY, &tool).or_else(|_| fs::copy(BINARY, &tool).map(drop)).expect("a program can be copied");
    tool
}

fn write_program(place: &Place) {
    place.write("genailab-cuda", PROGRAM);
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(place.path("genailab-cuda"), mode).expect("its mode can be set");
}

/// A driver that counts `gpus` GPUs.
fn write_driver(place: &Place, gpus: usize) {
    let source =
        format!("int cuInit(unsigned f) {{ return 0; }} int cuDeviceGetCount(int *n) {{ *n = {gpus}; return 0; }}");
    place.write("driver.c", &source);
    let library = place.path("libcuda.so.1");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(place.path("driver.c")).status();
    assert!(built.expect("the linker of Rust is there").success());
}

fn run(place: &Place, line: &str, set: &[(&str, &str)]) -> Ended {
    let mut command = Command::new(place.path("genailab"));
    command.current_dir(place.path("")).args(line.split_whitespace());
    command.env("LD_LIBRARY_PATH", place.path("")).env("PATH", "/usr/bin:/bin").envs(set.iter().copied());
    command.output().expect("it starts").into()
}

#[test]
fn the_other_program_is_started_with_the_same_arguments() {
    let place = Place::new();
    tool(&place);
    if cfg!(target_os = "linux") {
        write_driver(&place, 2);
        let line = "train --data none.h5ad --device cuda --out m";
        run(&place, line, &[]).one_line(&["cuda", "not built in", "genailab-cuda", "make cuda"]);
        write_program(&place);
        for device in ["cuda", "cuda:1"] {
            let ended = run(&place, &format!("train --data none.h5ad --device {device} --out m"), &[]);
            assert_eq!(ended.code, Some(7), "{}", ended.stderr);
            assert_eq!(ended.stdout, format!("started with train --data none.h5ad --device {device} --out m\n"));
        }
        let asked = run(&place, "predict --model m --perturbations A --out p.h5ad", &[("GENAILAB_DEVICE", "cuda")]);
        assert_eq!(asked.code, Some(7), "{}", asked.stderr);
        run(&place, "train --data none.h5ad --device cuda:2 --out m", &[]).one_line(&["cuda:2", "only 2 GPUs"]);
        // What computes nowhere, and what asks for another device, stays.
        let stays = run(&place, "datasets", &[("GENAILAB_DEVICE", "cuda")]);
        assert_eq!(stays.code, Some(0), "{}", stays.stderr);
        run(&place, "train --data none.h5ad --device cpu --out m", &[("GENAILAB_DEVICE", "cuda")]).one_line(&["none"]);
        let doctor = run(&place, "doctor", &[]);
        assert!(doctor.stdout.contains("2 NVIDIA GPUs are there"), "{}", doctor.stdout);
    }
}

/// A plain program by that name would start itself for ever.
#[test]
fn a_program_without_cuda_is_not_started_twice() {
    if cfg!(target_os = "linux") {
        let place = Place::new();
        tool(&place);
        write_driver(&place, 1);
        fs::hard_link(place.path("genailab"), place.path("genailab-cuda")).expect("one more name");
        run(&place, "train --data none.h5ad --device cuda --out m", &[]).one_line(&["built without CUDA", "make cuda"]);
    }
}

#[test]
fn a_driver_without_a_gpu_is_said_in_one_line() {
    let place = Place::new();
    tool(&place);
    write_program(&place);
    let doctor = run(&place, "doctor", &[("GENAILAB_DEVICE", "nonsense")]);
    assert!(doctor.stdout.contains("--device auto cannot be used: GENAILAB_DEVICE says nonsense"), "{}", doctor.stdout);
    if cfg!(target_os = "linux") {
        write_driver(&place, 0);
        let line = "bench-train --data none.h5ad --device cuda";
        run(&place, line, &[]).one_line(&["cuda", "no NVIDIA GPU", "use cpu"]);
    }
}
