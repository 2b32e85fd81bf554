//! A process that is killed at any moment: nothing half-written is taken for whole, and the same work goes on to the same bits.
//!
//! ```text
//! cargo test --release --test integration kills::      one moment of each command
//! make kill N=20 SEED=7                                as many as you like, 20 if none is said
//! ```

use super::tool::{Ended, Place};
use genailab::data::{Dataset, Simulation, SimulationConfig};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    env,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Where a job writes that is killed.
const KILLED: &str = "killed";
/// Public data of a test.
const MANIFEST: &str = "manifest.json";

/// Something of the environment as a number.
fn given(name: &str, usual: u64) -> u64 {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(usual)
}

/// A command that writes to OUT, and what is compared of it.
struct Job {
    line: String,
    /// Where the command goes on only if it is told to.
    resume: bool,
    result: fn(&Path) -> Vec<u8>,
}

impl Job {
    fn line(&self, out: &str, resume: bool) -> Vec<String> {
        let resume = resume.then(|| "--resume".to_owned());
        self.line.replace("OUT", out).split_whitespace().map(str::to_owned).chain(resume).collect()
    }

    fn start(&self, place: &Place, line: &[String]) -> Child {
        let mut command = place.command(line);
        if place.path(MANIFEST).exists() {
            command.env("GENAILAB_MANIFEST", place.path(MANIFEST));
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
    }

    fn finish(&self, place: &Place, line: &[String]) -> Ended {
        self.start(place, line).wait_with_output().expect("it ends").into()
    }

    /// Once without being disturbed, then killed at moments of that time and gone on with.
    fn survives(&self, place: &Place) {
        let begin = Instant::now();
        assert_eq!(self.finish(place, &self.line("whole", false)).code, Some(0));
        let (time, whole) = (begin.elapsed(), (self.result)(&place.path("whole")));
        let mut rng = ChaCha8Rng::seed_from_u64(given("GENAILAB_KILL_SEED", 1));
        for moment in 0..given("GENAILAB_KILLS", 1) {
            let after = time.mul_f64(rng.random_range(0.0..0.95));
            let said = self.once(place, after);
            let end = (self.result)(&place.path(KILLED));
            assert!(end == whole, "{} killed after {after:?} (number {moment}) ended otherwise: {said}", self.line);
            let in_progress = |file: &String| [".genailab-", ".genailab.lock"].iter().any(|name| file.contains(name));
            let left: Vec<String> = place.files().into_iter().filter(in_progress).collect();
            assert!(left.is_empty(), "{} killed after {after:?} left {left:?}", self.line);
            let out = place.path(KILLED);
            if out.is_dir() { std::fs::remove_dir_all(out) } else { std::fs::remove_file(out) }.expect("it was made");
        }
    }

    /// Killed after a time, and brought to its end as a user would.
    fn once(&self, place: &Place, after: Duration) -> String {
        let mut child = self.start(place, &self.line(KILLED, false));
        thread::sleep(after);
        child.kill().expect("a process of ours");
        child.wait().expect("it is gone");
        let again = self.finish(place, &self.line(KILLED, self.resume));
        if again.code == Some(0) {
            return again.stderr;
        }
        // Killed before there was anything to go on with: it says so, and begins anew without --resume.
        again.one_line(&["nothing to resume", "leave out --resume"]);
        let anew = self.finish(place, &self.line(KILLED, false));
        assert_eq!(anew.code, Some(0), "{} killed after {after:?}: {}", self.line, anew.stderr);
        anew.stderr
    }
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Weights and figures of a model.
fn model(folder: &Path) -> Vec<u8> {
    ["model.safetensors", "model.json", "metrics.json", "split.json"].map(|name| read(&folder.join(name))).concat()
}

#[test]
fn a_training() {
    let place = Place::new().with_cells();
    for model_and_epochs in ["vae --epochs 12", "jepa --preset tiny --epochs 2"] {
        let line = format!("train --data cells.h5ad --out OUT --model {model_and_epochs}");
        Job { line, resume: true, result: model }.survives(&place);
        std::fs::remove_dir_all(place.path("whole")).expect("it was made");
    }
}

#[test]
fn a_run() {
    let place = Place::new();
    // Few perturbations, so that it is over soon.
    let config =
        SimulationConfig { n_cells: 300, n_genes: 60, n_singles: 3, doubles_per_class: 0, ..Default::default() };
    let cells = Simulation::new(&config).expect("valid settings").dataset;
    cells.write(place.path("cells.h5ad")).expect("written");
    place.write("free.toml", "[qc]\nmin_genes = 1\nmin_cells_per_perturbation = 1\n");
    let result = |folder: &Path| {
        assert!(folder.join("report.html").exists());
        ["vae", "jepa", "jepa-diffusion", "diffusion"]
            .map(|name| read(&folder.join(name).join("model.safetensors")))
            .concat()
    };
    let line = "run --data cells.h5ad --out OUT --config free.toml --epochs 2".to_owned();
    Job { line, resume: true, result }.survives(&place);
}

#[test]
fn a_benchmark() {
    let place = Place::new().with_cells();
    let result = |folder: &Path| {
        let results: serde_json::Value = serde_json::from_slice(&read(&folder.join("results.json"))).expect("JSON");
        results["rows"].to_string().into_bytes()
    };
    let line =
        "bench --data cells.h5ad --out OUT --split doubles --seeds 4 --models additive,linear,kernel_ridge".to_owned();
    Job { line, resume: false, result }.survives(&place);
}

#[test]
fn a_conversion() {
    let place = Place::new();
    place.run("simulate --cells 1200 --genes 800 --seed 3 --out cells.h5ad").done();
    let result = |file: &Path| {
        let data = Dataset::open(file).expect("whole");
        format!("{:?} {:?}", data.counts.row_sums(), data.labels).into_bytes()
    };
    Job { line: "convert cells.h5ad OUT --gzip 9".to_owned(), resume: false, result }.survives(&place);
}

/// Bytes that a slow server sends at once.
const PIECE: usize = 1 << 14;

#[test]
fn a_download() {
    let place = Place::new();
    let mut body = vec![0; 60 * PIECE];
    ChaCha8Rng::seed_from_u64(2).fill(&mut body[..]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/cells", listener.local_addr().expect("bound"));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let body = body.clone();
            thread::spawn(move || serve(stream, &body));
        }
    });
    let public = serde_json::json!({
        "name": "tiny", "title": "random", "url": url, "file": "cells.h5ad", "licence": "none", "citation": "none",
    });
    place.write(MANIFEST, &serde_json::json!({ "datasets": [public] }).to_string());
    let result = |folder: &Path| read(&folder.join("cells.h5ad"));
    Job { line: "fetch tiny --dir OUT".to_owned(), resume: false, result }.survives(&place);
}

/// Sends what is asked for, a piece at a time. A client that is gone is none of the server's business.
pub fn serve(mut stream: TcpStream, body: &[u8]) -> std::io::Result<()> {
    let lines: Vec<String> =
        BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let asked = lines.iter().find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    let from: usize = asked.and_then(|range| range.trim_end_matches('-').parse().ok()).unwrap_or(0);
    let status = match from {
        0 => "200 OK".to_owned(),
        _ => format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{}", body.len() - 1, body.len()),
    };
    let length = body.len() - from;
    write!(stream, "HTTP/1.1 {status}\r\nETag: \"1\"\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
    for piece in body[from..].chunks(PIECE) {
        stream.write_all(piece)?;
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
