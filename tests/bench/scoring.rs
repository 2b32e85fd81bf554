//! Predictions of other tools, scored by `genailab bench --predictions`: what is shared is compared, and what cannot be scored is a
//! row with its reason.

use super::{
    common::{GENES, cells, cells_data, effects, plans, task},
    contract::check,
    files::Written,
};
use crate::commands::tool::{Ended, Place};
use genailab::{
    bench::BenchmarkData,
    data::{AnnDataWriter, Column, Table},
    ndarray::{Array1, Array2, Axis},
};
use serde_json::Value;

const BENCH: &str = "bench --data cells.h5ad --split doubles --seeds 1 --models additive,mean --out out";

/// A folder with the cells and the effects of `common`.
fn place() -> Place {
    let place = Place::new();
    cells().write(place.path("cells.h5ad")).expect("written");
    effects().write(place.path("effects.h5ad")).expect("written");
    place
}

fn half() -> Written {
    Written::half_of_truth(&cells_data())
}

/// Runs the benchmark with these files; what it printed, and its results.
fn scored(place: &Place, files: &[&str]) -> (Ended, Value) {
    let files: String = files.iter().map(|file| format!(" --predictions {file}")).collect();
    let ended = place.run(&format!("{BENCH}{files}"));
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let text = std::fs::read_to_string(place.path("out/results.json")).expect("results");
    (ended, check(&text))
}

fn mean(results: &Value, model: &str, metric: &str) -> Option<f64> {
    let all = results["summary"].as_array().expect("a summary");
    all.iter().find(|one| one["model"] == model && one["metric"] == metric)?["mean"].as_f64()
}

/// The control profile of the data, `(genes,)`.
fn control() -> Array1<f32> {
    task(&cells_data(), &plans(1)[0].1, 0).observed.controls.expect("cells have controls").row(0).to_owned()
}

#[test]
fn all_models_are_compared_on_the_genes_that_all_files_have() {
    let place = place();
    let first: Vec<usize> = (0..80).collect();
    let second: Vec<usize> = (10..GENES).collect();
    half().with_genes(&first).write_to(&place.path("first.h5ad"));
    half().with_genes(&second).write_to(&place.path("second.h5ad"));
    let few: Vec<usize> = (0..60).collect();
    half().with_genes(&few[..20]).write_to(&place.path("few.h5ad"));
    let (ended, results) = scored(&place, &["first.h5ad", "second.h5ad", "few.h5ad"]);
    assert_eq!(results["data"]["genes"], 70);
    assert_eq!((&results["files"][0]["genes"], &results["files"][0]["data_genes"]), (&80.into(), &120.into()));
    let out = &ended.stdout;
    assert!(out.contains("70 of 120 genes") && out.contains("the same 70 of the data's 120 genes"), "{out}");
    assert!(out.contains("not scored: few: the file cannot be scored: few.h5ad: 20 of the data's 120 genes"), "{out}");
    assert!(mean(&results, "few", "l2").is_none());
    // Half of the truth is half of what no change is away from it, on whatever genes.
    for model in ["first", "second"] {
        let ratio = mean(&results, model, "l2").expect("scored") / mean(&results, "no_change", "l2").expect("scored");
        assert!((ratio - 0.5).abs() < 1e-4, "{model}: {ratio}");
    }
    // Files that share too little with each other do not cost each other's genes.
    let last: Vec<usize> = (60..GENES).collect();
    half().with_genes(&few).write_to(&place.path("left.h5ad"));
    half().with_genes(&last).write_to(&place.path("right.h5ad"));
    let (ended, results) = scored(&place, &["left.h5ad", "right.h5ad"]);
    assert!(mean(&results, "left", "l2").is_some() && mean(&results, "right", "l2").is_none());
    assert!(ended.stdout.contains("shares 0 genes with the data and the other files"), "{}", ended.stdout);
}

#[test]
fn a_file_that_cannot_be_scored_is_a_row_and_the_others_are_scored() {
    let place = place();
    half().write_to(&place.path("good.h5ad"));
    place.write("broken.h5ad", "this is no HDF5 file");
    let mut large = Written { effect: false, ..half() };
    large.values.mapv_inplace(f32::abs);
    large.values[[0, 0]] = 9.5;
    large.write_to(&place.path("large.h5ad"));
    let mut nan = half();
    nan.values[[2, 5]] = f32::NAN;
    nan.write_to(&place.path("nan.h5ad"));
    let files = ["good.h5ad", "broken.h5ad", "gone=nowhere.h5ad", "large.h5ad", "nan.h5ad"];
    let (ended, results) = scored(&place, &files);
    let report = std::fs::read_to_string(place.path("out/report.html")).expect("a report");
    for (model, reason) in
        [("broken", "HDF5"), ("gone", "nowhere.h5ad"), ("large", "a value is 9.5"), ("nan", "for the gene G5 is NaN")]
    {
        assert!(mean(&results, model, "l2").is_none(), "{model}");
        assert!(results["models"].as_array().expect("models").iter().any(|one| one["name"] == model), "{model}");
        let file = results["files"].as_array().expect("files").iter().find(|one| one["name"] == model).expect("a file");
        assert!(file["not_scored"].as_str().is_some_and(|text| text.contains(reason)), "{file}");
        assert!(results["absent"].as_array().expect("absent").iter().any(|one| one["model"] == model), "{model}");
        let line = ended.stdout.lines().find(|line| line.starts_with(&format!("not scored: {model}: ")));
        assert!(line.is_some_and(|line| line.contains(reason)), "{model}: {}", ended.stdout);
        assert!(ended.stdout.contains(&format!("{model} (not scored)")), "{}", ended.stdout);
        assert!(report.contains(&format!("{model} cannot be scored: ")), "{model}");
    }
    assert!(mean(&results, "good", "l2").is_some() && mean(&results, "additive", "l2").is_some());
}

