//! Solvers: their orders, both directions of time, and the adaptive one against scipy.

use super::common::{largest, mixture, reference, rng};
use genailab::{
    Result,
    model::diffusion::{OdeConfig, ProbabilityFlow, Sde, Solver, Velocity, integrate},
    ndarray::{Array2, array},
};

/// Lotka-Volterra's foxes and hares.
struct Hares;

impl Velocity for Hares {
    fn dims(&self) -> usize {
        2
    }

    fn velocity(&self, x: &Array2<f64>, _: f64) -> Result<Array2<f64>> {
        let rate = |x: f64, y: f64| [1.5 * x - x * y, x * y - 3.0 * y];
        Ok(Array2::from_shape_fn(x.dim(), |(i, j)| rate(x[[i, 0]], x[[i, 1]])[j]))
    }
}

/// `dx/dt = cos(t) x`, whose solution from 1 at time 0 is `exp(sin t)`.
struct Wave;

impl Velocity for Wave {
    fn dims(&self) -> usize {
        1
    }

    fn velocity(&self, x: &Array2<f64>, t: f64) -> Result<Array2<f64>> {
        Ok(x * t.cos())
    }
}

#[test]
fn each_method_has_its_order() {
    let error = |solver, steps| {
        let x = integrate(&Wave, array![[1.0]], 0.0, 2.0, &OdeConfig::fixed(solver, steps)).expect("solved").x;
        (x[[0, 0]] - 2.0_f64.sin().exp()).abs()
    };
    for (solver, order) in [(Solver::Euler, 1), (Solver::Heun, 2), (Solver::Rk4, 4)] {
        let found = (error(solver, 40) / error(solver, 80)).log2();
        assert!((found - f64::from(order)).abs() < 0.25, "{solver:?}: order {found:.2}");
    }
}

#[test]
fn the_adaptive_method_is_as_good_and_as_cheap_as_scipy_s() {
    let known = reference().lotka_volterra;
    let found = integrate(&Hares, array![[10.0, 5.0]], 0.0, 10.0, &OdeConfig::adaptive(1e-6)).expect("solved");
    let end = array![[known.end[0], known.end[1]]];
    assert!(largest(&found.x, &end) < 1e-3, "{} for {end}", found.x);
    let ratio = found.evaluations as f64 / known.evaluations as f64;
    assert!((0.5..1.3).contains(&ratio), "{} evaluations; scipy's RK45 takes {}", found.evaluations, known.evaluations);
    assert_eq!(found.evaluations, 2 + 6 * (found.steps + found.rejected), "first slope, first step, six a step");
    let finer = integrate(&Hares, array![[10.0, 5.0]], 0.0, 10.0, &OdeConfig::adaptive(1e-9)).expect("solved");
    assert!(largest(&finer.x, &end) < 1e-6 && finer.steps > found.steps);
}

#[test]
fn backward_and_forward_in_time_are_one_equation() {
    let sde = Sde::default();
    let denoiser = mixture().denoiser(sde);
    let flow = ProbabilityFlow::new(&denoiser, sde).expect("a diffusion");
    let start = mixture().sample(20, &mut rng(0)).0;
    let ends: Vec<Array2<f64>> =
        [OdeConfig::adaptive(1e-7), OdeConfig::fixed(Solver::Rk4, 400), OdeConfig::fixed(Solver::Heun, 4000)]
            .iter()
            .map(|config| {
                let there = integrate(&flow, start.clone(), 0.05, 1.0, config).expect("solved").x;
                let back = integrate(&flow, there.clone(), 1.0, 0.05, config).expect("solved").x;
                assert!(
                    largest(&back, &start) < 1e-3,
                    "{config:?}: there and back is off by {}",
                    largest(&back, &start)
                );
                assert!(largest(&there, &start) > 0.3, "{config:?}: it went somewhere");
                there
            })
            .collect();
    // From 1 to 0 too, all methods run the same way.
    let noise = &ends[0];
    let backs: Vec<Array2<f64>> = [OdeConfig::adaptive(1e-7), OdeConfig::fixed(Solver::Rk4, 400)]
        .iter()
        .map(|config| integrate(&flow, noise.clone(), 1.0, 0.05, config).expect("solved").x)
        .collect();
    assert!(largest(&backs[0], &backs[1]) < 1e-4);
    assert!(largest(&ends[0], &ends[1]) < 1e-4 && largest(&ends[0], &ends[2]) < 1e-3);
}

#[test]
fn steps_are_bounded_and_nothing_is_done_for_no_time() {
    let sde = Sde::default();
    let denoiser = mixture().denoiser(sde);
    let flow = ProbabilityFlow::new(&denoiser, sde).expect("a diffusion");
    let start = mixture().sample(200, &mut rng(0)).0;
    let found = flow.encode(&start, &OdeConfig::adaptive(1e-4)).expect("solved");
    assert!(found.steps < 100 && found.rejected < 20, "{} steps, {} taken back", found.steps, found.rejected);
    let still = integrate(&flow, start.clone(), 0.4, 0.4, &OdeConfig::default()).expect("solved");
    assert_eq!((still.x, still.evaluations), (start, 0));
}
