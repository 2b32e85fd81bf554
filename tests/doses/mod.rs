//! Doses in names: read from files, simulated with known curves, learned by models, held out by splits.

mod files;
mod models;
mod splits;

use genailab::data::{Dataset, Simulation, SimulationConfig};
use std::sync::OnceLock;

pub const DOSES: [f64; 5] = [0.1, 0.4, 1.0, 3.0, 10.0];

/// Singles at five doses.
pub fn simulation() -> &'static Simulation {
    static MADE: OnceLock<Simulation> = OnceLock::new();
    MADE.get_or_init(|| {
        let config = SimulationConfig {
            n_cells: 3_200,
            n_genes: 150,
            n_singles: 10,
            doubles_per_class: 0,
            n_lanes: 1,
            seed: 5,
            doses: DOSES.to_vec(),
            ..SimulationConfig::default()
        };
        Simulation::new(&config).expect("valid settings")
    })
}

pub fn cells() -> &'static Dataset {
    &simulation().dataset
}
