//! Log densities by the probability flow against the closed form, in nats.

use super::common::{VE, gaussian, largest, mixture, rng};
use genailab::{
    model::diffusion::{
        Denoiser, Divergence, GaussianMixture, OdeConfig, ProbabilityFlow, Schedule, Sde, Velocity, hutchinson,
        log_likelihood,
    },
    ndarray::Array1,
};

/// The noise at time 1 is not exactly the prior: under the default schedule the mean of the data keeps 0.0066 of itself, and under VE
/// it stands beside a noise of 20, which moves the log density at single points by some hundredths of a nat. With a rate up to 30
/// it keeps 0.0005, and a noise of 500 hides it.
fn reaching_noise() -> [(&'static str, Sde); 3] {
    let schedule = Schedule::Linear { beta_min: 0.1, beta_max: 30.0 };
    [("VP", Sde::Vp(schedule)), ("sub-VP", Sde::SubVp(schedule)), ("VE", Sde::Ve { sigma_min: 0.01, sigma_max: 500.0 })]
}

fn apart(a: &Array1<f64>, b: &Array1<f64>) -> f64 {
    (a - b).mapv(f64::abs).iter().copied().fold(0.0, f64::max)
}

fn targets() -> [(&'static str, GaussianMixture); 2] {
    [("Gaussian", gaussian()), ("mixture", mixture())]
}

#[test]
fn the_log_likelihood_is_the_closed_form_to_a_hundredth_of_a_nat() {
    for (target_name, target) in targets() {
        let x = target.sample(60, &mut rng(0)).0;
        let exact = target.log_density(&x).expect("fits");
        for (name, sde) in reaching_noise() {
            let denoiser = target.denoiser(sde);
            let flow = ProbabilityFlow::new(&denoiser, sde).expect("a diffusion");
            let found = flow.log_likelihood(&x, Divergence::Exact, &OdeConfig::adaptive(1e-6)).expect("solved");
            let off = apart(&found.log_density, &exact);
            assert!(off < 1e-2, "{target_name}, {name}: off by up to {off} nats");
            assert!(found.steps < 500, "{target_name}, {name}: {} steps", found.steps);
        }
        // With the defaults, the mean over samples is exact to the divergence of the noise from the prior.
        for sde in [Sde::default(), Sde::Vp(Schedule::cosine()), Sde::SubVp(Schedule::default()), VE] {
            let denoiser = target.denoiser(sde);
            let flow = ProbabilityFlow::new(&denoiser, sde).expect("a diffusion");
            let found = flow.log_likelihood(&x, Divergence::Exact, &OdeConfig::default()).expect("solved");
            let off = (found.log_density.mean().expect("rows") - exact.mean().expect("rows")).abs();
            assert!(off < 1e-2, "{target_name}, {sde:?}: the mean is off by {off} nats");
        }
    }
}

#[test]
fn with_the_exact_density_at_the_end_only_the_solver_s_error_is_left() {
    for (name, sde) in reaching_noise() {
        let target = mixture();
        let x = target.sample(40, &mut rng(1)).0;
        let denoiser = target.denoiser(sde);
        let flow = ProbabilityFlow::new(&denoiser, sde).expect("a diffusion");
        let end = |x: &_| target.log_density_at(x, &sde, 0.7).expect("fits");
        let found =
            log_likelihood(&flow, &x, 0.2, 0.7, &end, Divergence::Exact, &OdeConfig::adaptive(1e-8)).expect("solved");
        let off = apart(&found.log_density, &target.log_density_at(&x, &sde, 0.2).expect("fits"));
        assert!(off < 1e-5, "{name}: off by {off} nats between two times");
    }
}

#[test]
fn random_probes_estimate_the_divergence_without_bias() {
    let sde = Sde::default();
    let denoiser = mixture().denoiser(sde);
    let flow = ProbabilityFlow::new(&denoiser, sde).expect("a diffusion");
    let x = mixture().sample(30, &mut rng(2)).0;
    let exact = flow.divergence(&x, 0.3).expect("fits");
    // In two dimensions z'Jz is the trace plus or minus the two other entries: 4000 probes leave 1.6 % of them.
    let estimate = hutchinson(&flow, &x, 0.3, 4000, 0).expect("fits");
    let one = hutchinson(&flow, &x, 0.3, 1, 0).expect("fits");
    let (many, single) = (apart(&estimate, &exact), apart(&one, &exact));
    assert!(many < 0.1 * single && single > 0.0, "4000 probes are off by {many}, one by {single}");
    assert_eq!(one, hutchinson(&flow, &x, 0.3, 1, 0).expect("fits"), "one seed, one estimate");

    let config = OdeConfig::adaptive(1e-5);
    let divergence = Divergence::Hutchinson { probes: 200, seed: 3 };
    let estimate = flow.log_likelihood(&x, divergence, &config).expect("solved").log_density;
    let exact = flow.log_likelihood(&x, Divergence::Exact, &config).expect("solved").log_density;
    let off = (estimate - exact).mean().expect("rows").abs();
    assert!(off < 0.05, "200 probes: the mean is off by {off} nats");
}

#[test]
fn encoding_and_decoding_return_the_start() {
    for (name, sde) in reaching_noise() {
        let target = mixture();
        let x = target.sample(50, &mut rng(3)).0;
        let denoiser = target.denoiser(sde);
        let flow = ProbabilityFlow::new(&denoiser, sde).expect("a diffusion");
        let config = OdeConfig::adaptive(1e-8);
        let noise = flow.encode(&x, &config).expect("solved").x;
        assert!(largest(&noise, &x) > 0.5, "{name}: the noise is something else");
        let back = flow.decode(&noise, &config).expect("solved").x;
        assert!(largest(&back, &x) < 1e-4, "{name}: off by {}", largest(&back, &x));
        // The noise of many samples is the prior: the encoding is not only invertible.
        let x = target.sample(4000, &mut rng(4)).0;
        let noise = flow.encode(&x, &OdeConfig::adaptive(1e-4)).expect("solved").x / sde.prior_std();
        let variance = noise.iter().map(|v| v * v).sum::<f64>() / noise.len() as f64;
        assert!((variance - 1.0).abs() < 0.06, "{name}: the encoded noise has the variance {variance}");
        assert_eq!(denoiser.dims(), flow.dims());
    }
}
