//! Flows: paths, couplings, transport.

use super::common::{assert_moments, gaussian, largest, mixture, reference, rng};
use genailab::{
    Result,
    model::{
        diffusion::{Divergence, GaussianMixture, OdeConfig, Solver, Velocity, gaussian_noise},
        flow::{
            FlowPath, MixtureVelocity, Pairing, assignment, curvature, encode, flow_log_likelihood, reflow,
            squared_distances, transport,
        },
    },
    ndarray::{Array2, Axis, array},
};
use std::{collections::BTreeSet, f64::consts::FRAC_PI_2};

const PATHS: [FlowPath; 2] = [FlowPath::Linear, FlowPath::Vp];

#[test]
fn paths_start_at_the_source_end_at_the_data_and_move_as_they_say() {
    let (source, data) = (gaussian_noise(10, 3, 1.0, &mut rng(0)), gaussian_noise(10, 3, 2.0, &mut rng(1)));
    for path in PATHS {
        let at = |t| path.point(&source, &data, t).expect("one shape").0;
        assert!(largest(&at(0.0), &source) < 1e-12 && largest(&at(1.0), &data) < 1e-12, "{path:?}");
        let (h, t) = (1e-6, 0.37);
        let slope = (at(t + h) - at(t - h)) / (2.0 * h);
        let velocity = path.point(&source, &data, t).expect("one shape").1;
        assert!(largest(&slope, &velocity) < 1e-8, "{path:?}");
    }
    let (a, b) = FlowPath::Vp.weights(0.3);
    assert!((a * a + b * b - 1.0).abs() < 1e-12, "VP keeps the variance");
}

#[test]
fn exact_velocities_carry_noise_to_the_target_and_back() {
    let noise = gaussian_noise(20_000, 2, 1.0, &mut rng(0));
    for path in PATHS {
        for (name, target) in [("Gaussian", gaussian()), ("mixture", mixture())] {
            let velocity = MixtureVelocity::new(target.clone(), path);
            // 40 steps of Heun leave 1 % of the variance.
            let found = transport(&velocity, &noise, &OdeConfig::fixed(Solver::Heun, 40)).expect("solved");
            assert_moments(&format!("{path:?}, {name}"), &found.x, &target, 4.5, 0.02);
            let few = found.x.slice(genailab::ndarray::s![..30, ..]).to_owned();
            let tight = OdeConfig::adaptive(1e-8);
            let back = encode(&velocity, &few, &tight).expect("solved").x;
            let again = transport(&velocity, &back, &tight).expect("solved").x;
            assert!(largest(&again, &few) < 1e-5, "{path:?}, {name}: {}", largest(&again, &few));
            let likelihood = flow_log_likelihood(&velocity, &few, Divergence::Exact, &OdeConfig::adaptive(1e-6));
            let off = likelihood.expect("solved").log_density - target.log_density(&few).expect("fits");
            assert!(off.iter().all(|v| v.abs() < 1e-2), "{path:?}, {name}: the likelihood is off by {off}");
        }
    }
}

#[test]
fn in_one_dimension_reflow_pairs_are_the_quantiles() {
    // A flow on a line keeps the order, so it maps N(0, 1) to N(1, 0.5^2) by x -> 1 + x / 2.
    let target = GaussianMixture::round(&[1.0], &array![[1.0]], 0.5).expect("a Gaussian");
    let source = gaussian_noise(200, 1, 1.0, &mut rng(0));
    for path in PATHS {
        let velocity = MixtureVelocity::new(target.clone(), path);
        let pairs = reflow(&velocity, &source, &OdeConfig::adaptive(1e-8)).expect("solved");
        assert!(largest(&pairs, &(&source * 0.5 + 1.0)) < 1e-5, "{path:?}");
    }
}

/// Everything moves by one and the same vector.
struct Shift;

impl Velocity for Shift {
    fn dims(&self) -> usize {
        2
    }

