//! What is saved is what is loaded, a resumed training is the uninterrupted one, and damage is one line.

use crate::world::{condition, quiet, simulated};
use genailab::{
    ErrorKind,
    data::{Dataset, TrainingData},
    device::Device,
    model::{
        CourseQuery, Model, ModelConfig, Trained,
        static_dynamic::{Part, StaticDynamic, StaticDynamicSettings},
    },
    train::{LearningRateSchedule, Run},
};
use std::sync::{Arc, atomic::AtomicBool};

fn settings(epochs: usize) -> StaticDynamicSettings {
    let mut settings = StaticDynamicSettings::default();
    settings.courses.replicates = 1;
    settings.flow.repeats = 1;
    settings.flow.draws = 4;
    // Another schedule would depend on the number of epochs, which differs between a training and the part that is resumed.
    settings.profiles_train.schedule = LearningRateSchedule::Constant;
    settings.train.schedule = LearningRateSchedule::Constant;
    settings.set_epochs(epochs);
    settings.profiles_train.epochs = 3;
    settings
}

fn training(data: &Dataset) -> TrainingData {
    let split = settings(1).divide(data, [0.1, 0.3], 0).expect("there are times").expect("courses are held out");
    TrainingData::of_dataset(Arc::new(data.clone()), &split, 0).expect("the split fits")
}

fn fitted(data: &TrainingData, epochs: usize, run: &mut Run<'_>) -> genailab::Result<StaticDynamic> {
    StaticDynamic::fit(data, &settings(epochs), run).map(|(model, _)| model)
}

#[test]
fn a_loaded_model_predicts_the_same_a_resumed_training_gives_the_same_bits_and_damage_is_one_line() {
    let simulation = simulated(2);
    let data = training(&simulation.dataset);
    let whole = fitted(&data, 3, &mut quiet(0)).expect("it trains");
    let dir = tempfile::tempdir().expect("a folder");
    let run = |resume: bool| Run { dir: Some(dir.path().to_owned()), resume, ..quiet(0) };
    fitted(&data, 2, &mut run(false)).expect("it trains");
    let resumed = fitted(&data, 3, &mut run(true)).expect("it goes on");
    let single = simulation.truth.perturbations.iter().find(|p| p.genes().len() == 1).expect("a single").to_string();
    let course = |model: &StaticDynamic, samples: usize| {
        model.course(&condition(&single), &CourseQuery { samples, ..CourseQuery::default() }).expect("a course")
    };
    assert!(course(&whole, 0) == course(&resumed, 0), "the resumed training is another one");
    whole.save(dir.path()).expect("it can be written");
    let loaded = StaticDynamic::load(dir.path(), Device::Cpu).expect("it can be read");
    for samples in [0, 3] {
        for (own, read) in course(&whole, samples).profiles.iter().zip(course(&loaded, samples).profiles) {
            // The principal components are kept in double precision and saved in single precision.
            let worst = (own - &read).iter().fold(0.0_f32, |worst, e| worst.max(e.abs()));
            assert!(worst < 1e-4, "{samples}: {worst}");
        }
    }
    let mean = course(&whole, 0);
    let spread = mean.spread.expect("the mean is over draws");
    assert!(spread.row(0).iter().all(|s| *s == 0.0), "the start is given");
    assert!(spread.row(3).iter().any(|s| *s > 0.0));

    let weights = dir.path().join(genailab::model::WEIGHTS);
    let bytes = std::fs::read(&weights).expect("weights");
    std::fs::write(&weights, &bytes[..bytes.len() / 2]).expect("it can be written");
    let error = StaticDynamic::load(dir.path(), Device::Cpu).expect_err("half of a file").to_string();
    assert!(!error.contains('\n') && error.contains(dir.path().to_str().expect("a path")), "{error}");
}

#[test]
fn an_interrupted_training_says_so_and_sequences_are_completed_from_any_part() {
    let simulation = simulated(3);
    let data = training(&simulation.dataset);
    let flag = Arc::new(AtomicBool::new(true));
    let error = fitted(&data, 2, &mut Run { interrupt: Some(flag), ..quiet(0) }).expect_err("it was interrupted");
    assert_eq!(error.kind(), ErrorKind::Interrupted);

    let model = fitted(&data, 1, &mut quiet(0)).expect("it trains");
    let single = simulation.truth.perturbations.iter().find(|p| p.genes().len() == 1).expect("a single").clone();
    let control = model.course(&condition("control"), &CourseQuery::default()).expect("a course").profiles[0].clone();
    let known = control.row(0).to_owned();
    let part = |time: Option<f64>, profile: Option<&genailab::ndarray::Array1<f32>>| Part {
        time,
        dose: 1.0,
        profile: profile.cloned(),
    };
    let filled = [part(Some(0.0), Some(&known)), part(Some(2.5), None), part(Some(7.0), Some(&known))];
    let completed = model.complete(&single, &filled, 3, 0).expect("a completion");
    assert_eq!(completed.draws.len(), 3);
    assert!(completed.draws.iter().all(|draw| draw.row(0) == known && draw.row(2) == known && draw.row(1) != known));
    assert_ne!(completed.draws[0].row(1), completed.draws[1].row(1));
    let alone = model.complete(&single, &[part(None, None)], 2, 0).expect("a static profile");
    assert!(alone.mean().iter().all(|value| value.is_finite()) && alone.mean().dim() == (1, 150));
    let backwards = [part(Some(2.0), None), part(Some(1.0), None)];
    let error = model.complete(&single, &backwards, 1, 0).expect_err("times fall").to_string();
    assert!(error.contains("rise"), "{error}");
    assert!(model.complete(&single, &[], 1, 0).is_err());
}
