//! Energy-based models: derivatives, known truths, the saved form, and cells.

mod cells;
mod commands;
mod derivatives;
mod recovery;
mod samplers;
mod saved;
mod scores;

use genailab::{
    dfdx::prelude::*,
    model::{
        diffusion::GaussianMixture,
        ebm::{EnergyNet, EnergyNetConfig},
    },
    ndarray::{Array2, array},
    nn::init::{normal, seeded},
    train::{Progress, Run},
};

/// The mixture of the notebooks.
pub fn mixture() -> GaussianMixture {
    GaussianMixture::new(
        &[0.5, 0.3, 0.2],
        &[array![-1.2, -0.6], array![1.3, -0.8], array![0.3, 1.4]],
        &[array![[0.12, 0.07], [0.07, 0.12]], array![[0.08, -0.05], [-0.05, 0.20]], array![[0.25, 0.0], [0.0, 0.05]]],
    )
    .expect("a mixture")
}

/// Samples of it, `(rows, 2)`.
pub fn samples(rows: usize, seed: u64) -> Array2<f32> {
    mixture().sample(rows, &mut seeded(seed)).0.mapv(|v| v as f32)
}

/// A network whose last layer does not start at 0, so that its derivatives are none.
pub fn net(dims: usize, given: usize, seed: u64) -> EnergyNet<Cpu> {
    let (device, mut rng) = (Cpu::default(), seeded(seed));
    let config = EnergyNetConfig { width: 12, depth: 3 };
    let mut net = EnergyNet::new(&device, (dims, given), config, &mut rng).expect("memory");
    net.output.weight = normal(&device, (12, 1), 1.0, &mut rng).expect("memory");
    net
}

/// Standard normal rows.
pub fn noise(rows: usize, columns: usize, seed: u64) -> Array2<f32> {
    genailab::model::diffusion::gaussian_noise(rows, columns, 1.0, &mut seeded(seed)).mapv(|v| v as f32)
}

/// A run without progress.
pub fn quiet() -> Run<'static> {
    Run { progress: Progress::Silent, ..Run::default() }
}
