//! Every sampler reaches its target, on a Gaussian and on a mixture, under every diffusion.

use super::common::{VE, assert_moments, covariance, diffusions, gaussian, largest, mean, mixture, rng};
use genailab::{
    Result,
    model::diffusion::{
        Denoiser, GaussianMixture, Sampler, SamplerConfig, Schedule, Sde, Solver, StepVariance, TimeGrid, prior, sample,
    },
    ndarray::Array2,
};
use std::cell::RefCell;

/// A mean is then known to 1.1 % of a standard deviation, a variance to 1.6 %.
const ROWS: usize = 8_000;
/// Of 2 x 2 x 24 comparisons of three numbers, one in a thousand runs is that far off by chance.
const STANDARD_ERRORS: f64 = 4.5;

fn draw(target: &GaussianMixture, sde: &Sde, config: &SamplerConfig, rows: usize, seed: u64) -> Array2<f64> {
    let mut rng = rng(seed);
    let start = prior(sde, rows, target.dims(), &mut rng);
    sample(&target.denoiser(*sde), sde, config, start, &mut rng).expect("a sampler")
}

/// The sampler's settings, and the error of its finite steps as a part of the target's variance (doubling the steps halves it for
/// the stochastic ones; the Langevin step of length a adds a / 2 of the variance at large noise).
fn settings() -> [(&'static str, SamplerConfig, f64); 6] {
    let with = |kind, steps| SamplerConfig { grid: TimeGrid::LogSnr, ..SamplerConfig::new(kind, steps) };
    [
        ("DDPM", with(Sampler::Ddpm, 250), 0.02),
        ("DDIM", with(Sampler::Ddim, 150), 0.02),
        ("DDIM, eta 0.5", SamplerConfig { eta: 0.5, ..with(Sampler::Ddim, 200) }, 0.02),
        ("reverse SDE", SamplerConfig { grid: TimeGrid::Quadratic, ..with(Sampler::EulerMaruyama, 400) }, 0.03),
        ("probability flow", SamplerConfig { solver: Solver::Heun, ..with(Sampler::ProbabilityFlow, 80) }, 0.02),
        (
            "predictor-corrector",
            SamplerConfig { grid: TimeGrid::Quadratic, ..with(Sampler::PredictorCorrector, 300) },
            0.04,
        ),
    ]
}

#[test]
fn every_sampler_has_the_moments_of_a_gaussian() {
    for (i, (diffusion, sde)) in diffusions().into_iter().enumerate() {
        for (sampler, config, bias) in settings() {
            let x = draw(&gaussian(), &sde, &config, ROWS, i as u64);
            assert_moments(&format!("{sampler}, {diffusion}"), &x, &gaussian(), STANDARD_ERRORS, bias);
        }
    }
}

#[test]
fn every_sampler_has_the_moments_and_the_clumps_of_a_mixture() {
    let target = mixture();
    for (i, (diffusion, sde)) in diffusions().into_iter().enumerate() {
        for (sampler, config, bias) in settings() {
            let what = format!("{sampler}, {diffusion}");
            let x = draw(&target, &sde, &config, ROWS, 10 + i as u64);
            assert_moments(&what, &x, &target, STANDARD_ERRORS, bias);
            // Share of the first component: its standard error is sqrt(0.3 x 0.7 / 8000) = 0.0051.
            let shares = target.shares(&x).expect("fits");
            let share = shares.column(0).mean().expect("rows");
            assert!(
                (share - 0.3).abs() < STANDARD_ERRORS * 0.0051 + 0.5 * bias,
                "{what}: the first clump has {share:.4}"
            );
            // And its own spread: a sampler that blurs or shrinks the clumps may still have the right moments.
            let rows: Vec<usize> = (0..ROWS).filter(|&row| shares[[row, 0]] > 0.5).collect();
            let first = x.select(genailab::ndarray::Axis(0), &rows);
            let component = target.component(0).expect("two");
            assert_moments(&format!("{what}, first clump"), &first, &component, STANDARD_ERRORS, 2.0 * bias);
        }
    }
}

#[test]
fn langevin_dynamics_reaches_one_clump_and_the_clumps_of_a_mixture() {
    // Without a predictor the samples follow the falling noise only as fast as Langevin steps take them: what they were spread by
    // when the noise became small stays, about 1 / 20 of the variance at 60 x 40 steps of length 0.18 std^2 over 19 units of log SNR.
    let config = SamplerConfig {
        corrector_steps: 40,
        corrector_snr: 0.3,
        grid: TimeGrid::LogSnr,
        ..SamplerConfig::new(Sampler::Langevin, 60)
    };
    for (diffusion, sde) in [("VP", Sde::default()), ("VE", VE)] {
        for target in [gaussian(), mixture()] {
            let x = draw(&target, &sde, &config, 3000, 3);
            assert_moments(&format!("Langevin, {diffusion}"), &x, &target, STANDARD_ERRORS, 0.06);
        }
    }
}

#[test]
fn ddim_without_noise_draws_nothing_and_with_all_of_it_is_ddpm() {
    for (name, sde) in diffusions() {
        let start = prior(&sde, 300, 2, &mut rng(0));
        let run = |config: &SamplerConfig, seed| {
            sample(&mixture().denoiser(sde), &sde, config, start.clone(), &mut rng(seed)).expect("a sampler")
        };
        let silent = SamplerConfig::new(Sampler::Ddim, 20);
        assert_eq!(run(&silent, 1), run(&silent, 2), "{name}: eta 0 does not depend on the seed");
        let noisy = SamplerConfig { eta: 1.0, ..silent };
        assert!(largest(&run(&noisy, 1), &run(&noisy, 2)) > 0.1, "{name}: eta 1 does");
        let ddpm = SamplerConfig::new(Sampler::Ddpm, 20);
        let off = largest(&run(&noisy, 1), &run(&ddpm, 1));
        assert!(off < 1e-9, "{name}: with the same noise eta 1 takes the steps of DDPM, off by {off}");
        assert_eq!(run(&ddpm, 1), run(&ddpm, 1), "{name}: one seed, one result");
    }
}

#[test]
fn the_two_variances_of_ddpm_agree_in_many_steps_and_differ_in_few() {
    let spread = |variance, steps| {
        let config = SamplerConfig { variance, ..SamplerConfig::new(Sampler::Ddpm, steps) };
        covariance(&draw(&gaussian(), &Sde::default(), &config, 10_000, 5))[[0, 0]]
    };
    let apart = |steps| spread(StepVariance::Transition, steps) - spread(StepVariance::Posterior, steps);
    let (few, many) = (apart(10), apart(500));
    // Standard error of the difference: sqrt 2 x 0.5 x sqrt(2 / 10000) = 0.01.
    assert!(few > 0.05 && many.abs() < 0.04, "apart by {few} in 10 steps, by {many} in 500");
}

#[test]
fn fewer_steps_serve_ddim_better_than_ddpm() {
    let target = gaussian();
    let off = |kind| {
        let config = SamplerConfig { grid: TimeGrid::LogSnr, ..SamplerConfig::new(kind, 10) };
        largest(&covariance(&draw(&target, &Sde::default(), &config, 20_000, 6)), &target.covariance())
    };
    let (ddim, ddpm) = (off(Sampler::Ddim), off(Sampler::Ddpm));
    assert!(ddim < ddpm, "DDIM {ddim}, DDPM {ddpm}");
}

#[test]
fn the_prior_of_ve_is_as_wide_as_its_largest_noise() {
    assert_eq!((VE.prior_std(), Sde::default().prior_std()), (20.0, 1.0));
    let start = prior(&VE, 20_000, 2, &mut rng(0));
    let variance = covariance(&start)[[0, 0]];
    assert!((variance / 400.0 - 1.0).abs() < 0.05, "the variance is {variance}");
    // From a start of standard deviation 1, as if VE were VP, the samples shrink.
    let narrow = &start / 20.0;
    let config = SamplerConfig::new(Sampler::Ddim, 100);
    let x = sample(&mixture().denoiser(VE), &VE, &config, narrow, &mut rng(0)).expect("a sampler");
    let (found, wanted) = (covariance(&x)[[0, 0]], mixture().covariance()[[0, 0]]);
    assert!(found < 0.5 * wanted, "the wrong start gives the variance {found}; the target has {wanted}");
}

#[test]
fn a_sample_does_not_depend_on_those_drawn_with_it() {
    let sde = Sde::default();
    let start = prior(&sde, 10, 2, &mut rng(0));
    for kind in [Sampler::Ddim, Sampler::ProbabilityFlow] {
        let config = SamplerConfig::new(kind, 12);
        let run = |start| sample(&mixture().denoiser(sde), &sde, &config, start, &mut rng(0)).expect("a sampler");
        let alone = run(start.slice(genailab::ndarray::s![3..4, ..]).to_owned());
        assert!(largest(&alone, &run(start.clone()).slice(genailab::ndarray::s![3..4, ..]).to_owned()) < 1e-12);
    }
}

#[test]
fn clipping_bounds_the_samples() {
    let config = SamplerConfig { clip: Some(0.5), ..SamplerConfig::new(Sampler::Ddim, 20) };
    let x = draw(&mixture(), &Sde::default(), &config, 500, 0);
    let largest = x.iter().fold(0.0, |top: f64, v| top.max(v.abs()));
    assert!((largest - 0.5).abs() < 1e-9, "{largest}");
}

/// Notes at which times it is asked.
struct Watch(GaussianMixture, Sde, RefCell<Vec<f64>>);

impl Denoiser for Watch {
    fn dims(&self) -> usize {
        self.0.dims()
    }

    fn noise(&self, x: &Array2<f64>, t: f64) -> Result<Array2<f64>> {
        self.2.borrow_mut().push(t);
        self.0.denoiser(self.1).noise(x, t)
    }
}

#[test]
fn the_network_is_asked_at_the_diffusion_s_own_times() {
    let sde = Sde::Vp(Schedule::cosine());
    for (grid, steps) in
        [(TimeGrid::Uniform, 7), (TimeGrid::Quadratic, 7), (TimeGrid::LogSnr, 7), (TimeGrid::LogSnr, 1)]
    {
        for kind in [Sampler::Ddpm, Sampler::Ddim, Sampler::EulerMaruyama] {
            let watch = Watch(gaussian(), sde, RefCell::default());
            let config = SamplerConfig { grid, ..SamplerConfig::new(kind, steps) };
            let x = sample(&watch, &sde, &config, prior(&sde, 5, 2, &mut rng(0)), &mut rng(0)).expect("a sampler");
            let times = watch.2.borrow();
            assert_eq!(times.len(), steps, "{kind:?} asks once a step");
            assert_eq!(times[0], 1.0);
            assert!(steps == 1 || times[steps - 1] == config.t_min);
            assert!(times.windows(2).all(|pair| pair[1] < pair[0]), "{grid:?}: {times:?}");
            assert!(x.iter().all(|v| v.is_finite()));
        }
    }
}

#[test]
fn one_step_gives_the_mean_of_the_data() {
    let sde = Sde::default();
    let x = draw(&mixture(), &sde, &SamplerConfig::new(Sampler::Ddim, 1), 4000, 0);
    // E[x_0 | noise] is nearly the mean; m(1) = 0.0066 of each start remains.
    let off = (&mean(&x) - &mixture().mean()).mapv(f64::abs);
    assert!(off.iter().all(|v| *v < 0.01) && covariance(&x)[[0, 0]] < 0.01, "{off}, {}", covariance(&x));
}
