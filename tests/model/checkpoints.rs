//! Checkpoints of notebooks: found again by what was trained, and by nothing else.

use genailab::{
    data::{Condition, Counts, Dataset, Simulation, SimulationConfig, SplitPlan, TrainingData},
    model::{Checkpoints, CountVae, Origin, Sampling, Trained, VaeConfig, VaeSettings},
    ndarray::Array2,
    train::TrainConfig,
};
use std::fs;

fn cells() -> Dataset {
    let config = SimulationConfig { n_cells: 300, n_genes: 40, seed: 3, ..SimulationConfig::default() };
    Simulation::new(&config).expect("valid settings").dataset
}

fn training(data: Dataset) -> TrainingData {
    let split = data.split(&SplitPlan::Stratified { validation: 0.0, test: 0.1, seed: 0 }).expect("enough cells");
    TrainingData::of_dataset(data, &split, 0).expect("its own split")
}

fn settings(epochs: usize) -> VaeSettings {
    VaeSettings {
        model: VaeConfig { latent: 4, hidden: vec![16], ..VaeConfig::default() },
        train: TrainConfig { epochs, early_stopping: None, ..TrainConfig::default() },
        ..VaeSettings::default()
    }
}

fn drawn(model: &CountVae, data: &TrainingData) -> Array2<f32> {
    let condition: Condition = data.cells.as_ref().expect("cells").conditions[0].clone();
    model.cells(&condition, &Sampling::new(20, 5)).expect("a condition that it knows").values
}

/// The same cells, one count of which is one higher; library sizes stay.
fn with_one_count_more(data: &Dataset) -> Dataset {
    let mut counts = data.counts.to_dense();
    counts[[0, 0]] += 1.0;
    Dataset { counts: Counts::from_dense(&counts), ..data.clone() }
}

#[test]
fn a_second_session_loads_the_same_model_and_any_change_trains_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let kept = Checkpoints::in_folder(folder.path().join("checkpoints"));
    let data = training(cells());
    let (first, origin) = kept.fit::<CountVae>(&data, &settings(2), 0).expect("it trains");
    assert!(matches!(origin, Origin::Kept(_)), "{origin:?}");
    let (second, origin) = kept.fit::<CountVae>(&data, &settings(2), 0).expect("it is read");
    assert!(matches!(origin, Origin::Loaded(_)), "{origin:?}");
    assert_eq!(drawn(&first, &data), drawn(&second, &data), "the same bits");

    let origin =
        |data: &TrainingData, epochs, seed| kept.fit::<CountVae>(data, &settings(epochs), seed).expect("it trains").1;
    for (what, origin) in [
        ("other settings", origin(&data, 3, 0)),
        ("another seed", origin(&data, 2, 1)),
        ("another count", origin(&training(with_one_count_more(&cells())), 2, 0)),
    ] {
        assert!(matches!(origin, Origin::Kept(_)), "{what}: {origin:?}");
    }
}

#[test]
fn a_damaged_checkpoint_is_trained_again_and_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let kept = Checkpoints::in_folder(folder.path());
    let data = training(cells());
    let (first, origin) = kept.fit::<CountVae>(&data, &settings(1), 0).expect("it trains");
    let Origin::Kept(dir) = origin else { panic!("{origin:?}") };
    fs::write(dir.join("model.safetensors"), b"not arrays").expect("it can be written");
    let (again, origin) = kept.fit::<CountVae>(&data, &settings(1), 0).expect("it trains");
    assert!(matches!(&origin, Origin::Faulty(why) if why.contains("could not be read")), "{origin:?}");
    assert_eq!(drawn(&first, &data), drawn(&again, &data));
    let (_, origin) = kept.fit::<CountVae>(&data, &settings(1), 0).expect("it is read");
    assert_eq!(origin, Origin::Loaded(dir));
}

#[test]
fn a_folder_that_cannot_be_written_costs_the_checkpoint_and_not_the_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a file");
    fs::write(&file, b"").expect("it can be written");
    let (_, origin) =
        Checkpoints::in_folder(file).fit::<CountVae>(&training(cells()), &settings(1), 0).expect("it trains");
    assert!(matches!(&origin, Origin::Faulty(why) if why.starts_with("not kept: ")), "{origin:?}");
}
