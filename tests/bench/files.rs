//! Predictions that were made elsewhere: aligned by name, or one clear error.

use super::common::{GENES, cells_data, effects_data, mean, plans, task};
use genailab::{
    bench::{Benchmark, BenchmarkData, PredictionFile, PredictionKind, RunOptions, chosen, run_with},
    data::{AnnDataWriter, Column, Condition, Counts, OpenOptions, Table},
    ndarray::{Array1, Array2, Axis, concatenate},
};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A file to be: rows, their labels, genes.
pub struct Written {
    pub values: Array2<f32>,
    pub labels: Vec<String>,
    pub genes: Vec<String>,
    pub columns: Vec<(&'static str, Column)>,
    pub effect: bool,
}

impl Written {
    /// What is observed under the first plan, half as large: a prediction whose scores are known.
    pub fn half_of_truth(data: &BenchmarkData) -> Self {
        let task = task(data, &plans(1)[0].1, 0);
        Self {
            values: &task.observed.effects * 0.5,
            labels: task.observed.conditions.iter().map(Condition::to_string).collect(),
            genes: task.observed.genes.to_vec(),
            columns: Vec::new(),
            effect: true,
        }
    }

    fn write(&self, folder: &TempDir) -> PathBuf {
        let path = folder.path().join("mine.h5ad");
        self.write_to(&path);
        path
    }

    /// Some of the genes only.
    pub fn with_genes(self, kept: &[usize]) -> Self {
        let genes = kept.iter().map(|&gene| self.genes[gene].clone()).collect();
        Self { values: self.values.select(Axis(1), kept), genes, ..self }
    }

