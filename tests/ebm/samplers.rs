//! Chains whose stationary density is known.

use super::{mixture, samples};
use genailab::{
    eval::sets::{EDistance, edistance},
    model::{
        diffusion::{GaussianMixture, gaussian_noise},
        ebm::{Energy, Mcmc, McmcConfig, run_chains},
    },
    ndarray::{Array1, Array2, array},
    nn::init::seeded,
};

fn gaussian() -> GaussianMixture {
    let covariance = array![[1.0, 0.6], [0.6, 0.8]];
    GaussianMixture::new(&[1.0], &[array![0.5, -1.0]], &[covariance]).expect("a Gaussian")
}

#[test]
fn the_gradient_of_a_mixture_is_a_difference_quotient() {
    let (data, x, h) = (mixture(), gaussian_noise(10, 2, 1.0, &mut seeded(1)), 1e-5);
    let gradient = data.gradient(&x).expect("it fits");
    for axis in 0..2 {
        let mut step = Array2::zeros((1, 2));
        step[[0, axis]] = h;
        let at = |x: Array2<f64>| data.energy(&x).expect("it fits");
        let quotient: Array1<f64> = (at(&x + &step) - at(&x - &step)) / (2.0 * h);
        assert!((&quotient - &gradient.column(axis)).iter().all(|off| off.abs() < 1e-6));
    }
}

/// Chains that begin at exact samples stay exact samples: mean and covariance within four standard errors.
#[test]
fn hmc_and_mala_leave_a_gaussian_invariant() {
    let data = gaussian();
    let n = 4000;
    let start = data.sample(n, &mut seeded(2)).0;
    for (kind, step_size, [low, high]) in [(Mcmc::Hmc, 0.3, [0.8, 0.999]), (Mcmc::Mala, 0.6, [0.6, 0.99])] {
        let config = McmcConfig { leapfrog: 5, ..McmcConfig::new(kind, 20, step_size) };
        let chains = run_chains(&data, start.clone(), &config, &mut seeded(3)).expect("it runs");
        assert!((low..high).contains(&chains.acceptance), "{kind:?}: acceptance {}", chains.acceptance);
        let mean = chains.x.mean_axis(genailab::ndarray::Axis(0)).expect("rows");
        let centred = &chains.x - &mean;
        let covariance = centred.t().dot(&centred) / n as f64;
        let root = (n as f64).sqrt();
        for (i, expected) in [0.5, -1.0].into_iter().enumerate() {
            assert!((mean[i] - expected).abs() < 4.0 / root, "{kind:?}: mean {mean}");
        }
        for ((i, j), expected) in [((0, 0), 1.0), ((0, 1), 0.6), ((1, 1), 0.8)] {
            let off = covariance[[i, j]] - expected;
            assert!(off.abs() < 4.0 * 2.0_f64.sqrt() / root, "{kind:?}: covariance {covariance}");
        }
    }
}

/// Steps of length e without a test have the variance 1 / (1 - e^2 / 4) on N(0, 1); the test makes it 1.
#[test]
fn untested_langevin_steps_are_off_by_their_length() {
    let data = GaussianMixture::new(&[1.0], &[array![0.0]], &[array![[1.0]]]).expect("a Gaussian");
    let start = gaussian_noise(8000, 1, 1.0, &mut seeded(1));
    let variance = |kind| {
        let chains =
            run_chains(&data, start.clone(), &McmcConfig::new(kind, 30, 1.0), &mut seeded(2)).expect("it runs");
        (chains.x.var(0.0), chains.acceptance)
    };
    let ((plain, all), (tested, some)) = (variance(Mcmc::Langevin), variance(Mcmc::Mala));
    assert!((plain - 4.0 / 3.0).abs() < 0.09, "{plain}");
    assert!((tested - 1.0).abs() < 0.07, "{tested}");
    assert!(all == 1.0 && some < 1.0, "{all} {some}");
}

#[test]
fn hmc_finds_the_mixture_from_noise() {
    let (data, truth) = (mixture(), samples(600, 1));
    let start = gaussian_noise(600, 2, 1.5, &mut seeded(2));
    let chains = run_chains(&data, start, &McmcConfig::default(), &mut seeded(3)).expect("it runs");
    let apart = |a: &Array2<f32>| edistance(a.view(), truth.view(), EDistance::Plain).expect("rows");
    let found = apart(&chains.x.mapv(|v| v as f32));
    assert!(found < apart(&samples(600, 4)) + 0.03, "{found}");
    assert_eq!(chains.mean_energy.len(), 200);
}

#[test]
fn chains_that_cannot_run_are_refused() {
    let data = mixture();
    let start = || gaussian_noise(5, 2, 1.0, &mut seeded(1));
    let fails = |start: Array2<f64>, config: &McmcConfig| {
        run_chains(&data, start, config, &mut seeded(1)).expect_err("it must be refused").to_string()
    };
    assert!(fails(start(), &McmcConfig::new(Mcmc::Hmc, 5, 0.0)).contains("step_size"));
    assert!(fails(start(), &McmcConfig { leapfrog: 0, ..McmcConfig::default() }).contains("leapfrog"));
    assert!(fails(Array2::zeros((0, 2)), &McmcConfig::default()).contains("at least 1"));
    assert!(fails(start(), &McmcConfig::new(Mcmc::Langevin, 400, 30.0)).contains("lower step_size"));
}
