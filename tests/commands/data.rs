//! Data files that cannot be trained on.

use super::tool::Place;
use genailab::{
    data::{AnnDataWriter, Column, Counts, Table},
    ndarray::Array2,
};
use std::path::Path;

/// Nothing is read into a model by any of these; each is refused in the same words.
const COMMANDS: [&str; 3] =
    ["train --out out --epochs 1 --data", "run --out out --epochs 1 --data", "bench-train --data"];

fn refused(place: &Place, file: &str, parts: &[&str]) {
    let parts: Vec<&str> = parts.iter().copied().chain([file]).collect();
    for command in COMMANDS {
        place.fails(&format!("{command} {file}"), &parts);
        let line = place.run(&format!("{command} {file}")).stderr;
        assert_eq!(line.matches(file).count(), 1, "the file is named once: {line}");
    }
}

/// `cells` cells of three genes, whose labels are A and `other` in turn.
fn write(path: &Path, cells: usize, other: &str, column: &str, change: impl FnOnce(&mut Array2<f32>)) {
    let mut values = Array2::from_shape_fn((cells, 3), |(cell, gene)| ((cell + gene) % 4) as f32);
    change(&mut values);
    let mut obs = Table::from_names((0..cells).map(|cell| format!("cell{cell}")).collect());
    let labels = (0..cells).map(|cell| Some(if cell % 2 == 0 { "A" } else { other }.to_owned()));
    obs.set(column, Column::Text(labels.collect()));
    let var = Table::from_names(["G1", "G2", "G3"].map(String::from).to_vec());
    AnnDataWriter::new(&obs, &var).x(&Counts::from_dense(&values)).write(path).expect("the test's own file");
}

#[test]
fn files_that_are_no_h5ad() {
    let place = Place::new().with_cells();
    let whole = std::fs::read(place.path("cells.h5ad")).expect("it was written");
    std::fs::write(place.path("cut.h5ad"), &whole[..whole.len() / 2]).expect("written");
    std::fs::create_dir(place.path("folder.h5ad")).expect("made");
    place.write("text.h5ad", "gene,count\nKLF1,3\n");
    place.write("empty.h5ad", "");
    hdf5::File::create(place.path("other.h5")).expect("made").create_group("stuff").expect("made");
    refused(&place, "missing.h5ad", &["No such file"]);
    refused(&place, "cut.h5ad", &["truncated or damaged", "copy it again"]);
    refused(&place, "folder.h5ad", &["is a folder"]);
    refused(&place, "text.h5ad", &["not an HDF5 file"]);
    refused(&place, "empty.h5ad", &["empty (0 bytes)"]);
    refused(&place, "other.h5", &["not an AnnData", "stuff"]);
}

#[test]
fn values_that_are_no_counts() {
    let place = Place::new();
    for (value, says) in [(-1.0, "negative"), (0.5, "fractions"), (f32::NAN, "NaN"), (f32::INFINITY, "infinite")] {
        write(&place.path("bad.h5ad"), 40, "control", "perturbation", |values| values[[7, 2]] = value);
        refused(&place, "bad.h5ad", &["no counts were found", says, "\"cell7\"", "\"G3\""]);
    }
}

#[test]
fn labels_that_say_nothing() {
    let place = Place::new();
    write(&place.path("unlabelled.h5ad"), 40, "control", "leiden", |_| {});
    refused(&place, "unlabelled.h5ad", &["no perturbation column", "leiden"]);
    write(&place.path("no_control.h5ad"), 40, "B", "perturbation", |_| {});
    refused(&place, "no_control.h5ad", &["has no control cells", "A (20), B (20)"]);
    let named = "train --data unlabelled.h5ad --out out --perturbation-column";
    place.fails(&format!("{named} cluster"), &["unlabelled.h5ad", "no column `cluster`", "leiden"]);
    place.run(&format!("{named} leiden --epochs 1")).done();
}

#[test]
fn nothing_is_left_by_quality_control() {
    let place = Place::new();
    write(&place.path("zero.h5ad"), 80, "control", "perturbation", |values| values.fill(0.0));
    place.fails("run --data zero.h5ad --out out", &["zero.h5ad", "after QC", "min_cells_per_gene"]);
    write(&place.path("few.h5ad"), 40, "control", "perturbation", |_| {});
    place.fails("run --data few.h5ad --out out", &["few.h5ad", "after QC", "min_cells_per_perturbation"]);
    place.write("qc.toml", "[qc]\nmin_genes = 1\nmin_cells_per_perturbation = 1\nmin_cells_per_gene = 1000\n");
    place.fails("train --data few.h5ad --out out --config qc.toml", &["few.h5ad", "after QC", "min_cells_per_gene"]);
}

#[test]
fn a_damaged_matrix() {
    let place = Place::new().with_cells();
    let damage = |name: &str, what: &str, at: usize, value: i64| {
        std::fs::copy(place.path("cells.h5ad"), place.path(name)).expect("copied");
        let file = hdf5::File::open_rw(place.path(name)).expect("an HDF5 file");
        let dataset = file.dataset(&format!("X/{what}")).expect("a sparse X");
        let mut values: Vec<i64> = dataset.read_raw().expect("whole numbers");
        values[at] = value;
        dataset.write_raw(&values).expect("written back");
    };
    damage("column.h5ad", "indices", 5, 150);
    refused(&place, "column.h5ad", &["150"]);
    damage("negative.h5ad", "indices", 5, -1);
    refused(&place, "negative.h5ad", &["index -1", "150"]);
    damage("order.h5ad", "indptr", 4, 0);
    refused(&place, "order.h5ad", &["indptr"]);
    damage("end.h5ad", "indptr", 600, 1 << 40);
    refused(&place, "end.h5ad", &["indptr"]);
}

#[test]
fn other_kinds_of_data_than_a_command_takes() {
    let place = Place::new().with_cells();
    place.fails("simulate --effects cells.h5ad --out new.h5ad", &["cells.h5ad", "effects dataset"]);
    place.fails("simulate --effects missing.h5ad --out new.h5ad", &["missing.h5ad", "No such file"]);
    place.fails("simulate --cells 0 --out new.h5ad", &["n_cells is 0"]);
    place.fails("simulate --out missing/new.h5ad", &["missing/new.h5ad", "no folder missing"]);
    place.fails("bench-train --data cells.h5ad --batch 0", &["--batch"]);
    let figures: serde_json::Value =
        serde_json::from_str(place.run("bench-train --data cells.h5ad --cells 400 --batch 64 --json").done())
            .expect("one line of JSON");
    assert_eq!((&figures["batch"], &figures["steps"]), (&64.into(), &6.into()));
    for name in ["cells_per_s", "ms_per_step", "loss"] {
        assert!(figures[name].as_f64().is_some_and(|value| value > 0.0), "{name} in {figures}");
    }
    place.run("bench-train --model ddim --cells 24 --batch 8").done();
    place.fails("bench-train --model ddim --data cells.h5ad", &["--data", "ddim draws without data"]);
    place.fails("bench-train --model ddim --round-counts", &["--round-counts", "ddim draws without data"]);
}
