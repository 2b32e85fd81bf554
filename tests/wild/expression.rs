//! Values that are no counts: a microarray, log-normalised cells, z-scores.

use crate::{
    commands::tool::{Place, json},
    common::real_data,
};
use genailab::{
    data::{AnnDataWriter, Column, Table},
    ndarray::Array2,
};

const GENES: usize = 60;
const CELLS: usize = 20;
const LABELS: [&str; 6] = ["control", "A", "B", "C", "A+B", "B+C"];

/// Writes cells around `base`, each perturbation with an effect of its own.
fn write(place: &Place, name: &str, base: f32) {
    let effect = |label: &str, gene: usize| -> f32 {
        let of = |part: &str| {
            part.bytes().map(|b| 3.0 * (((usize::from(b) * 7 + gene * gene) % 11) as f32 / 11.0 - 0.5)).sum::<f32>()
        };
        if label == "control" { 0.0 } else { label.split('+').map(of).sum() }
    };
    let values = Array2::from_shape_fn((LABELS.len() * CELLS, GENES), |(cell, gene)| {
        let noise = ((cell * 31 + gene * 17 + cell * gene) % 101) as f32 / 101.0 - 0.5;
        base + effect(LABELS[cell / CELLS], gene) + noise
    });
    let mut obs = Table::from_names((0..values.nrows()).map(|cell| format!("c{cell}")).collect());
    obs.set("perturbation", Column::Text((0..values.nrows()).map(|c| Some(LABELS[c / CELLS].to_owned())).collect()));
    let var = Table::from_names((0..GENES).map(|gene| format!("G{gene}")).collect());
    AnnDataWriter::new(&obs, &var).x(&values).write(place.path(name)).expect("written");
}

#[test]
fn real_values_are_found_out_and_said() {
    let place = Place::new();
    write(&place, "log.h5ad", 6.0);
    write(&place, "z.h5ad", 0.0);
    for (file, what, other) in [("log.h5ad", "log", "logarithms of expression"), ("z.h5ad", "z", "values around 0")] {
        let said = place.run(&format!("inspect {file}"));
        assert!(
            said.done().contains(&format!("{what}, used as it is")) && said.stdout.contains(other),
            "{}",
            said.stdout
        );
        let line = format!("de --data {file} --out {what}.csv");
        let ended = place.run(&line);
        ended.done();
        assert!(ended.stderr.contains("--expression counts, log or z says otherwise"), "{}", ended.stderr);
        let asked = place.run(&format!("{line} --expression {what}"));
        assert_eq!((asked.done().is_empty(), asked.stderr.contains("no counts")), (false, false), "{}", asked.stderr);
        let table = std::fs::read_to_string(place.path(&format!("{what}.csv"))).expect("a table");
        assert!(table.starts_with("perturbation,gene,score,mean_difference,") && !table.contains("NaN"));
        place.run(&format!("distances --data {file} --to-control --out {what}.csv")).done();
        place.run(&format!("train --data {file} --model combination --out {what}")).done();
        place.run(&format!("predict --model {what} --perturbations A+C --out {what}.h5ad.p")).done();
    }
    place.fails(
        "de --data log.h5ad --out t.csv --expression counts",
        &["no counts were found", "--expression log or z"],
    );
    place.fails(
        "de --data z.h5ad --out t.csv --expression log",
        &["logarithms of expression are 0 or more", "--expression z"],
    );
    place.fails("de --data log.h5ad --out t.csv --expression log --round-counts", &["--round-counts", "leave one out"]);
    assert_eq!(place.run("de --data z.h5ad --out t.csv --expression ranks").code, Some(2));
    place.write("genailab.toml", "expression = \"z\"\n");
    let said = place.run("inspect log.h5ad");
    assert!(said.done().contains("z, used as it is"), "{}", said.stdout);
}

#[test]
fn what_needs_counts_says_so_and_names_what_does_not() {
    let place = Place::new();
    write(&place, "log.h5ad", 6.0);
    for command in
        ["train --model vae --epochs 1", "train --model jepa --epochs 1", "train --model diffusion --epochs 1", "run"]
    {
        let line = format!("{command} --data log.h5ad --out m");
        let ended = place.run(&line);
        let line = ended.one_line(&["log.h5ad", "needs counts", "combination"]);
        assert!(!line.contains("panicked"));
        assert!(!place.files().iter().any(|file| file.ends_with("model.json")), "{:?}", place.files());
    }
}

#[test]
fn baselines_are_measured_on_real_values_and_the_others_are_rows() {
    let place = Place::new();
    for (file, base) in [("log.h5ad", 6.0), ("z.h5ad", 0.0)] {
        write(&place, file, base);
        let line = format!(
            "bench --data {file} --split doubles --seeds 1 --models additive,mean,combination,log_rate_sum --out o"
        );
        let ended = place.run(&line);
        assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
        let said = &ended.stdout;
        assert!(said.contains("not scored: log_rate_sum: log_rate_sum needs counts"), "{said}");
        let results = json(&place.path("o/results.json"));
        let of = |model: &str, metric: &str| {
            let all = results["summary"].as_array().expect("a summary").iter();
            all.clone()
                .find(|one| one["model"] == model && one["metric"] == metric)
                .and_then(|one| one["mean"].as_f64())
        };
        // The sum is the truth up to the noise of cells, and control cells shifted by it are not cut off at zero.
        let (additive, none) = (of("additive", "l2").expect("scored"), of("no_change", "l2").expect("scored"));
        assert!(additive < 0.5 * none, "{file}: {additive} {none}");
        assert!(of("additive", "edistance").expect("scored") < 0.5 * of("no_change", "edistance").expect("scored"));
    }
}

#[test]
fn real_data_without_counts() {
    for (file, what) in [("tggates_hepatocyte.h5ad", "log"), ("l1000_knockdown_plate.h5ad", "z")] {
        let Some(path) = real_data(file) else { return };
        let place = Place::new();
        let ended = place.run(&format!("inspect {}", path.display()));
        assert!(ended.done().contains(&format!("{what}, used as it is")), "{}", ended.stdout);
        place.run(&format!("de --data {} --method t-test --out t.csv", path.display())).done();
        let table = std::fs::read_to_string(place.path("t.csv")).expect("a table");
        assert!(table.contains("mean_difference") && table.lines().count() > 20_000);
        let line = format!("bench --data {} --split perturbations --seeds 1 --models mean --out o", path.display());
        let ended = place.run(&line);
        assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
        let results = json(&place.path("o/results.json"));
        let rows = results["rows"].as_array().expect("rows");
        assert!(rows.iter().any(|row| row["model"] == "mean" && row["metric"] == "edistance"), "{}", ended.stdout);
    }
}

#[test]
fn compound_names_are_not_combinations() {
    let Some(path) = real_data("sciplex_rank_effects.h5ad") else { return };
    let place = Place::new();
    let said = place.run(&format!("inspect {}", path.display()));
    assert!(said.done().contains(", 0 combined (0 cells)"), "{}", said.stdout);
    for label in ["(+)-JQ1", "g(+)-JQ1", "(+)-JQ1 (racemic)", "(-)-Huperzine A", "(+/-)-Verapamil", "S-(+)-Rolipram"] {
        let labels = [Some("DMSO"), Some(label), Some("Trametinib")];
        super::write_labels(&place, "d.h5ad", "drug", &labels, &["A1", "B1"]);
        let said = place.run("inspect d.h5ad");
        assert!(said.done().contains("2 single, 0 combined"), "{label}: {}", said.stdout);
    }
}
