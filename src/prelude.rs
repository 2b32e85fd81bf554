//! What a notebook needs: `use genailab::prelude::*;`.

pub use crate::{
    Error, Result,
    bench::{Benchmark, evaluate_vae, truth_agreement},
    data::{
        Counts, Dataset, EffectTable, Effects, Perturbation, QcConfig, Simulation, SimulationConfig, Split, SplitPlan,
        TrainingCells, TrainingData,
    },
    device::Device,
    model::{CountVae, KlAnnealing, Likelihood, Model, Trained, VaeConfig, VaeSettings},
    train::{History, Run, TrainConfig},
};
pub use ndarray::{Array1, Array2, Axis};
