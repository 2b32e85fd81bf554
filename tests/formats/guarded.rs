//! A read that crashes or never ends becomes one line. A named pipe without a writer stands for a file that HDF5 loops over, and
//! the signal of a crash is sent to the tool while it waits there.
#![cfg(unix)]

use crate::commands::tool::{Ended, Place};
use std::{
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// The tool, waiting for a pipe.
fn waiting(place: &Place) -> std::process::Child {
    let pipe = place.path("pipe.h5ad");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("it starts").success());
    let mut command = place.command(["inspect", "pipe.h5ad"]);
    command.env("GENAILAB_READ_SECONDS", "2").stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("it starts")
}

fn ended(child: std::process::Child) -> Ended {
    child.wait_with_output().expect("it ends").into()
}

#[test]
fn a_read_that_hangs() {
    let place = Place::new();
    let started = Instant::now();
    ended(waiting(&place))
        .one_line(&["pipe.h5ad is damaged: HDF5 made no progress for 2 seconds", "GENAILAB_READ_SECONDS"]);
    assert!(started.elapsed() >= Duration::from_secs(2));
}

#[test]
fn a_read_that_crashes() {
    for signal in ["SEGV", "ABRT", "BUS"] {
        let place = Place::new();
        let child = waiting(&place);
        // Until it waits for the pipe, the signal has its usual meaning.
        sleep(Duration::from_millis(700));
        let kill = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
        assert!(kill.expect("it starts").success());
        ended(child).one_line(&["pipe.h5ad is damaged: HDF5 crashed while reading it"]);
    }
}
