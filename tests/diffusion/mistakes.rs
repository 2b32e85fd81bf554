//! Bad input: one clear line each.

use super::common::{mixture, rng};
use genailab::{
    Error, Result,
    model::{
        diffusion::{
            Denoiser, Divergence, GaussianMixture, Guided, LossWeight, OdeConfig, Parameterization, ProbabilityFlow,
            Sampler, SamplerConfig, Schedule, Sde, Solver, Velocity, hutchinson, integrate, prior, sample,
        },
        flow::{FlowPath, MixtureVelocity, Pairing, assignment},
    },
    ndarray::{Array2, array},
};

fn says<T>(result: Result<T>, parts: &[&str]) {
    let message = result.err().expect("this is a mistake").to_string();
    assert!(!message.contains('\n'), "one line: {message}");
    for part in parts {
        assert!(message.contains(part), "'{part}' is not in: {message}");
    }
}

/// A network that breaks at times before 0.5.
struct Broken;

impl Denoiser for Broken {
    fn dims(&self) -> usize {
        2
    }

    fn noise(&self, x: &Array2<f64>, t: f64) -> Result<Array2<f64>> {
        Ok(if t < 0.5 { x * f64::NAN } else { x.clone() })
    }
}

#[test]
fn samplers_name_the_setting_and_the_step() {
    let sde = Sde::default();
    let denoiser = mixture().denoiser(sde);
    let base = SamplerConfig::new(Sampler::Ddim, 11);
    let run = |config: SamplerConfig| sample(&denoiser, &sde, &config, prior(&sde, 3, 2, &mut rng(0)), &mut rng(0));
    says(run(SamplerConfig { steps: 0, ..base }), &["steps is 0"]);
    says(run(SamplerConfig { eta: -0.5, ..base }), &["eta is -0.5", "between 0"]);
    says(run(SamplerConfig { eta: f64::NAN, ..base }), &["eta is NaN"]);
    says(run(SamplerConfig { t_min: 0.0, ..base }), &["times go from 1 to 0"]);
    says(run(SamplerConfig { t_max: 1.5, ..base }), &["times go from 1.5"]);
    says(run(SamplerConfig { corrector_snr: 0.0, ..base }), &["corrector_snr is 0"]);
    says(run(SamplerConfig { kind: Sampler::Langevin, corrector_steps: 0, ..base }), &["corrector_steps is 0"]);
    says(
        run(SamplerConfig { kind: Sampler::ProbabilityFlow, solver: Solver::DormandPrince, ..base }),
        &["chooses its own times", "heun"],
    );
    says(run(SamplerConfig { clip: Some(-1.0), ..base }), &["clip is -1"]);
    assert!(
        serde_json::from_str::<SamplerConfig>(r#"{"steps": -3}"#).is_err(),
        "a negative number of steps is no setting"
    );
    for kind in [
        Sampler::Ddpm,
        Sampler::Ddim,
        Sampler::EulerMaruyama,
        Sampler::PredictorCorrector,
        Sampler::Langevin,
        Sampler::ProbabilityFlow,
    ] {
        let config = SamplerConfig::new(kind, 11);
        let broken = sample(&Broken, &sde, &config, prior(&sde, 3, 2, &mut rng(0)), &mut rng(0));
        // The grid has the times 1, 0.9, ...; the seventh is the first below 0.5.
        says(broken, &["predicted noise at step 7 of 11", "t = 0.4", "row 0, dimension 0", "not a finite number"]);
    }
    says(sample(&denoiser, &sde, &base, Array2::zeros((3, 5)), &mut rng(0)), &["(3, 5)", "2"]);
    says(
        sample(&denoiser, &sde, &base, array![[0.0, f64::INFINITY]], &mut rng(0)),
        &["samples it starts from", "row 0, dimension 1"],
    );
}

#[test]
fn solvers_and_likelihoods_name_the_time() {
    let sde = Sde::default();
    let denoiser = mixture().denoiser(sde);
    let flow = ProbabilityFlow::new(&denoiser, sde).expect("a diffusion");
    let x = mixture().sample(4, &mut rng(0)).0;
    says(integrate(&flow, x.clone(), 0.1, 1.0, &OdeConfig::fixed(Solver::Rk4, 0)), &["steps is 0"]);
    says(integrate(&flow, x.clone(), 0.1, 1.0, &OdeConfig::adaptive(-1.0)), &["rtol is -1"]);
    says(integrate(&flow, x.clone(), 0.1, f64::NAN, &OdeConfig::default()), &["times 0.1 and NaN"]);
    let short = OdeConfig { max_steps: 3, ..OdeConfig::adaptive(1e-9) };
    says(integrate(&flow, x.clone(), 0.1, 1.0, &short), &["3 steps were not enough", "max_steps"]);
    says(flow.ending_at(0.0), &["earliest time is 0"]);
    says(hutchinson(&flow, &x, 0.5, 0, 0), &["probes is 0"]);
    says(
        flow.log_likelihood(&Array2::zeros((2, 3)), Divergence::Exact, &OdeConfig::default()),
        &["likelihood", "(2, 3)"],
    );
    let broken = ProbabilityFlow::new(&Broken, sde).expect("a diffusion");
    says(
        integrate(&broken, x, 1.0, 0.1, &OdeConfig::fixed(Solver::Heun, 9)),
        &["velocity at step 6", "t = 0.4", "not a finite number"],
    );
}

#[test]
fn settings_that_make_no_model_are_refused() {
    let none = |sde: Sde| -> Result<(), Error> { sde.validate() };
    says(none(Sde::Vp(Schedule::Linear { beta_min: 0.0, beta_max: 20.0 })), &["rates are 0 to 20"]);
    says(none(Sde::Vp(Schedule::Quadratic { beta_min: 3.0, beta_max: 2.0 })), &["rates are 3 to 2"]);
    says(none(Sde::Vp(Schedule::Cosine { s: 0.0, beta_max: 100.0 })), &["offset s is 0"]);
    says(none(Sde::Vp(Schedule::Cosine { s: 0.008, beta_max: 0.01 })), &["beta_max is 0.01"]);
    says(none(Sde::SubVp(Schedule::Sigmoid { steepness: -1.0 })), &["steepness is -1"]);
    says(none(Sde::Ve { sigma_min: 1.0, sigma_max: 0.5 }), &["from 1 to 0.5"]);
    says(LossWeight::MinSnr { gamma: 0.0 }.validate(), &["gamma is 0"]);
    let x = array![[0.0, 1.0]];
    says(Parameterization::Score.to_epsilon(&x, &x, 0.0, &Sde::default()), &["no noise at time 0"]);

    let sde = Sde::default();
    let (two, one) = (
        mixture().denoiser(sde),
        GaussianMixture::round(&[1.0], &array![[0.0]], 1.0).expect("a Gaussian").denoiser(sde),
    );
    says(Guided::denoiser(&two, &one, 1.0).map(|g| g.dims()), &["guidance", "2", "1"]);
    says(Guided::denoiser(&two, &two, -2.0).map(|g| g.dims()), &["guidance scale is -2"]);
    let velocity = MixtureVelocity::new(mixture(), FlowPath::Linear);
    says(Guided::velocity(&velocity, &velocity, f64::NAN).map(|g| Velocity::dims(&g)), &["guidance scale is NaN"]);

    says(GaussianMixture::new(&[1.0], &[], &[]), &["1 weights, 0 means"]);
    says(GaussianMixture::round(&[-1.0], &array![[0.0]], 1.0), &["weight of component 0 is -1"]);
    says(GaussianMixture::new(&[1.0], &[array![0.0, 0.0]], &[array![[1.0, 2.0], [2.0, 1.0]]]), &["positive definite"]);
}

#[test]
fn pairs_that_cannot_be_made_are_refused() {
    let (few, many) = (mixture().sample(5, &mut rng(0)).0, mixture().sample(9, &mut rng(0)).0);
    says(Pairing::OptimalTransport.pair(&few, &many, &mut rng(0)), &["pairing", "(5, 2)", "(9, 2)"]);
    says(Pairing::Sinkhorn { epsilon: 0.0 }.pair(&few, &few, &mut rng(0)), &["epsilon is 0"]);
    let crowd = Array2::zeros((2000, 1));
    says(Pairing::OptimalTransport.pair(&crowd, &crowd, &mut rng(0)), &["2000 samples", "sinkhorn"]);
    says(assignment(&array![[1.0], [2.0]]), &["assignment"]);
    says(assignment(&array![[f64::NAN]]), &["not a finite number"]);
    says(FlowPath::Linear.point(&few, &many, 0.5), &["(5, 2)", "(9, 2)"]);
}