#[test]
fn a_part_of_the_conditions_is_compared_on_that_part_and_does_not_rank_first() {
    let place = place();
    let mut easy = half();
    let kept = [1, 4, 6];
    easy.values = easy.values.select(Axis(0), &kept) * 2.0;
    easy.labels = kept.iter().map(|&row| easy.labels[row].clone()).collect();
    easy.write_to(&place.path("easy.h5ad"));
    half().write_to(&place.path("whole.h5ad"));
    let (ended, results) = scored(&place, &["easy.h5ad", "whole.h5ad"]);
    assert!(mean(&results, "easy", "l2").expect("scored") < 1e-4, "it is the truth itself");
    let out = &ended.stdout;
    assert!(out.contains("easy (3 of 11 conditions)") && out.contains("on the conditions that easy predicts"), "{out}");
    // The second table: additive on the same three conditions.
    let rows = results["rows"].as_array().expect("rows").iter();
    let of: Vec<f64> = rows
        .filter(|row| row["model"] == "additive" && row["metric"] == "l2")
        .filter(|row| easy.labels.iter().any(|label| row["perturbation"] == label.as_str()))
        .filter_map(|row| row["value"].as_f64())
        .collect();
    assert_eq!(of.len(), 3);
    let wanted = format!("{:.3}", of.iter().sum::<f64>() / 3.0);
    let table = out.split("on the conditions that easy predicts").nth(1).expect("a table");
    let line = table.lines().find(|line| line.starts_with("additive")).expect("a row");
    assert!(line.contains(&wanted), "{line}: {wanted}");
    let report = std::fs::read_to_string(place.path("out/report.html")).expect("a report");
    let summary = report.split("Summary").nth(1).expect("a summary");
    let at = |model: &str| summary.find(&format!(">{model}</a>")).unwrap_or_else(|| panic!("no row of {model}"));
    assert!(at("easy") > at("whole") && at("easy") > at("additive") && at("easy") > at("mean"));
    assert!(report.contains("your predictions, 3 of 11 conditions"));
}

#[test]
fn what_the_rows_are() {
    let place = place();
    half().write_to(&place.path("marked.h5ad"));
    let names: Vec<String> = half().labels;
    let profiles = Written { effect: false, values: &half().values + &control(), ..half() };
    profiles.write_to(&place.path("profiles.h5ad"));
    // One row per condition, two of them under two names.
    let turned: Vec<String> =
        names[..2].iter().map(|name| name.split('+').rev().collect::<Vec<_>>().join("+")).collect();
    let twice = Written {
        labels: names.iter().cloned().chain(turned.clone()).collect(),
        values: genailab::ndarray::concatenate![Axis(0), profiles.values, profiles.values.select(Axis(0), &[0, 1])],
        ..half()
    };
    let twice = Written { effect: false, ..twice };
    twice.write_to(&place.path("twice.h5ad"));
    Written { effect: false, values: &profiles.values / std::f32::consts::LN_2, ..half() }
        .write_to(&place.path("log2.h5ad"));
    let files = ["marked.h5ad:profiles", "profiles.h5ad:profiles", "twice.h5ad", "log2.h5ad:profiles"];
    let (ended, results) = scored(&place, &files);
    let out = &ended.stdout;
    assert!(
        out.contains("note: marked: the file says that its rows are effects") && out.contains("not as profiles"),
        "{out}"
    );
    let both = format!("{} stands in 2 rows, spelled {} and {}", names[0], names[0], turned[0]);
    assert!(out.contains(&both), "{both:?} in {out}");
    let (wanted, found) = (mean(&results, "marked", "l2"), mean(&results, "profiles", "l2"));
    assert!((wanted.expect("scored") - found.expect("scored")).abs() < 1e-3);
    assert!(out.contains("not scored: log2: ") && (out.contains("as in log2") || out.contains("a value is")), "{out}");
    place
        .fails(&format!("{BENCH} --predictions marked.h5ad:effect"), &["\"effect\" after the file is none of effects"]);
}

