//! Tests of cell-level pretraining: what networks see, that they learn, that a collapse is noticed, and the probes.

mod adapt;
mod collapse;
mod columns;
mod contexts;
mod effects;
mod genes;
mod groups;
mod held_out;
mod options;
mod pretrain;
mod probe;
mod response;
mod unseen;
mod views;
mod widened;

use genailab::{
    data::{Dataset, Simulation, SimulationConfig, Split, SplitPlan},
    train::{Progress, Run, TrainConfig},
};

/// 600 cells of 120 genes, and their split.
fn small() -> (Dataset, Split) {
    let config = SimulationConfig {
        n_cells: 600,
        n_genes: 120,
        seed: 3,
        n_singles: 5,
        doubles_per_class: 0,
        n_lanes: 2,
        n_programs: 4,
        density: 0.4,
        damaged_fraction: 0.0,
        ..SimulationConfig::default()
    };
    let data = Simulation::new(&config).expect("a small world").dataset;
    let split = data.split(&SplitPlan::default()).expect("600 cells can be divided");
    (data, split)
}

/// A training of few epochs.
fn short(epochs: usize) -> TrainConfig {
    TrainConfig { epochs, batch_size: 64, learning_rate: 1e-3, ..TrainConfig::default() }
}

fn quiet<'a>() -> Run<'a> {
    Run { progress: Progress::Silent, ..Run::default() }
}
