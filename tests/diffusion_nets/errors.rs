//! Bad input: one clear line each.

use super::toys::*;
use genailab::{
    ErrorKind,
    device::Device,
    model::diffusion::Solver,
    model::{
        diffusion::{
            Diffusion, DiffusionConfig, SampleConfig, Sampler,
            net::{DitConfig, ScoreNetConfig},
        },
        flow::{Flow, FlowConfig, TransportConfig},
    },
    ndarray::Array2,
};

#[track_caller]
fn says<T>(result: genailab::Result<T>, parts: &[&str]) {
    let Err(error) = result else { panic!("it must fail") };
    let message = error.to_string();
    assert!(!message.contains('\n'), "more than a line: {message}");
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

fn config() -> DiffusionConfig {
    DiffusionConfig { net: small(), ..DiffusionConfig::default() }
}

fn new(dims: usize, condition: usize) -> Diffusion {
    Diffusion::new(dims, condition, &config(), 0, Device::Cpu).expect("it fits")
}

fn fit(model: &mut Diffusion, x: &Array2<f32>, condition: Option<&Array2<f32>>) -> genailab::Result<()> {
    model.fit(x, condition, None, &short(1), &mut silent()).map(|_| ())
}

#[test]
fn rows_that_cannot_be_learned() {
    let (good, labels) = mixture(300, 1);
    let mut nan = good.clone();
    nan[[17, 1]] = f32::NAN;
    says(fit(&mut new(2, 0), &nan, None), &["x holds NaN at row 17, column 1"]);
    let collapsed = Array2::from_elem((300, 2), 0.1_f32);
    says(fit(&mut new(2, 0), &collapsed, None), &["all 2 dimensions", "the latent has collapsed"]);
    let mut half = good.clone();
    half.column_mut(1).fill(0.3);
    says(fit(&mut new(2, 0), &half, None), &["dimension 1 of x never varies"]);
    says(fit(&mut new(3, 0), &good, None), &["x has 2 columns", "made for 3"]);
    says(fit(&mut new(2, 0), &good, Some(&labels)), &["unconditional", "leave the condition out"]);
    says(fit(&mut new(2, 4), &good, None), &["conditional", "4 columns"]);
    says(fit(&mut new(2, 3), &good, Some(&labels)), &["the condition has 4 columns", "made for 3"]);
    says(fit(&mut new(2, 4), &good, Some(&mixture(299, 1).1)), &["the condition has 299 rows", "300"]);
    says(fit(&mut new(2, 0), &Array2::zeros((0, 2)), None), &["x has no rows"]);
    // A condition that never varies says nothing, and is no mistake.
    fit(&mut new(2, 1), &good, Some(&Array2::zeros((300, 1)))).expect("the condition is only centred");
}

#[test]
fn samples_that_cannot_be_drawn() {
    says(new(2, 0).sample(5, None, &SampleConfig::default(), 0), &["not trained", "fit"]);
    says(new(2, 0).save(std::path::Path::new("nowhere")), &["not trained"]);
    let mut model = new(2, 0);
    fit(&mut model, &mixture(300, 1).0, None).expect("it trains");
    let how = SampleConfig::ddim(5);
    says(model.sample(5, None, &how.guided(2.0), 0), &["guidance 2 on an unconditional model"]);
    says(model.sample(5, None, &how.guided(f64::NAN), 0), &["guidance scale is NaN"]);
    says(model.sample(5, None, &SampleConfig::ddim(0), 0), &["the number of steps is 0"]);
    says(model.sample(0, None, &how, 0), &["no rows are asked for"]);
    says(model.sample(5, Some(&label(0)), &how, 0), &["unconditional"]);
    says(model.encode(&Array2::zeros((3, 4)), None, 5), &["x has 4 columns", "trained on 2"]);
    says(model.encode(&mixture(3, 1).0, None, 0), &["the number of steps is 0"]);
    says(model.decode(&Array2::zeros((3, 4)), None, 5), &["fit together"]);
    says(model.decode(&Array2::from_elem((3, 2), f32::NAN), None, 5), &["row 0, dimension 0"]);

    let mut model = new(2, 4);
    let (x, labels) = mixture(300, 1);
    fit(&mut model, &x, Some(&labels)).expect("it trains");
    says(model.sample(5, None, &how, 0), &["the model is conditional"]);
    says(model.sample(5, Some(&Array2::zeros((5, 3))), &how, 0), &["3 columns", "made for 4"]);
    says(model.sample(5, Some(&labels), &how, 0), &["300 rows", "5 were expected"]);
    says(model.sample(5, Some(&Array2::from_elem((1, 4), f32::NAN)), &how, 0), &["the condition holds NaN at row 0"]);
    says(model.sample(5, Some(&label(0)), &how.guided(-1.0), 0), &["guidance scale is -1"]);
}

#[test]
fn a_training_that_fails_leaves_nothing_to_sample_with() {
    let (x, _) = mixture(300, 1);
    let mut model = new(2, 0);
    fit(&mut model, &x, None).expect("it trains");
    let train = genailab::train::TrainConfig { learning_rate: 1e30, clip_norm: None, ..short(3) };
    let error = model.fit(&x, None, None, &train, &mut silent()).expect_err("it diverges");
    assert_eq!(error.kind(), ErrorKind::Numeric, "{error}");
    says(model.sample(5, None, &SampleConfig::new(Sampler::Ddim, 5), 0), &["not trained"]);
}

#[test]
fn settings_out_of_range() {
    let with = |change: fn(&mut DiffusionConfig)| {
        let mut config = config();
        change(&mut config);
        Diffusion::new(2, 0, &config, 0, Device::Cpu)
    };
    says(with(|c| c.t_min = 0.0), &["t_min = 0"]);
    says(with(|c| c.ema = 1.0), &["ema = 1"]);
    says(with(|c| c.condition_dropout = -0.1), &["condition_dropout = -0.1"]);
    says(with(|c| c.net = ScoreNetConfig::film_mlp(0, 2)), &["film_mlp: width = 0"]);
    let heads = ScoreNetConfig::Dit(DitConfig { heads: 3, ..DitConfig::default() });
    says(Diffusion::new(2, 0, &DiffusionConfig { net: heads, ..config() }, 0, Device::Cpu), &["3 heads", "64"]);
    says(Diffusion::new(0, 0, &config(), 0, Device::Cpu), &["0 numbers"]);
}

#[test]
fn flows_that_cannot_run() {
    let config = FlowConfig { net: small(), ..FlowConfig::default() };
    let flow = || Flow::new(2, 0, &config, 0, Device::Cpu).expect("it fits");
    let (x, how) = (mixture(300, 1).0, TransportConfig::default());
    says(flow().sample(5, None, &how, 0), &["this flow is not trained"]);
    let mut nan = x.clone();
    nan[[4, 0]] = f32::INFINITY;
    says(flow().fit(&nan, None, &short(1), &mut silent()), &["x holds inf at row 4, column 0"]);
    says(flow().fit_between(&nan, &x, None, &short(1), &mut silent()), &["the source holds inf at row 4, column 0"]);
    says(flow().fit_between(&Array2::zeros((9, 3)), &x, None, &short(1), &mut silent()), &["the source has 3 columns"]);
    says(flow().fit_between(&Array2::zeros((0, 2)), &x, None, &short(1), &mut silent()), &["the source has no rows"]);
    let large = genailab::train::TrainConfig { batch_size: 1100, ..short(1) };
    says(flow().fit(&mixture(1100, 1).0, None, &large, &mut silent()), &["too many for the exact assignment"]);
    let mut trained = flow();
    trained.fit(&x, None, &short(1), &mut silent()).expect("it trains");
    says(trained.sample(5, None, &TransportConfig::new(Solver::Heun, 0), 0), &["the number of steps is 0"]);
    says(trained.paths(&x, None, &TransportConfig::new(Solver::Heun, 0)), &["the number of steps is 0"]);
    says(trained.sample(5, None, &how.guided(1.5), 0), &["guidance 1.5 on an unconditional"]);
    says(trained.transport(&Array2::zeros((3, 5)), None, &how), &["fit together"]);
}
