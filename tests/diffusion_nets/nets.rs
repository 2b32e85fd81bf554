//! What every network must do: begin at 0, have right gradients, tell runs of rows as it tells rows, and know "no condition".

use genailab::{
    dfdx::prelude::*,
    model::diffusion::net::{
        DitConditioning, DitConfig, GeneTokensConfig, Given, ScoreNet, ScoreNetConfig, Tokenization, sinusoidal,
    },
    ndarray::{Array2, Axis, concatenate},
    nn::{HostTensor, Snapshot, ops},
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const DIMS: usize = 5;
const CONDITION: usize = 3;

pub fn all_kinds() -> Vec<(&'static str, ScoreNetConfig)> {
    let dit = |conditioning| {
        ScoreNetConfig::Dit(DitConfig { group: 2, width: 16, depth: 2, heads: 2, embedding: 16, conditioning })
    };
    let genes =
        |tokens| ScoreNetConfig::GeneTokens(GeneTokensConfig { tokens, width: 16, depth: 2, heads: 2, embedding: 16 });
    vec![
        ("FiLM MLP", ScoreNetConfig::film_mlp(32, 2)),
        ("tabular", ScoreNetConfig::tabular(2)),
        ("DiT", dit(DitConditioning::AdaLn)),
        ("DiT, tokens", dit(DitConditioning::Tokens { count: 3 })),
        ("DiT, cross-attention", dit(DitConditioning::CrossAttention { count: 3 })),
        ("gene patches", genes(Tokenization::Patches { count: 2 })),
        ("gene modules", genes(Tokenization::Modules { count: 2 })),
        ("genes", genes(Tokenization::Genes)),
        ("latents", genes(Tokenization::Latents { count: 3 })),
    ]
}

fn normal(shape: (usize, usize), seed: u64) -> Array2<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Array2::from_shape_simple_fn(shape, || rng.sample(rand_distr::StandardNormal))
}

fn net(config: &ScoreNetConfig, condition: usize) -> ScoreNet<Cpu> {
    ScoreNet::new(&Cpu::default(), DIMS, condition, config, &mut ChaCha8Rng::seed_from_u64(1)).expect("sizes fit")
}

/// Every weight moved off its start, so that nothing hides behind a 0.
fn shaken(config: &ScoreNetConfig, condition: usize) -> ScoreNet<Cpu> {
    let mut net = net(config, condition);
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut moved = Snapshot::default();
    for (name, mut tensor) in Snapshot::of(&net).expect("no failure").into_tensors() {
        // Which genes share a token is no weight.
        if !name.ends_with("group_of") {
            tensor.values.iter_mut().for_each(|v| *v += 0.2 * rng.sample::<f32, _>(rand_distr::StandardNormal));
        }
        moved.insert(name, HostTensor { ..tensor });
    }
    moved.restore(&mut net).expect("the same names");
    net
}

fn answer(net: &ScoreNet<Cpu>, x: &Array2<f32>, given: &Given) -> Array2<f32> {
    ops::download(&net.forward(ops::upload(&Cpu::default(), x).expect("it fits"), given).expect("shapes fit"))
}

fn same(what: &str, a: &Array2<f32>, b: &Array2<f32>, tolerance: f32) {
    let apart = (a - b).mapv(f32::abs).into_iter().fold(0.0, f32::max);
    assert!(apart <= tolerance, "{what}: apart by {apart}");
}

#[test]
fn every_network_begins_at_zero() {
    let (x, c) = (normal((4, DIMS), 0), normal((4, CONDITION), 1));
    for (name, config) in all_kinds() {
        let given = Given::new(&[0.1, 0.2, 0.3, 0.4], Some(&c), &[]).expect("as many of each");
        let y = answer(&net(&config, CONDITION), &x, &given);
        assert!(y.iter().all(|&v| v == 0.0), "{name} does not begin at 0");
        assert!(answer(&shaken(&config, CONDITION), &x, &given).iter().any(|&v| v != 0.0), "{name}: always 0");
    }
}

