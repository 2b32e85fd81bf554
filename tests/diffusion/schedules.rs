//! Rates, their integrals and the moments they make, against quadrature, differential equations and simulation.

use super::common::{VE, diffusions, reference, rng};
use genailab::model::diffusion::{Schedule, Sde};
use rand::Rng;
use rand_distr::StandardNormal;

fn schedules() -> [(&'static str, Schedule); 4] {
    [
        ("linear", Schedule::linear()),
        ("quadratic", Schedule::quadratic()),
        ("cosine", Schedule::cosine()),
        ("sigmoid", Schedule::sigmoid()),
    ]
}

/// Relative, for numbers of any size.
fn close(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance * b.abs().max(1e-12)
}

#[test]
fn alpha_bar_is_exp_of_minus_the_integral() {
    let known = reference();
    for (name, schedule) in schedules() {
        let rates = &known.schedules.rates[name];
        for (i, &t) in known.times.iter().enumerate() {
            assert!(close(schedule.beta(t), rates.beta[i], 1e-9), "{name} beta({t}) = {}", schedule.beta(t));
            // The quadrature of the clipped cosine is exact to 1e-6: its kink is known to that many digits.
            let (area, wanted) = (schedule.integral(t), rates.integral[i]);
            assert!(close(area, wanted, 2e-7), "{name} integral({t}) = {area}, by quadrature {wanted}");
            assert!(close(schedule.alpha_bar(t), rates.alpha_bar[i], 2e-6), "{name} alpha_bar({t})");
            // Not its root, which the drift -beta x / 2 would contradict.
            let sde = Sde::Vp(schedule);
            assert!(close(sde.mean(t), (-0.5 * wanted).exp(), 2e-6), "{name} mean({t})");
            assert!(close(sde.alpha_bar(t), rates.alpha_bar[i], 2e-6));
        }
        assert!(schedule.alpha_bar(1.0) < 2e-4, "{name} ends at {}, which is not noise", schedule.alpha_bar(1.0));
        schedule.validate().expect("the default");
    }
}

#[test]
fn the_cosine_is_that_of_improved_ddpm_until_it_is_clipped() {
    let betas = Schedule::cosine().discrete_betas(1000);
    for (i, (found, wanted)) in betas.iter().zip(&reference().schedules.cosine_discrete).enumerate() {
        assert!(close(*found, *wanted, 1e-8), "step {i}: {found} for {wanted}");
    }
}

#[test]
fn moments_solve_the_equations_of_the_diffusion() {
    let known = reference();
    for (name, sde) in [
        ("vp", Sde::Vp(Schedule::linear())),
        ("sub_vp", Sde::SubVp(Schedule::linear())),
        ("ve", Sde::Ve { sigma_min: 0.01, sigma_max: 50.0 }),
    ] {
        let moments = &known.moments[name];
        for (i, &t) in known.times.iter().enumerate() {
            assert!(close(sde.mean(t), moments.mean[i], 1e-8), "{name} mean({t})");
            assert!(close(sde.std(t), moments.std[i], 1e-6), "{name} std({t}) = {} for {}", sde.std(t), moments.std[i]);
        }
    }
}

#[test]
fn drift_and_diffusion_are_the_derivatives_of_mean_and_variance() {
    // Also of VE: g^2 = d sigma^2 / dt = 2 sigma^2 ln(sigma_max / sigma_min).
    let h = 1e-5;
    for (name, sde) in diffusions() {
        for t in [0.1, 0.4, 0.7, 0.95] {
            let slope = |of: &dyn Fn(f64) -> f64| (of(t + h) - of(t - h)) / (2.0 * h);
            let drift = slope(&|t| sde.mean(t).ln());
            assert!((drift - sde.drift(t)).abs() < 1e-5 * (1.0 + drift.abs()), "{name} drift({t})");
            let g_squared = slope(&|t| sde.std(t).powi(2)) - 2.0 * sde.drift(t) * sde.std(t).powi(2);
            let found = sde.diffusion_squared(t);
            assert!((g_squared - found).abs() < 1e-5 * (1.0 + found), "{name} g^2({t}) = {found} for {g_squared}");
            assert!(close(sde.log_snr(t), (sde.mean(t) / sde.std(t)).powi(2).ln(), 1e-9), "{name} log SNR({t})");
            assert!((sde.time_of_log_snr(sde.log_snr(t), 1e-6) - t).abs() < 1e-9, "{name} time of log SNR");
        }
    }
}

#[test]
fn marginals_are_those_of_simulated_paths() {
    const PATHS: usize = 100_000;
    const STEPS: usize = 400;
    const START: f64 = 1.5;
    // Not the cosine, whose last steps would have to be much shorter.
    let linear = Schedule::linear();
    for (name, sde) in [("VP", Sde::Vp(linear)), ("sub-VP", Sde::SubVp(linear)), ("VE", VE)] {
        let mut rng = rng(1);
        // VE has the noise sigma_min at time 0.
        let mut paths: Vec<f64> =
            (0..PATHS).map(|_| START * sde.mean(0.0) + sde.std(0.0) * rng.sample::<f64, _>(StandardNormal)).collect();
        let h = 1.0 / STEPS as f64;
        for i in 0..STEPS {
            // Coefficients from the middle of the step: the error of the moments is then of order h^2.
            let t = (i as f64 + 0.5) * h;
            let (f, g) = (sde.drift(t), (sde.diffusion_squared(t) * h).sqrt());
            paths.iter_mut().for_each(|x| *x += f * *x * h + g * rng.sample::<f64, _>(StandardNormal));
            let now = (i + 1) as f64 * h;
            if (i + 1) % (STEPS / 4) == 0 {
                let mean = paths.iter().sum::<f64>() / PATHS as f64;
                let std = (paths.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / PATHS as f64).sqrt();
                // Standard errors std / sqrt n and std / sqrt(2 n); four of them, and 1 % of the steps' own error.
                let (m, s) = (START * sde.mean(now), sde.std(now));
                let allowed = 4.0 * s / (PATHS as f64).sqrt() + 0.005;
                assert!((mean - m).abs() < allowed, "{name} at {now}: the mean {mean:.4}, and {m:.4} in closed form");
                let allowed = 4.0 * s / (2.0 * PATHS as f64).sqrt() + 0.01 * s;
                assert!((std - s).abs() < allowed, "{name} at {now}: std {std:.4}, and {s:.4} in closed form");
            }
        }
    }
}

#[test]
fn settings_survive_a_file_and_have_defaults() {
    for (_, sde) in diffusions() {
        let text = serde_json::to_string(&sde).expect("serialises");
        assert_eq!(serde_json::from_str::<Sde>(&text).expect("reads"), sde, "{text}");
    }
    let cosine: Schedule = serde_json::from_str(r#"{"kind": "cosine"}"#).expect("defaults");
    assert_eq!(cosine, Schedule::cosine());
    assert!(serde_json::from_str::<Schedule>(r#"{"kind": "cosine", "beta": 3}"#).is_err(), "a misspelt setting");
}
