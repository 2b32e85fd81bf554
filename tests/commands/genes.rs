//! `--genes`, and data by the name of a public dataset.

use super::tool::{Ended, Place};
use genailab::data::{AnnData, Effects, SimulationConfig};
use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    thread,
};

/// Genes that a trained model predicts.
fn genes_of(place: &Place, model: &str) -> usize {
    place.run(&format!("predict --model {model} --perturbations control --cells 3 --out {model}.h5ad")).done();
    AnnData::open(place.path(&format!("{model}.h5ad"))).expect("a prediction").n_vars()
}

#[test]
fn a_model_of_the_genes_that_are_asked_for() {
    let place = Place::new().with_cells();
    let train = |genes: &str, out: &str| {
        let ended = place.run(&format!("train --data cells.h5ad --epochs 1 --out {out} {genes}"));
        ended.done();
        (ended.stderr, genes_of(&place, out))
    };
    let (said, n) = train("--genes 40", "forty");
    assert!((40..80).contains(&n), "40 variable genes and the perturbed ones: {n}");
    assert!(said.contains(&format!("note: {n} of 150 genes are used: the 40 that vary most")), "{said}");
    assert_eq!(train("--genes all", "all").1, 150);
    assert_eq!(train("", "usual").1, 150, "fewer than 5,000 are all used");
    let names = AnnData::open(place.path("cells.h5ad")).expect("opened").var().expect("genes").names;
    place.write("my genes.txt", &format!("{}\nNOT_THERE\n{}\tcomment\n", names[3], names[9]));
    let named = ["train", "--data", "cells.h5ad", "--epochs", "1", "--out", "named", "--genes", "my genes.txt"];
    let ended: Ended = place.command(named).output().expect("the tool starts").into();
    ended.done();
    assert!(ended.stderr.contains("2 of 150 genes are used, as asked for; 1 of those asked for"), "{}", ended.stderr);
    assert_eq!(genes_of(&place, "named"), 2);
}

#[test]
fn genes_that_cannot_be_chosen() {
    let place = Place::new().with_cells();
    let train = "train --data cells.h5ad --out out --genes";
    place.fails(&format!("{train} 0"), &["--genes 0", "all"]);
    place.fails(&format!("{train} many"), &["--genes many", "no such file"]);
    place.write("empty.txt", "\n\n");
    place.fails(&format!("{train} empty.txt"), &["empty.txt", "names no gene"]);
    place.write("wrong.txt", "X\nY\n");
    place.fails(&format!("{train} wrong.txt"), &["cells.h5ad", "none of the 2 genes", "X, Y"]);
    let cells = genailab::data::Simulation::new(&SimulationConfig { n_cells: 500, n_genes: 60, ..Default::default() });
    let effects = Effects::of_cells(&cells.expect("valid settings").dataset).expect("effects");
    effects.write(place.path("effects.h5ad")).expect("written");
    place.fails("bench --data effects.h5ad --split doubles --genes 20", &["--genes 20", "effects dataset"]);
}

#[test]
fn a_benchmark_chooses_genes_by_what_every_split_trains_on() {
    let place = Place::new().with_cells();
    let ended = place.run("bench --data cells.h5ad --split doubles --seeds 2 --genes 50 --out bench");
    ended.done();
    assert!(ended.stderr.contains("the 50 that vary most among"), "{}", ended.stderr);
    let text = std::fs::read_to_string(place.path("bench/results.json")).expect("results");
    let results: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let genes = results["data"]["genes"].as_u64().expect("a number");
    assert!((50..90).contains(&genes), "{genes}");
}

/// Serves one file to every request, until the test ends.
fn serve(body: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            // A client that hangs up is none of the server's business.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    format!("http://{address}/cells")
}

#[test]
fn public_data_by_its_name() {
    let place = Place::new().with_cells();
    let url = serve(std::fs::read(place.path("cells.h5ad")).expect("read"));
    std::fs::remove_file(place.path("cells.h5ad")).expect("it was there");
    let manifest = serde_json::json!({ "datasets": [{
        "name": "tiny", "title": "simulated", "url": url, "file": "tiny_cells.h5ad", "licence": "none", "citation": "none",
    }] });
    place.write("manifest.json", &manifest.to_string());
    let run = |line: &str| -> Ended {
        let mut command = place.command(line.split_whitespace());
        command.env("GENAILAB_MANIFEST", place.path("manifest.json")).env("GENAILAB_CACHE", place.path("cache"));
        command.output().expect("the tool starts").into()
    };
    let first = run("inspect tiny");
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    assert!(first.stdout.contains("600"), "{}", first.stdout);
    assert!(place.path("cache/tiny_cells.h5ad").is_file());
    let trained = run("train --data tiny --epochs 1 --out out");
    assert_eq!(trained.code, Some(0), "{}", trained.stderr);
    std::fs::write(place.path("cache/tiny_cells.h5ad"), "changed").expect("written");
    run("train --data tiny --epochs 1 --out again").one_line(&["tiny_cells.h5ad"]);
    run("train --data tinny --epochs 1 --out again").one_line(&["tinny", "No such file"]);
}
