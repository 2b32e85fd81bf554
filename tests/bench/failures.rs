//! A model that fails is a row with a reason, and the others are measured.

use super::common::{Known, cells_data, effects_data, plans};
use genailab::{
    Error, ErrorKind,
    bench::{RunOptions, run, run_with},
    data::{Condition, DataKind, TrainingData},
    model::{CountVae, Model},
    ndarray::Array1,
    predict::{ModelPredictor, Predictor, Scgen, VaeArithmetic},
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

fn zero(training: &TrainingData) -> Array1<f32> {
    Array1::zeros(training.genes.len())
}

/// A model that fails on the split of seed 1, as a training whose loss is not finite does.
fn failing(kind: ErrorKind, fits: &Arc<AtomicUsize>) -> Box<dyn Predictor> {
    let answer = move |_: &Condition, training: &TrainingData| match training.seed {
        1 => Err(Error::new(kind, "the embedding collapsed in epoch 3")),
        _ => Ok(zero(training)),
    };
    Box::new(Known { fits: Arc::clone(fits), ..Known::new("planted", answer) })
}

fn sound(fits: &Arc<AtomicUsize>) -> Box<dyn Predictor> {
    let answer = |_: &Condition, training: &TrainingData| Ok(zero(training));
    Box::new(Known { fits: Arc::clone(fits), ..Known::new("sound", answer) })
}

#[test]
fn a_model_that_fails_is_a_row_with_its_reason_and_the_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (failed, whole) = (Arc::default(), Arc::default());
    let options = RunOptions { folder: Some(folder.path()), ..RunOptions::default() };
    let models = [failing(ErrorKind::Numeric, &failed), sound(&whole)];
    let found = run_with(&effects_data(), &plans(3), &models, &options).unwrap();
    let seeds = |model: &str| {
        let of = found.rows.iter().filter(|row| row.model == model && row.metric == "l2").map(|row| row.seed);
        of.collect::<std::collections::BTreeSet<u64>>().into_iter().collect::<Vec<_>>()
    };
    assert_eq!((seeds("planted"), seeds("sound")), (vec![0, 2], vec![0, 1, 2]));
    let absent = found.absent.iter().find(|one| one.model == "planted" && one.metric == "l2").expect("a reason");
    assert!(absent.reason.contains("the model failed") && absent.reason.contains("collapsed"), "{}", absent.reason);
    assert!(found.models.iter().any(|model| model.name == "planted"), "it keeps its row");
    let note = found.notes.iter().find(|note| note.contains("planted failed")).expect("a note");
    assert!(note.contains("on seed 1,") && note.contains("the embedding collapsed in epoch 3"), "{note}");
    assert!(found.report().expect("a report").to_html().contains("the embedding collapsed"), "the report tells it");

    // What failed is tried again; what is finished is read.
    run_with(&effects_data(), &plans(3), &models, &options).unwrap();
    assert_eq!((failed.load(Ordering::SeqCst), whole.load(Ordering::SeqCst)), (4, 3));
}

#[test]
fn a_model_that_fails_everywhere_and_one_that_is_interrupted() {
    let fits = Arc::default();
    let always = |_: &Condition, _: &TrainingData| Err(Error::new(ErrorKind::Numeric, "the loss is NaN"));
    let models: [Box<dyn Predictor>; 2] = [Box::new(Known::new("planted", always)), sound(&fits)];
    let found = run(&effects_data(), &plans(2), &models).unwrap();
    assert!(found.summary_of("planted", "l2").is_none() && found.summary_of("sound", "l2").is_some());
    let notes: Vec<&String> = found.notes.iter().filter(|note| note.contains("planted failed")).collect();
    assert!(notes.len() == 1 && notes[0].contains("on seeds 0, 1,"), "{notes:?}");
    assert!(found.to_string().contains("planted"), "the table has its row");
    let models = [failing(ErrorKind::Interrupted, &fits)];
    let error = run(&effects_data(), &plans(2), &models).expect_err("an interruption ends the run");
    assert_eq!(error.kind(), ErrorKind::Interrupted);
}

#[test]
fn an_interruption_ends_the_training_that_runs() {
    let models: [Box<dyn Predictor>; 3] = [
        Box::new(ModelPredictor::new::<CountVae>(CountVae::KIND, &[DataKind::Cells])),
        Box::new(Scgen::default()),
        Box::new(VaeArithmetic::default()),
    ];
    for mut model in models {
        let flag = Arc::new(AtomicBool::new(true));
        model.set_interrupt(&flag);
        // The run itself is told of no interruption, so that it is the training that ends.
        let folder = tempfile::tempdir().unwrap();
        let options = RunOptions { folder: Some(folder.path()), ..RunOptions::default() };
        let name = model.name().to_owned();
        let error = run_with(&cells_data(), &plans(1), &[model], &options).expect_err("interrupted");
        assert_eq!(error.kind(), ErrorKind::Interrupted, "{name}");
        assert!(error.to_string().contains("the same command goes on"), "{name}: {error}");
    }
}
