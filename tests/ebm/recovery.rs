//! Trained energies against the density that the data came from.

use super::{mixture, quiet, samples};
use genailab::{
    device::Device,
    model::{
        diffusion::GaussianMixture,
        ebm::{Ebm, EbmConfig, EnergyNetConfig, EnergyObjective, McmcConfig},
    },
    ndarray::{Array1, Array2, Axis, array},
    show::map_grid,
    train::TrainConfig,
};

/// Places along each side of the grid.
const SIDE: usize = 60;

fn trained(objective: EnergyObjective, epochs: usize, learning_rate: f64) -> Ebm {
    let config = EbmConfig { objective, net: EnergyNetConfig { width: 48, depth: 3 }, ..EbmConfig::default() };
    let mut ebm = Ebm::new(2, 0, &config, 0, Device::Cpu).expect("it fits");
    let train = TrainConfig { epochs, learning_rate, ..EbmConfig::training() };
    ebm.fit(&samples(3000, 1), None, None, &train, &mut quiet()).expect("it trains");
    ebm
}

/// Logarithms of densities on a grid as shares that sum to 1.
fn shares(log: Array1<f64>) -> Array1<f64> {
    let top = log.fold(f64::NEG_INFINITY, |a, &b| a.max(b));
    let density = log.mapv(|v| (v - top).exp());
    let sum = density.sum();
    density / sum
}

/// Total variation of the model and a density on the grid.
fn total_variation(ebm: &Ebm, truth: &GaussianMixture) -> f64 {
    let places = map_grid(-3.0, 3.0, SIDE);
    let model = shares(-ebm.energy(&places.mapv(|v| v as f32), None).expect("it is trained"));
    let truth = shares(truth.log_density(&places).expect("finite"));
    (model - truth).mapv(f64::abs).sum() / 2.0
}

/// The mixture with noise of `sigma` standard deviations of the training samples.
fn noised(sigma: f64) -> GaussianMixture {
    let std = samples(3000, 1).mapv(f64::from).std_axis(Axis(0), 0.0);
    let noise = Array2::from_diag(&std.mapv(|s| (sigma * s).powi(2)));
    let covariances =
        [array![[0.12, 0.07], [0.07, 0.12]], array![[0.08, -0.05], [-0.05, 0.20]], array![[0.25, 0.0], [0.0, 0.05]]];
    GaussianMixture::new(
        &[0.5, 0.3, 0.2],
        &[array![-1.2, -0.6], array![1.3, -0.8], array![0.3, 1.4]],
        &covariances.map(|c| c + &noise),
    )
    .expect("a mixture")
}

#[test]
fn nce_recovers_a_mixture_and_its_constant() {
    let ebm = trained(EnergyObjective::Nce { noise: 4 }, 60, 5e-3);
    let off = total_variation(&ebm, &mixture());
    assert!(off < 0.1, "total variation {off}");
    let new = samples(1000, 2);
    let found = ebm.log_density(&new, None).expect("nce is normalised").mean().expect("rows");
    let truth = mixture().log_density(&new.mapv(f64::from)).expect("finite").mean().expect("rows");
    assert!((found - truth).abs() < 0.15, "{found} {truth}");
    let chains = ebm.sample(300, None, &McmcConfig::default(), 1).expect("it runs");
    assert!(chains.acceptance > 0.8, "acceptance {}", chains.acceptance);
}

#[test]
fn denoising_recovers_the_noised_mixture() {
    let ebm = trained(EnergyObjective::Dsm { sigma_min: 0.2 }, 120, 5e-3);
    let off = total_variation(&ebm, &noised(0.2));
    assert!(off < 0.1, "total variation {off}");
    let error = ebm.log_density(&samples(5, 1), None).expect_err("up to a constant").to_string();
    assert!(error.contains("dsm") && error.contains("nce"), "{error}");
    let chains = ebm.sample(300, None, &McmcConfig::default(), 1).expect("it runs");
    assert!(chains.acceptance > 0.8, "acceptance {}", chains.acceptance);
}

/// Ten Langevin steps per step of training leave the chains behind the energy: nearer takes more epochs.
#[test]
fn persistent_chains_come_near_a_mixture() {
    let pcd = EnergyObjective::Pcd { chains: 1024, restart: 0.05, steps: 10, step_size: 0.2, regularisation: 0.001 };
    let off = total_variation(&trained(pcd, 45, 2e-3), &mixture());
    assert!(off < 0.25, "total variation {off}");
}
