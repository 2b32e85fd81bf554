//! A run that is stopped goes on, and one that is repeated only reads.

use super::common::{Known, cells_data, effects_data, plans, scores};
use genailab::{
    ErrorKind,
    bench::{Benchmark, BenchmarkData, RunOptions, run, run_with},
    data::{Condition, TrainingData},
    ndarray::Array1,
    predict::Predictor,
};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

/// A predictor of one number, that counts how often it is fitted.
fn model(name: &'static str, setting: f64, fits: &Arc<AtomicUsize>) -> Box<dyn Predictor> {
    let answer = move |_: &Condition, training: &TrainingData| {
        Ok(Array1::from_shape_fn(training.genes.len(), |gene| (setting * gene as f64) as f32))
    };
    Box::new(Known { setting, fits: Arc::clone(fits), ..Known::new(name, answer) })
}

fn measured(data: &BenchmarkData, folder: &Path, seeds: u64, models: &[Box<dyn Predictor>]) -> Benchmark {
    run_with(data, &plans(seeds), models, &RunOptions { folder: Some(folder), ..RunOptions::default() }).unwrap()
}

fn parts(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder.join("parts")).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn a_second_run_only_reads_and_a_changed_setting_changes_its_part() {
    for data in [effects_data(), cells_data()] {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (Arc::default(), Arc::default());
        let count = |fits: &Arc<AtomicUsize>| fits.swap(0, Ordering::SeqCst);
        let both = |setting: f64| [model("a", 0.01, &a), model("b", setting, &b)];
        let first = measured(&data, folder.path(), 2, &both(0.02));
        assert_eq!((count(&a), count(&b)), (2, 2));
        let again = measured(&data, folder.path(), 2, &both(0.02));
        assert_eq!((count(&a), count(&b)), (0, 0), "nothing is computed again");
        assert_eq!(serde_json::to_string(&first).unwrap(), serde_json::to_string(&again).unwrap());
        let (one, other) = (first.example.unwrap(), again.example.unwrap());
        assert_eq!((&one.observed, &one.conditions), (&other.observed, &other.conditions));
        assert_eq!(one.predicted[0], other.predicted[0]);
        measured(&data, folder.path(), 3, &both(0.03));
        assert_eq!((count(&a), count(&b)), (1, 3), "the new seed, and the changed setting on every seed");
        let fresh = scores(&run(&data, &plans(3), &both(0.03)).unwrap());
        assert_eq!(scores(&measured(&data, folder.path(), 3, &both(0.03))), fresh, "as if never stopped");
    }
}

#[test]
fn other_data_is_other_work() {
    let folder = tempfile::tempdir().unwrap();
    let fits = Arc::default();
    measured(&effects_data(), folder.path(), 1, &[model("a", 0.01, &fits)]);
    let BenchmarkData::Effects(mut changed) = effects_data() else { unreachable!("effects were asked for") };
    changed.values[[3, 4]] += 1e-3;
    measured(&BenchmarkData::Effects(changed), folder.path(), 1, &[model("a", 0.01, &fits)]);
    assert_eq!(fits.load(Ordering::SeqCst), 2);
}

#[test]
fn a_damaged_part_is_computed_again() {
    let data = effects_data();
    let folder = tempfile::tempdir().unwrap();
    let fits = Arc::default();
    let models = [model("a", 0.01, &fits)];
    let whole = measured(&data, folder.path(), 2, &models);
    for (place, part) in parts(folder.path()).iter().enumerate() {
        let bytes = std::fs::read(part).unwrap();
        match place % 3 {
            0 => std::fs::write(part, &bytes[..bytes.len() / 2]).unwrap(),
            1 => {
                // One digit of one number.
                let mut bytes = bytes;
                let digit = bytes.iter().rposition(u8::is_ascii_digit).unwrap();
                bytes[digit] = if bytes[digit] == b'7' { b'8' } else { b'7' };
                std::fs::write(part, bytes).unwrap();
            }
            _ => std::fs::write(part, "").unwrap(),
        }
    }
    let again = measured(&data, folder.path(), 2, &models);
    assert_eq!(scores(&whole), scores(&again));
    assert_eq!(fits.load(Ordering::SeqCst), 4, "both seeds, twice");
    let notes = again.notes.iter().filter(|note| note.contains("was damaged")).count();
    assert_eq!(notes, parts(folder.path()).len());
    assert!(measured(&data, folder.path(), 2, &models).notes.is_empty(), "and is whole again");
}

#[test]
fn what_was_finished_before_an_interruption_is_kept() {
    let data = effects_data();
    let folder = tempfile::tempdir().unwrap();
    let (fits, flag) = (Arc::default(), AtomicBool::new(false));
    let models = [model("a", 0.01, &fits), model("b", 0.02, &fits)];
    let stop = |progress: &genailab::bench::PartProgress<'_>| {
        if progress.done == 3 {
            flag.store(true, Ordering::SeqCst);
        }
    };
    let options = RunOptions {
        folder: Some(folder.path()),
        interrupt: Some(&flag),
        progress: Some(&stop),
        ..RunOptions::default()
    };
    let stopped = run_with(&data, &plans(4), &models, &options).unwrap_err();
    assert_eq!(stopped.kind(), ErrorKind::Interrupted);
    let text = stopped.to_string();
    assert!(text.contains("of 13 parts are finished and kept") && text.contains("the same command goes on"), "{text}");
    let kept = parts(folder.path()).len();
    assert!((3..13).contains(&kept), "{kept}");
    let before = fits.swap(0, Ordering::SeqCst);
    let done = measured(&data, folder.path(), 4, &models);
    assert_eq!(before + fits.load(Ordering::SeqCst), 8, "no model was fitted twice");
    assert_eq!(scores(&done), scores(&run(&data, &plans(4), &models).unwrap()));
}