#[test]
fn scales_are_told_by_the_control() {
    let data = cells_data();
    let BenchmarkData::Cells(cells) = &data else { unreachable!("cells were asked for") };
    let (place, n) = (place(), 11);
    let controls = cells.expression.select_cells(&cells.data.control_cells()).to_dense();
    let repeated = |values: Array1<f32>| Array2::from_shape_fn((n, GENES), |(_, gene)| values[gene]);
    let of_means = controls.mapv(f32::exp_m1).mean_axis(Axis(0)).expect("cells").mapv(f32::ln_1p);
    let written = |values| Written { values, effect: false, ..half() };
    written(repeated(of_means)).write_to(&place.path("means.h5ad"));
    written(repeated(control() / std::f32::consts::LN_10)).write_to(&place.path("log10.h5ad"));
    written(repeated(control())).write_to(&place.path("right.h5ad"));
    let (ended, results) = scored(&place, &["means.h5ad", "log10.h5ad", "right.h5ad"]);
    let out = &ended.stdout;
    assert!(out.contains("note: means: the profiles look like the log1p of mean counts"), "{out}");
    assert!(out.contains("not scored: log10: ") && out.contains("as in log10"), "{out}");
    assert!(!out.contains("right: the profiles") && mean(&results, "right", "l2").is_some(), "{out}");
}

#[test]
fn layers_arrays_of_obsm_and_columns() {
    let place = place();
    let truth = half();
    let mut obs = Table::from_names((0..truth.labels.len()).map(|row| format!("r{row}")).collect());
    obs.set("target", Column::Text(truth.labels.iter().cloned().map(Some).collect()));
    obs.set("perturbation", Column::Text(vec![Some("control".to_owned()); truth.labels.len()]));
    let var = Table::from_names(truth.genes.clone());
    let nothing = Array2::<f32>::zeros(truth.values.dim());
    let narrow = Array2::<f32>::zeros((truth.labels.len(), 5));
    AnnDataWriter::new(&obs, &var)
        .x(&nothing)
        .layer("predicted", &truth.values)
        .obsm("decoded", &truth.values)
        .obsm("X_pca", &narrow)
        .write(place.path("deep.h5ad"))
        .expect("written");
    truth.write_to(&place.path("plain.h5ad"));
    let files = [
        "plain.h5ad",
        "layer=deep.h5ad:effects:layer=predicted:column=target",
        "array=deep.h5ad:obsm=decoded:effects:column=target",
        "latent=deep.h5ad:effects:obsm=X_pca:column=target",
        "missing=deep.h5ad:effects:layer=nothing:column=target",
    ];
    let (ended, results) = scored(&place, &files);
    for model in ["layer", "array"] {
        assert_eq!(mean(&results, model, "l2"), mean(&results, "plain", "l2"), "{model}");
    }
    let out = &ended.stdout;
    assert!(out.contains("not scored: latent: ") && out.contains("obsm/X_pca is 11 x 5"), "{out}");
    assert!(out.contains("not scored: missing: ") && out.contains("there is no matrix `layers/nothing`"), "{out}");
}

#[test]
fn the_columns_of_the_data_need_not_be_those_of_the_predictions() {
    let place = place();
    let mut data = cells();
    let labels = (0..data.n_cells()).map(|cell| Some(data.perturbation_of(cell).to_string())).collect();
    data.cells.set("target", Column::Text(labels));
    let half = half();
    let mut counts = data.cells.clone();
    counts.columns.retain(|(name, _)| name == "target");
    AnnDataWriter::new(&counts, &data.genes).x(&data.counts).write(place.path("target.h5ad")).expect("written");
    half.write_to(&place.path("mine.h5ad"));
    let bench = "bench --data target.h5ad --perturbation-column target --models additive --seeds 1 --out o";
    let said = place.run(&format!("{bench} --split doubles --predictions mine.h5ad"));
    assert!(
        said.done().contains("obs has no column `target`, so perturbations are read from `perturbation`"),
        "{}",
        said.stdout
    );
    // Nor those of the second dataset of a comparison, whose own notes are told.
    let mut other = cells();
    other.cells.names[1] = other.cells.names[0].clone();
    other.write(place.path("other.h5ad")).expect("written");
    let said = place.run(&format!("{bench} --split cross-dataset:other.h5ad"));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(
        said.stderr.contains("note: other.h5ad: ") && said.stderr.contains("cell names occur more than once"),
        "{}",
        said.stderr
    );
    assert!(said.stderr.contains("there is no column `target`"), "{}", said.stderr);
}

#[test]
fn options_without_an_effect_are_refused() {
    let place = place();
    for option in ["--round-counts", "--lane-column batch", "--counts-layer X", "--expression log"] {
        let line = format!("bench --data effects.h5ad --split doubles --seeds 1 --models additive --out o {option}");
        let name = option.split(' ').next().expect("a name");
        place.fails(&line, &[name, "has no effect here", "effects.h5ad is an effects dataset"]);
    }
    assert_eq!(place.run("train --data effects.h5ad --model combination --out m").code, Some(0));
    for option in ["--control DMSO", "--guide-suffix", "--drop-label x", "--perturbation-column p", "--round-counts"] {
        let name = option.split(' ').next().expect("a name");
        let line = format!("predict --model m --perturbations G0+G1 --out p.h5ad {option}");
        place.fails(&line, &[name, "has no effect here", "--control-cells"]);
    }
    place.run("predict --model m --perturbations G0|G1 --separator | --out p.h5ad").done();
}
