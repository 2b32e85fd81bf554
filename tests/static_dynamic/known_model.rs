//! A linear-Gaussian course model, whose conditional distributions are known.
//!
//! `x_0 ~ N(0, 1)`, `x_{k+1} = a x_k + b d + s e_k` for k = 0, 1, 2: given `x_0` the end is Gaussian, and given both ends the middle is.

use genailab::{
    dfdx::prelude::Cpu,
    model::static_dynamic::{
        Integrator, Packed, SequenceFlowConfig, SequenceSet, Shown, TokenSequence, VelocityNet, noise,
    },
    ndarray::{Array1, Array2, s},
    nn::seeded,
    train::{LearningRateSchedule, Run, TrainConfig, fit},
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

const A: f32 = 0.7;
const B: f32 = 1.0;
const S: f32 = 0.4;

fn course(number: usize, rng: &mut ChaCha8Rng) -> TokenSequence {
    let dose = f32::from(number.is_multiple_of(2));
    let mut latents = Array2::zeros((4, 1));
    latents[[0, 0]] = rng.sample(StandardNormal);
    for k in 0..3 {
        latents[[k + 1, 0]] = A * latents[[k, 0]] + B * dose + S * rng.sample::<f32, _>(StandardNormal);
    }
    let doses = Array2::from_shape_fn((4, 1), |(k, _)| if k == 0 { 0.0 } else { dose });
    TokenSequence { name: "A".to_owned(), latents, times: (0..4).map(|k| Some(k as f32 / 3.0)).collect(), doses }
}

/// Mean and standard deviation of one token over draws.
fn drawn(net: &VelocityNet<Cpu>, tokens: &TokenSequence, shown: Shown, place: usize) -> (f32, f32) {
    const DRAWS: usize = 1_500;
    let len = shown.tokens.len();
    let packed = Packed::of(&vec![(tokens, shown); DRAWS]);
    let x = net.draw(&packed, &noise((DRAWS * len, 1), &mut seeded(3)), (Integrator::Heun, 10)).expect("draws");
    let values: Array1<f32> = x.slice(s![place..;len, 0]).to_owned();
    assert_eq!(values.len(), DRAWS);
    (values.mean().expect("draws"), values.std(0.0))
}

#[test]
fn draws_have_the_conditional_mean_and_spread_of_a_linear_gaussian_model() {
    let mut rng = seeded(1);
    let sequences = (0..2_000).map(|number| course(number, &mut rng).into()).collect();
    let config = SequenceFlowConfig { width: 32, depth: 2, heads: 2, ..SequenceFlowConfig::default() };
    let mut net = VelocityNet::new(&Cpu::default(), (1, 1), &config, &mut rng).expect("sizes fit");
    let train = TrainConfig {
        epochs: 50,
        batch_size: 64,
        learning_rate: 4e-3,
        schedule: LearningRateSchedule::WarmupCosine { warmup_steps: 20, final_fraction: 0.01 },
        ..TrainConfig::default()
    };
    let set = SequenceSet { sequences, repeats: 1 };
    fit(&mut net, &set, None, &Cpu::default(), &train, &mut Run::quiet(0)).expect("it trains");

    let mut asked = course(0, &mut rng);
    asked.latents[[0, 0]] = 1.0;
    // Continuation: a^3 x_0 + b (1 + a + a^2), with variance s^2 (1 + a^2 + a^4).
    let (mean, spread) = drawn(&net, &asked, Shown::first(4, 1), 3);
    let expected = (A.powi(3) + B * (1.0 + A + A * A), S * (1.0 + A.powi(2) + A.powi(4)).sqrt());
    println!("continuation: {mean:.3} +- {spread:.3}, expected {:.3} +- {:.3}", expected.0, expected.1);
    assert!((mean - expected.0).abs() < 0.12 && (spread / expected.1 - 1.0).abs() < 0.2);
    // Without the perturbation the course decays to 0.
    let mut off = asked.clone();
    off.doses.fill(0.0);
    let (mean, _) = drawn(&net, &off, Shown::first(4, 1), 3);
    assert!((mean - A.powi(3)).abs() < 0.15, "{mean}");
    // Filling in x_1 between x_0 and x_2: precision 1/s^2 from before and a^2/s^2 from behind.
    asked.latents[[2, 0]] = 3.0;
    let shown = Shown { tokens: vec![0, 1, 2], given: vec![true, false, true] };
    let (mean, spread) = drawn(&net, &asked, shown, 1);
    let before = A + B;
    let precision = 1.0 + A * A;
    let expected = ((before + A * (3.0 - B)) / precision, S / precision.sqrt());
    println!("filling in: {mean:.3} +- {spread:.3}, expected {:.3} +- {:.3}", expected.0, expected.1);
    // What stands before alone would give 1.7.
    assert!((mean - expected.0).abs() < 0.25 && (spread / expected.1 - 1.0).abs() < 0.3);
    // From nothing: x_0 has mean 0 and variance 1 whatever comes later.
    let (mean, spread) = drawn(&net, &asked, Shown::first(4, 0), 0);
    println!("from nothing: {mean:.3} +- {spread:.3}");
    assert!(mean.abs() < 0.15 && (spread - 1.0).abs() < 0.2);
}
