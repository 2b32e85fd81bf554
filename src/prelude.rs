//! What a notebook needs: `use genailab::prelude::*;`.

pub use crate::{
    Error, Result,
    bench::{Benchmark, evaluate_vae, truth_agreement},
    data::{Counts, Dataset, Effects, Perturbation, QcConfig, Simulation, SimulationConfig, Split, SplitPlan},
    device::Device,
    model::{CountVae, KlAnnealing, Likelihood, VaeConfig},
    train::{History, TrainConfig},
};
pub use ndarray::{Array1, Array2, Axis};
