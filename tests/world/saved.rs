//! What is saved is what is loaded, and a resumed training is the uninterrupted one.

use super::{condition, fitted, quiet, simulated, training};
use genailab::{
    device::Device,
    model::{
        CourseQuery, Model, Trained,
        world::{WorldModel, WorldSettings},
    },
    train::Run,
};

#[test]
fn a_loaded_model_predicts_the_same_and_a_resumed_training_gives_the_same_bits() {
    let simulation = simulated(2);
    let (data, _) = training(&simulation.dataset, &WorldSettings::default(), 0);
    let whole = fitted(&data, 4, &mut quiet(0));
    let dir = tempfile::tempdir().expect("a folder");
    let run = |resume: bool| Run { dir: Some(dir.path().to_owned()), resume, ..quiet(0) };
    fitted(&data, 2, &mut run(false));
    let resumed = fitted(&data, 4, &mut run(true));
    let single = simulation.truth.perturbations.iter().find(|p| p.genes().len() == 1).expect("a single").to_string();
    let course = |model: &WorldModel, samples: usize| {
        model
            .course(&condition(&single), &CourseQuery { samples, ..CourseQuery::default() })
            .expect("a course")
            .profiles
    };
    assert_eq!(course(&whole, 0), course(&resumed, 0));
    whole.save(dir.path()).expect("it can be written");
    let loaded = WorldModel::load(dir.path(), Device::Cpu).expect("it can be read");
    for samples in [0, 3] {
        for (own, read) in course(&whole, samples).iter().zip(course(&loaded, samples)) {
            // The principal components are kept in double precision and saved in single precision.
            let worst = (own - &read).iter().fold(0.0_f32, |worst, e| worst.max(e.abs()));
            assert!(worst < 1e-5, "{samples}: {worst}");
        }
    }
    // Draws differ from each other and scatter about the mean course.
    let draws = course(&whole, 2);
    assert_ne!(draws[0], draws[1]);
    assert_eq!(draws[0].row(0), draws[1].row(0), "the start is not drawn");
}