    fn velocity(&self, x: &Array2<f64>, _: f64) -> Result<Array2<f64>> {
        Ok(Array2::zeros(x.dim()) + array![3.0, -1.0])
    }
}

#[test]
fn curvature_is_that_of_the_closed_form() {
    // N(0, I) to N(mu, I) drawn independently: x_t = t mu + s(t) x_0 with s^2 = t^2 + (1 - t)^2, so the mean of |s' x_0|^2 is
    // dims (2 - pi / 2).
    let target = GaussianMixture::round(&[1.0], &array![[1.0, -2.0]], 1.0).expect("a Gaussian");
    let source = gaussian_noise(4000, 2, 1.0, &mut rng(0));
    let found = curvature(&MixtureVelocity::new(target, FlowPath::Linear), &source, 100).expect("solved");
    let size = source.iter().map(|v| v * v).sum::<f64>() / 4000.0; // of this source, 2 in the mean
    assert!((found / size - (2.0 - FRAC_PI_2)).abs() < 1e-3, "{found} for {}", 2.0 * (2.0 - FRAC_PI_2));
    let straight = curvature(&Shift, &source, 20).expect("solved");
    assert!(straight < 1e-20, "{straight}");
}

#[test]
fn the_assignment_costs_what_scipy_s_does() {
    for known in reference().assignments {
        let cost = |i: usize, j: usize| {
            let (i, j) = (i as i64, j as i64);
            (7919 * i + 104_729 * j + 31 * i * j) % 1009 + (i - j).pow(2) % 17
        };
        let (n, m) = (known.rows, known.columns);
        let columns = assignment(&Array2::from_shape_fn((n, m), |(i, j)| cost(i, j) as f64)).expect("finite");
        assert_eq!(columns.iter().collect::<BTreeSet<_>>().len(), n, "{n} x {m}: no column twice");
        let total: i64 = columns.iter().enumerate().map(|(i, &j)| cost(i, j)).sum();
        assert_eq!(total, known.cost, "{n} x {m}");
    }
}

#[test]
fn transport_pairs_cost_no_more_than_random_ones() {
    let (source, data) = (gaussian_noise(128, 2, 1.0, &mut rng(0)), mixture().sample(128, &mut rng(1)).0);
    let cost = |pairing: Pairing, seed| {
        let rows = pairing.pair(&source, &data, &mut rng(seed)).expect("fits");
        let paired = source.select(Axis(0), &rows);
        (&paired - &data).mapv(|v| v * v).sum() / 128.0
    };
    let best = cost(Pairing::OptimalTransport, 0);
    let chance: Vec<f64> = (0..20).map(|seed| cost(Pairing::Independent, seed)).collect();
    assert!(chance.iter().all(|c| best < 0.7 * c), "{best} for {chance:?}");
    let entropic = cost(Pairing::Sinkhorn { epsilon: 0.01 }, 0);
    assert!(entropic < 1.3 * best, "a small regularisation comes near: {entropic} for {best}");
    assert!(cost(Pairing::Sinkhorn { epsilon: 1e3 }, 0) > 1.5 * best, "a large one knows no pairs");
    // Rows of an identical set are paired with themselves, whatever their order.
    let shuffled: Vec<usize> = (0..128).map(|i| (i * 37) % 128).collect();
    let found = Pairing::OptimalTransport.pair(&data, &data.select(Axis(0), &shuffled), &mut rng(0)).expect("fits");
    assert_eq!(found, shuffled);
    // Every data row once; every source row at most once by the two exact ways.
    for pairing in [Pairing::OptimalTransport, Pairing::Independent] {
        let rows = pairing.pair(&source, &data, &mut rng(0)).expect("fits");
        assert_eq!(rows.iter().collect::<BTreeSet<_>>().len(), 128, "{pairing:?}");
    }
    let costs = squared_distances(&data, &source);
    assert!((costs[[3, 5]] - (&data.row(3) - &source.row(5)).mapv(|v| v * v).sum()).abs() < 1e-12);
}