/// The gradient of x by central differences, in f32 with a step that balances rounding and curvature.
#[test]
fn gradients_of_x_are_those_of_finite_differences() {
    const STEP: f32 = 1e-2;
    let (x, c, up) = (normal((3, DIMS), 3), normal((3, CONDITION), 4), normal((3, DIMS), 5));
    for (name, config) in all_kinds() {
        let net = shaken(&config, CONDITION);
        let given = Given::new(&[0.3, 0.6, 0.9], Some(&c), &[false, true, false]).expect("as many of each");
        let device = Cpu::default();
        let leaf = ops::upload(&device, &x).expect("it fits");
        let y = net.forward(leaf.leaky_trace(), &given).expect("shapes fit");
        let upstream = ops::upload(&device, &up).expect("it fits");
        let gradient = (y * upstream).sum::<Rank0, _>().backward().get(&leaf).as_vec();
        let value = |x: &Array2<f32>| (answer(&net, x, &given) * &up).mapv(f64::from).sum();
        let scale = gradient.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
        for (at, &gradient) in gradient.iter().enumerate() {
            let shifted = |by: f32| {
                let mut x = x.clone();
                x[[at / DIMS, at % DIMS]] += by;
                value(&x)
            };
            let difference = ((shifted(STEP) - shifted(-STEP)) / f64::from(2.0 * STEP)) as f32;
            let apart = (difference - gradient).abs();
            assert!(apart < 0.01 * scale, "{name}, element {at}: {gradient} by the tape, {difference} by differences");
        }
    }
}

/// Rows that share time and condition are embedded once; that must not be seen.
#[test]
fn runs_of_rows_give_what_single_rows_give() {
    let x = normal((6, DIMS), 6);
    let c = concatenate![Axis(0), normal((1, CONDITION), 7), normal((1, CONDITION), 7), normal((4, CONDITION), 8)];
    let t = [0.2, 0.2, 0.2, 0.7, 0.7, 0.7];
    let dropped = [false, false, false, true, true, false];
    for (name, config) in all_kinds() {
        let net = shaken(&config, CONDITION);
        let together = Given::new(&t, Some(&c), &dropped).expect("as many of each");
        assert_eq!(together.runs().len(), 4, "rows 0 and 1, 2, 3 and 4, 5");
        let all = answer(&net, &x, &together);
        for row in 0..6 {
            let only = |values: &Array2<f32>| values.select(Axis(0), &[row]);
            let one = Given::new(&t[row..=row], Some(&only(&c)), &dropped[row..=row]).expect("one of each");
            same(name, &only(&all), &answer(&net, &only(&x), &one), 1e-4);
        }
    }
}

#[test]
fn no_condition_is_a_dropped_one_and_not_a_zero() {
    let (x, c) = (normal((2, DIMS), 9), normal((2, CONDITION), 10));
    let t = [0.5, 0.5];
    let zeros = Array2::zeros((2, CONDITION));
    for (name, config) in all_kinds() {
        let net = shaken(&config, CONDITION);
        let missing = answer(&net, &x, &Given::new(&t, None, &[]).expect("as many"));
        let dropped = answer(&net, &x, &Given::new(&t, Some(&c), &[true, true]).expect("as many"));
        same(name, &missing, &dropped, 0.0);
        let zero = answer(&net, &x, &Given::new(&t, Some(&zeros), &[]).expect("as many"));
        assert!((zero - missing).iter().any(|v| v.abs() > 1e-3), "{name}: a condition of zeros is none");
    }
}

/// Features of t in [0, 1] must differ over the whole range: they would not without the factor 1000.
#[test]
fn neighbouring_times_have_different_features() {
    let features = sinusoidal(&[0.5, 0.51, 0.0], 64);
    let apart = (&features.row(0) - &features.row(1)).mapv(|v| v * v).sum().sqrt();
    assert!(apart > 1.0, "times 0.01 apart are {apart} apart of at most 11");
    assert!(features.row(2).iter().take(32).all(|&v| v == 1.0), "cosines come first");
    // The last frequency is 10000^(-31/32): of t = 0.5 an angle of 500 times it.
    let slowest = (500.0 * 10_000_f64.powf(-31.0 / 32.0)).sin() as f32;
    assert!((features[[0, 63]] - slowest).abs() < 1e-6);
}
