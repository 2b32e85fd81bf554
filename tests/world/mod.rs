//! World models: the parts against PyTorch, the gradient of the training path, known dynamics, plans, the saved form, the commands.

mod commands;
mod gradients;
mod known_dynamics;
mod parity;
mod saved;

use genailab::{
    data::{Condition, Dataset, SimulationConfig, Split, TimeCourseConfig, TimeCourseSimulation, TrainingData},
    model::{
        Model, ModelConfig,
        world::{WorldModel, WorldSettings},
    },
    train::{Progress, Run},
};
use std::sync::Arc;

/// A small time course: 8 times, 10 singles, 10 doubles.
pub fn simulated(seed: u64) -> TimeCourseSimulation {
    let base = SimulationConfig {
        n_cells: 6_000,
        n_genes: 150,
        n_singles: 10,
        damaged_fraction: 0.0,
        seed,
        ..SimulationConfig::default()
    };
    TimeCourseSimulation::new(&TimeCourseConfig { base, n_doubles: 10, ..TimeCourseConfig::default() })
        .expect("the settings are valid")
}

/// The training part and the split that holds out a third of the doubles.
pub fn training(data: &Dataset, settings: &WorldSettings, seed: u64) -> (TrainingData, Split) {
    let split = settings.divide(data, [0.0, 0.3], seed).expect("there are times").expect("courses are held out");
    let data = Arc::new(data.clone());
    (TrainingData::of_dataset(data, &split, seed).expect("the split fits"), split)
}

/// A run without progress.
pub fn quiet(seed: u64) -> Run<'static> {
    Run { progress: Progress::Silent, ..Run::new(seed) }
}

/// A model of a few epochs.
pub fn fitted(data: &TrainingData, epochs: usize, run: &mut Run<'_>) -> WorldModel {
    let mut settings = WorldSettings::default();
    settings.set_epochs(epochs);
    WorldModel::fit(data, &settings, run).expect("it trains").0
}

/// The condition of a perturbation by name.
pub fn condition(name: &str) -> Condition {
    Condition::of(name.parse().expect("a perturbation"))
}
