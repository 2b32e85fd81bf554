//! Doses of files: in the labels, in a column, and in the truth of a simulation.

use super::{DOSES, cells, simulation};
use genailab::{
    data::{AnnDataWriter, Column, Counts, Dataset, OpenOptions, Perturbation, Table, Truth},
    ndarray::Array2,
};
use std::path::Path;

/// Six cells: two of control, two of A, two of B, with these doses.
fn write(path: &Path, doses: Column) {
    let values = Array2::from_shape_fn((6, 4), |(cell, gene)| ((cell * gene) % 3 + 1) as f32);
    let mut obs = Table::from_names((0..6).map(|cell| format!("cell{cell}")).collect());
    let labels = ["control", "control", "A", "A", "B", "B"];
    obs.set("perturbation", Column::Text(labels.iter().map(|label| Some((*label).to_owned())).collect()));
    obs.set("dose", doses);
    let var = Table::from_names(["G1", "G2", "G3", "G4"].map(String::from).to_vec());
    AnnDataWriter::new(&obs, &var).x(&Counts::from_dense(&values)).write(path).expect("the test's own file");
}

fn texts(doses: [&str; 6]) -> Column {
    Column::Text(doses.iter().map(|dose| (!dose.is_empty()).then(|| (*dose).to_owned())).collect())
}

fn opened(doses: Column, joined: bool) -> genailab::Result<Dataset> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cells.h5ad");
    write(&path, doses);
    let options = OpenOptions { dose_column: joined.then(|| "dose".to_owned()), ..OpenOptions::default() };
    Dataset::open_with(&path, &options)
}

fn names(data: &Dataset) -> Vec<String> {
    data.perturbations.iter().map(Perturbation::to_string).collect()
}

#[test]
fn a_column_of_doses_is_joined_where_it_is_asked_for_and_said_where_it_is_not() {
    let doses = || texts(["", "", "1 uM", "10.0 uM", "0.5 uM", "0 uM"]);
    let data = opened(doses(), true).expect("it is read");
    assert_eq!(names(&data), ["control", "A", "A@10", "B@0.5"]);
    assert_eq!(data.control_cells(), [0, 1, 5], "a dose of 0 is control");
    let note = |data: &Dataset, part: &str| data.notes.iter().any(|note| note.contains(part));
    assert!(note(&data, "in uM") && note(&data, "1 labelled rows of dose 0"), "{:?}", data.notes);

    let data = opened(doses(), false).expect("it is read");
    assert_eq!(names(&data), ["control", "A", "B"]);
    assert!(note(&data, "--dose-column dose"), "{:?}", data.notes);
    let one_dose = opened(Column::Float(vec![0.0, 0.0, 5.0, 5.0, 5.0, 5.0]), false).expect("it is read");
    assert!(!note(&one_dose, "--dose-column"), "one dose is none to tell apart");
}

#[test]
fn doses_that_are_none_are_refused_in_one_line() {
    for (doses, part) in [
        (texts(["", "", "1", "-3", "1", "1"]), "is -3"),
        (texts(["", "", "1", "", "1", "1"]), "is missing"),
        (texts(["", "", "1", "high", "1", "1"]), "\"high\""),
        (texts(["", "", "1 uM", "1 nM", "1 uM", "1 uM"]), "several units"),
        (Column::Float(vec![0.0, 0.0, 1.0, f64::NAN, 1.0, 1.0]), "dose of row \"cell3\""),
    ] {
        let error = opened(doses, true).expect_err("no dose").to_string();
        assert!(error.contains(part) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn a_simulation_tells_its_curves_and_follows_them() {
    let truth = &simulation().truth;
    assert_eq!(truth.dose_curves.len(), 10);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("doses.h5ad");
    simulation().write(&path).expect("it is written");
    let read = Truth::read(&path).expect("it is read");
    for (curve, saved) in truth.dose_curves.iter().zip(&read.dose_curves) {
        assert!((curve.half_dose - saved.half_dose).abs() < 1e-5 * curve.half_dose && curve.name == saved.name);
    }
    assert_eq!(names(&Dataset::open(&path).expect("it is read")), names(cells()));
    // The perturbed gene itself goes up by the curve, in log units up to the change of the total.
    let curve = &truth.dose_curves[0];
    let gene = truth.genes.iter().position(|gene| *gene == curve.name).expect("a gene perturbs itself");
    let log_change = |dose: f64| {
        let named = Perturbation::of([curve.name.clone()]).at_dose(dose);
        let control = truth.mean_of(&Perturbation::control()).expect("control");
        f64::from(truth.mean_of(&named).expect("simulated")[gene] / control[gene]).ln()
    };
    for dose in DOSES {
        let (share, expected) = (log_change(dose) / log_change(10.0), curve.at(dose, 10.0));
        assert!((share - expected).abs() < 0.1, "dose {dose}: {share}, by the curve {expected}");
    }
}