    pub fn write_to(&self, path: &Path) {
        let mut obs = Table::from_names((0..self.labels.len()).map(|row| format!("r{row}")).collect());
        obs.set("perturbation", Column::Text(self.labels.iter().cloned().map(Some).collect()));
        self.columns.iter().for_each(|(name, column)| obs.set(name, column.clone()));
        let var = Table::from_names(self.genes.clone());
        let writer = AnnDataWriter::new(&obs, &var).x(&self.values);
        let writer = if self.effect { writer.uns("effect", "difference to control") } else { writer };
        writer.write(path).unwrap();
    }
}

fn open(path: &Path, kind: Option<PredictionKind>, data: &BenchmarkData) -> genailab::Result<PredictionFile> {
    PredictionFile::open(path, None, kind, data, &OpenOptions::default())
}

#[track_caller]
fn fails(written: &Written, data: &BenchmarkData, parts: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let error = open(&written.write(&folder), None, data).unwrap_err().to_string();
    parts.iter().for_each(|part| assert!(error.contains(part), "{part:?} is missing: {error}"));
    assert!(error.contains("mine.h5ad") && !error.contains('\n'), "{error}");
}

fn measured(written: &Written, kind: Option<PredictionKind>, data: &BenchmarkData, seeds: u64) -> Benchmark {
    let folder = tempfile::tempdir().unwrap();
    let file = open(&written.write(&folder), kind, data).unwrap();
    let options = RunOptions { files: &[file], ..RunOptions::default() };
    run_with(data, &plans(seeds), &chosen(&["additive"]).unwrap(), &options).unwrap()
}

#[test]
fn effects_in_any_order_of_genes_and_rows() {
    for data in [effects_data(), cells_data()] {
        let plain = Written::half_of_truth(&data);
        let expected = measured(&plain, None, &data, 1);
        assert!((mean(&expected, "mine", "pearson") - 1.0).abs() < 1e-6);
        let half = mean(&expected, "no_change", "l2") / 2.0;
        assert!((mean(&expected, "mine", "l2") / half - 1.0).abs() < 1e-5);
        let order: Vec<usize> = (0..GENES).rev().collect();
        let rows: Vec<usize> = (0..plain.labels.len()).rev().collect();
        let extra = Array2::from_elem((rows.len(), 1), 9.0);
        let shuffled = Written {
            values: concatenate![Axis(1), plain.values.select(Axis(0), &rows).select(Axis(1), &order), extra],
            labels: rows.iter().map(|&row| plain.labels[row].split('+').rev().collect::<Vec<_>>().join("_")).collect(),
            genes: order.iter().map(|&gene| plain.genes[gene].clone()).chain(["OTHER".to_owned()]).collect(),
            ..plain
        };
        let found = measured(&shuffled, None, &data, 1);
        assert_eq!(mean(&found, "mine", "l2"), mean(&expected, "mine", "l2"));
        assert!(
            found.notes.iter().any(|note| note.contains("1 genes that the data does not have")),
            "{:?}",
            found.notes
        );
        assert!(found.notes.iter().any(|note| note.contains("cannot be checked")), "{:?}", found.notes);
    }
}

#[test]
fn profiles_and_cells_are_the_effects_that_they_stand_for() {
    let data = cells_data();
    let task = task(&data, &plans(1)[0].1, 0);
    let (controls, observed) = (task.observed.controls.unwrap(), task.observed.cells.unwrap());
    let labels: Vec<String> = task.observed.conditions.iter().map(Condition::to_string).collect();
    let genes = task.observed.genes.to_vec();
    // Profiles of the truth.
    let values = &controls + &task.observed.effects;
    let profiles = Written { values, labels: labels.clone(), genes: genes.clone(), columns: vec![], effect: false };
    let found = measured(&profiles, None, &data, 1);
    assert!(mean(&found, "mine", "l2") < 1e-4, "{}", mean(&found, "mine", "l2"));
    // The held-out cells themselves, log-normalised; and as counts, to be normalised here.
    let BenchmarkData::Cells(cells) = &data else { unreachable!("cells were asked for") };
    let rows: Vec<usize> = observed.rows.concat();
    let of_row: Vec<String> =
        labels.iter().zip(&observed.rows).flat_map(|(l, rows)| vec![l.clone(); rows.len()]).collect();
    let as_written = |values: &Counts| Written {
        values: values.select_cells(&rows).to_dense(),
        labels: of_row.clone(),
        genes: genes.clone(),
        columns: vec![],
        effect: false,
    };
    for values in [cells.expression.as_ref(), &cells.data.counts] {
        let found = measured(&as_written(values), None, &data, 1);
        assert!(mean(&found, "mine", "l2") < 1e-4, "{}", mean(&found, "mine", "l2"));
        assert!(found.notes.iter().any(|note| note.contains("cells of 11 conditions were read")), "{:?}", found.notes);
    }
    // Effects written as effects, without the mark: the user has to say so.
    let unmarked = Written { effect: false, ..Written::half_of_truth(&data) };
    fails(&unmarked, &data, &["--predictions-are effects"]);
    let found = measured(&unmarked, Some(PredictionKind::Effects), &data, 1);
    assert!((mean(&found, "mine", "pearson") - 1.0).abs() < 1e-6);
    // Another scale.
    let cpm = Written { values: &profiles.values * 2.0, ..profiles };
    fails(&cpm, &data, &["10,000"]);
}

#[test]
fn what_is_missing_from_the_file_is_absent_from_the_results() {
    let data = effects_data();
    let mut written = Written::half_of_truth(&data);
    let n = written.labels.len();
    written.values = written.values.slice_axis(Axis(0), (..n - 2).into()).to_owned();
    written.labels.truncate(n - 2);
    written.labels[0] = "NEVER+MEASURED".to_owned();
    let found = measured(&written, None, &data, 1);
    assert_eq!(found.summary_of("mine", "l2").unwrap().n, n - 3);
    let absent = found.absent.iter().find(|absent| absent.model == "mine" && absent.metric == "l2").unwrap();
    assert!(absent.n == 3 && absent.reason.contains("no prediction of the condition"), "{absent:?}");
    assert!(found.notes.iter().any(|note| note.contains("MEASURED+NEVER")), "{:?}", found.notes);
}

#[test]
fn predictions_of_a_split_are_for_that_split() {
    let data = effects_data();
    let mut both = Written::half_of_truth(&data);
    let n = both.labels.len();
    // Seed 0: right. Seed 7, which is not asked for: wrong.
    both.values = concatenate![Axis(0), both.values, -2.0 * &both.values];
    both.labels = [both.labels.clone(), both.labels].concat();
    both.columns =
        vec![("split_seed", Column::Integer((0..2 * n).map(|row| Some(if row < n { 0 } else { 7 })).collect()))];
    let found = measured(&both, None, &data, 2);
    let scores = found.summary_of("mine", "pearson").unwrap();
    assert!((scores.mean - 1.0).abs() < 1e-6 && scores.n == n, "{scores:?}");
    let absent = found.absent.iter().find(|absent| absent.model == "mine" && absent.metric == "l2").unwrap();
    assert!(absent.reason.contains("for this split"), "{absent:?}");
    assert!(!found.notes.iter().any(|note| note.contains("cannot be checked")), "{:?}", found.notes);
    both.columns = vec![("split_seed", Column::Text(vec![Some("first".to_owned()); 2 * n]))];
    fails(&both, &data, &["split_seed", "first", "whole number"]);
}

#[test]
fn a_wrong_file_is_one_clear_error() {
    for data in [effects_data(), cells_data()] {
        let good = || Written::half_of_truth(&data);
        let few: Vec<usize> = (0..40).collect();
        let parts = ["40 of the data's 120 genes are in the file, and at least 50", "G40, G41", "name them in var"];
        fails(&good().with_genes(&few), &data, &parts);
        let mut nan = good();
        nan.values[[2, 5]] = f32::NAN;
        fails(&nan, &data, &[&format!("the prediction of {} for the gene G5 is NaN", nan.labels[2])]);
        let mut infinite = good();
        infinite.values[[0, 119]] = f32::INFINITY;
        fails(&infinite, &data, &["G119 is inf"]);
        let mut unknown = good();
        unknown.labels = (0..unknown.labels.len()).map(|row| format!("X{row}")).collect();
        fails(&unknown, &data, &["no row is of a condition of the data", "X0, X1, X10", "the data has G0, G0+G1"]);
        let mut twice = good();
        twice.labels[1] = twice.labels[0].clone();
        fails(&twice, &data, &["several rows", "split_seed"]);
        let mut doubled = good();
        doubled.genes[7] = "G8".to_owned();
        fails(&doubled, &data, &["\"G8\" stands twice"]);
    }
    let data = effects_data();
    let folder = tempfile::tempdir().unwrap();
    let path = Written { effect: false, ..Written::half_of_truth(&data) }.write(&folder);
    let error = open(&path, Some(PredictionKind::Profiles), &data).unwrap_err().to_string();
    assert!(error.contains("predictions cannot be profiles"), "{error}");
    // What the file says of itself wins, and is said.
    let path = Written::half_of_truth(&data).write(&folder);
    let marked = open(&path, Some(PredictionKind::Profiles), &data).unwrap();
    assert_eq!(marked.kind(), Some(PredictionKind::Effects));
    let told = |note: &String| note.contains("read as effects and not as profiles");
    assert!(marked.notes().iter().any(told), "{:?}", marked.notes());
    assert!("median".parse::<PredictionKind>().unwrap_err().to_string().contains("effects, profiles or cells"));
}

#[test]
fn a_context_must_be_said() {
    let data = super::common::cells();
    let setup = genailab::bench::Setup::new(data.into(), "data", "context:batch=odd", 1, &OpenOptions::default());
    let setup = setup.unwrap();
    let observed = task(&setup.data, &setup.plans[0].1, 0).observed;
    let mut written = Written {
        values: observed.effects.clone(),
        labels: observed.conditions.iter().map(|condition| condition.perturbation.to_string()).collect(),
        genes: observed.genes.to_vec(),
        columns: vec![],
        effect: true,
    };
    fails(&written, &setup.data, &["by the column \"batch\"", "it has perturbation"]);
    written.columns = vec![("batch", Column::Text(vec![Some("odd".to_owned()); written.labels.len()]))];
    let folder = tempfile::tempdir().unwrap();
    let file = open(&written.write(&folder), None, &setup.data).unwrap();
    let options = RunOptions { files: &[file], ..RunOptions::default() };
    let found = run_with(&setup.data, &setup.plans, &chosen(&["additive"]).unwrap(), &options).unwrap();
    assert_eq!(mean(&found, "mine", "l2"), 0.0);
    assert!(found.rows.iter().any(|row| row.perturbation == "G0+G1 in odd"));
}

/// A mean over rows of a condition is what cells are scored by.
#[test]
fn the_mean_of_predicted_cells_is_their_effect() {
    let data = cells_data();
    let task = task(&data, &plans(1)[0].1, 0);
    let condition = task.observed.conditions[0].to_string();
    let genes = task.observed.genes.to_vec();
    let values = Array2::from_shape_fn((6, GENES), |(cell, gene)| ((cell + gene) % 5) as f32 * 0.5 + 0.25);
    let expected: Array1<f32> = values.mean_axis(Axis(0)).unwrap() - task.observed.controls.as_ref().unwrap().row(0);
    let written = Written { values, labels: vec![condition; 6], genes, columns: vec![], effect: false };
    let folder = tempfile::tempdir().unwrap();
    let predicted = task.predict(&open(&written.write(&folder), None, &data).unwrap()).unwrap();
    let effect = predicted.effects[0].as_ref().unwrap();
    effect.iter().zip(&expected).for_each(|(ours, expected)| assert!((ours - expected).abs() < 1e-5));
    assert_eq!(predicted.cells[0].as_ref().unwrap().nrows(), 6, "no cell is invented");
    assert!(predicted.cells[1].as_ref().unwrap_err().contains("no prediction of the condition"));
}
