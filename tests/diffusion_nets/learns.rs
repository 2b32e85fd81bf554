//! Every network learns a mixture that nobody could mistake for noise, with every kind of diffusion.

use super::toys::*;
use genailab::model::diffusion::{
    Diffusion, DiffusionConfig, Divergence, LossWeight, Parameterization, SampleConfig, Sampler, Schedule, Sde,
    net::{DitConditioning, DitConfig, ScoreNetConfig, TabularConfig},
};

/// Samples of the mixture that no model has seen, and how far apart two such sets are.
fn truth() -> (genailab::ndarray::Array2<f32>, f64) {
    let (a, b) = (mixture(1000, 2).0, mixture(1000, 3).0);
    let halves = apart(&a, &b);
    (a, halves)
}

fn distance(model: &Diffusion, how: &SampleConfig) -> f64 {
    apart(&model.sample(1000, None, how, 4).expect("it is trained"), &truth().0)
}

#[test]
fn each_network_learns_a_mixture() {
    let dit =
        DitConfig { group: 1, width: 32, depth: 2, heads: 2, embedding: 32, conditioning: DitConditioning::AdaLn };
    let tabular = TabularConfig { group: 1, width: 32, depth: 2, heads: 2, embedding: 32 };
    let how = SampleConfig::ddim(40);
    for net in [small(), ScoreNetConfig::Tabular(tabular), ScoreNetConfig::Dit(dit)] {
        let config = DiffusionConfig { net, ..DiffusionConfig::default() };
        let untrained = {
            // One step with a rate of almost nothing: the network is still at 0.
            let (x, _) = mixture(256, 1);
            let mut model = Diffusion::new(2, 0, &config, 0, Default::default()).expect("it fits");
            let train = genailab::train::TrainConfig { learning_rate: 1e-12, ..short(1) };
            model.fit(&x, None, None, &train, &mut silent()).expect("it trains");
            distance(&model, &how)
        };
        // A block that starts switched off takes its time.
        let epochs = if matches!(net, ScoreNetConfig::Dit(_)) { 120 } else { 60 };
        let trained = distance(&diffusion(&config, false, epochs), &how);
        println!("{}: {untrained:.4} untrained, {trained:.4} trained, {:.4} two halves", net.name(), truth().1);
        assert!(trained < 0.25 * untrained, "{}: {trained} after training, {untrained} before", net.name());
        assert!(trained < 0.04, "{}: {trained}, where two halves of the truth are {} apart", net.name(), truth().1);
    }
}

#[test]
fn each_diffusion_and_parameterisation_learns_it() {
    let cosine = Sde::Vp(Schedule::cosine());
    let ve = Sde::Ve { sigma_min: 0.01, sigma_max: 10.0 };
    let cases = [
        (Sde::default(), Parameterization::Epsilon, LossWeight::Uniform),
        (cosine, Parameterization::V, LossWeight::MinSnr { gamma: 5.0 }),
        (cosine, Parameterization::X0, LossWeight::MinSnr { gamma: 5.0 }),
        (Sde::SubVp(Schedule::linear()), Parameterization::V, LossWeight::Uniform),
        (ve, Parameterization::Epsilon, LossWeight::Uniform),
        (ve, Parameterization::Score, LossWeight::Variance),
    ];
    for (sde, parameterization, weight) in cases {
        let config = DiffusionConfig { sde, parameterization, weight, net: small(), ..DiffusionConfig::default() };
        let apart = distance(&diffusion(&config, false, 50), &SampleConfig::ddim(50));
        println!("{sde:?} {parameterization:?}: {apart:.4}");
        assert!(apart < 0.05, "{sde:?} with {parameterization:?}: {apart}");
    }
}

#[test]
fn each_sampler_draws_from_it() {
    let model = diffusion(&DiffusionConfig { net: small(), ..DiffusionConfig::default() }, false, 50);
    for (kind, steps) in [
        (Sampler::Ddpm, 100),
        (Sampler::Ddim, 25),
        (Sampler::EulerMaruyama, 200),
        (Sampler::PredictorCorrector, 100),
        (Sampler::ProbabilityFlow, 40),
    ] {
        let apart = distance(&model, &SampleConfig::new(kind, steps));
        println!("{kind:?}: {apart:.4}");
        assert!(apart < 0.05, "{kind:?}: {apart}");
    }
}

#[test]
fn noise_and_data_go_into_each_other() {
    let model = diffusion(&DiffusionConfig { net: small(), ..DiffusionConfig::default() }, false, 60);
    let (x, _) = mixture(200, 5);
    let noise = model.encode(&x, None, 100).expect("it is trained");
    let (mean, std) = moments(&noise);
    assert!(mean.iter().all(|m| m.abs() < 0.25) && std.iter().all(|s| (s - 1.0).abs() < 0.2), "{mean:?} {std:?}");
    let back = model.decode(&noise, None, 100).expect("it is trained");
    let worst = (&back - &x).mapv(f32::abs).into_iter().fold(0.0, f32::max);
    assert!(worst < 0.1, "there and back is off by {worst}");
}

/// The mean log density of new data is at most the entropy's negative, and near it for a model that has learned them; in the
/// units of the data, so that data ten times as wide have 2 ln 10 nats less.
#[test]
fn log_likelihoods_are_those_of_the_mixture() {
    let model = diffusion(&DiffusionConfig { net: small(), ..DiffusionConfig::default() }, false, 80);
    let (x, _) = mixture(400, 6);
    let density = model.log_likelihood(&x, None, Divergence::Exact, 60).expect("it is trained");
    let exact = x.rows().into_iter().map(|row| {
        let components = CENTRES.iter().map(|centre| {
            let square = (row[0] - centre[0]).powi(2) + (row[1] - centre[1]).powi(2);
            f64::from((-0.5 * square / SPREAD.powi(2)).exp() / (2.0 * std::f32::consts::PI * SPREAD.powi(2)) / 4.0)
        });
        components.sum::<f64>().ln()
    });
    let exact = exact.sum::<f64>() / 400.0;
    let mean = density.mean().expect("rows");
    println!("log density {mean:.3}, of the mixture {exact:.3}");
    assert!((mean - exact).abs() < 0.15, "{mean} nats, where the mixture has {exact}");

    let wide = (mixture(2000, 1).0) * 10.0;
    let mut other = Diffusion::new(2, 0, model.config(), 0, Default::default()).expect("it fits");
    other.fit(&wide, None, None, &short(80), &mut silent()).expect("it trains");
    let of_wide = other.log_likelihood(&(&x * 10.0), None, Divergence::Exact, 60).expect("it is trained");
    let apart = mean - of_wide.mean().expect("rows");
    assert!((apart - 2.0 * 10_f64.ln()).abs() < 0.02, "{apart} nats apart, not 2 ln 10");
}

#[test]
fn the_same_seed_gives_the_same_samples_with_any_number_of_threads() {
    let model = diffusion(&DiffusionConfig { net: small(), ..DiffusionConfig::default() }, false, 2);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started");
        pool.install(|| model.sample(700, None, &SampleConfig::new(Sampler::Ddpm, 5), 9).expect("it is trained"))
    };
    assert_eq!(run(1), run(4));
    assert_ne!(run(1), model.sample(700, None, &SampleConfig::new(Sampler::Ddpm, 5), 10).expect("it is trained"));
}
