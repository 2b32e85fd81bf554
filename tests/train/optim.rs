//! Adam against PyTorch (`tests/reference/optim.py`), against its composed version, and what it does at the edges.

use super::model::Line;
use genailab::{
    ErrorKind,
    dfdx::prelude::{
        Axis, Backward, BroadcastTo, Cpu, Gradients, HasShape, NoneTape, OwnedTape, PutTape, Shape, SumTo, Tensor,
        TensorFromVec,
    },
    nn::{
        Adam, AdamConfig, AdamStep, GradientBuffers, Matrix, Moments, OptimStep, Params, Snapshot, WeightDecay,
        composed,
    },
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    weight: Vec<f32>,
    bias: Vec<f32>,
    gradients: Vec<Gradient>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Gradient {
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    clip: Option<f64>,
    norms: Vec<f64>,
    trace: Vec<Weights>,
}

#[derive(Deserialize)]
struct Weights {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

fn config(case: &str) -> AdamConfig {
    let default = AdamConfig::default();
    match case {
        "adam" | "adam_clip" => default,
        "adam_l2" => AdamConfig { beta1: 0.8, beta2: 0.99, epsilon: 1e-6, weight_decay: 0.1, decay: WeightDecay::L2 },
        "adamw" => AdamConfig { weight_decay: 0.1, ..default },
        other => panic!("there is no setting for the case {other}"),
    }
}

/// Gives a tensor the gradient `values`.
fn set_gradient<S: Shape>(gradients: &mut Gradients<f32, Cpu>, tensor: &Tensor<S, f32, Cpu>, values: &[f32]) {
    gradients.get_or_alloc_mut(tensor).unwrap().copy_from_slice(values);
}

/// The gradients of a backward pass that involves no weight.
fn empty(tape: OwnedTape<f32, Cpu>) -> Gradients<f32, Cpu> {
    let device = Cpu::default();
    device.tensor_from_vec(vec![0.0], ()).put_tape(tape).backward()
}

#[test]
fn twenty_steps_are_those_of_pytorch() {
    let reference: Reference = serde_json::from_str(include_str!("../reference/optim.json")).unwrap();
    assert_eq!(reference.cases.len(), 4);
    let device = Cpu::default();
    for case in &reference.cases {
        let mut line = Line::with_shape(&device, 4, 3);
        line.weight.copy_from(&reference.weight);
        line.bias.copy_from(&reference.bias);
        let mut adam = Adam::new(config(&case.name)).unwrap();
        let mut buffers = GradientBuffers::default();
        for (step, gradient) in reference.gradients.iter().enumerate() {
            let mut gradients = empty(buffers.tape(&line, &device).unwrap());
            set_gradient(&mut gradients, &line.weight, &gradient.weight);
            if let Some(bias) = &gradient.bias {
                set_gradient(&mut gradients, &line.bias, bias);
            }
            let norm = adam.step(&mut line, &mut gradients, 1e-2, case.clip).unwrap();
            buffers.keep(gradients);
            let place = format!("{} after step {}", case.name, step + 1);
            assert!(
                (norm / case.norms[step] - 1.0).abs() < 1e-6,
                "{place}: norm {norm}, {} expected",
                case.norms[step]
            );
            let (expected, found) = (&case.trace[step], (line.weight.as_vec(), line.bias.as_vec()));
            for (found, expected) in found.0.iter().chain(&found.1).zip(expected.weight.iter().chain(&expected.bias)) {
                assert!(
                    (found - expected).abs() <= 1e-6 * expected.abs().max(1.0),
                    "{place}: {found}, {expected} expected"
                );
            }
        }
    }
}

fn random(length: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..length).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// A weight, gradient and moments of an odd length that takes several chunks.
fn large() -> (Matrix<Cpu>, Gradients<f32, Cpu>, Moments<Cpu>) {
    const SHAPE: (usize, usize) = (301, 333);
    let device = Cpu::default();
    let length = SHAPE.0 * SHAPE.1;
    let weight = device.tensor_from_vec(random(length, 1), SHAPE);
    let mut gradients = Gradients::leaky();
    set_gradient(&mut gradients, &weight, &random(length, 2));
    let first = device.tensor_from_vec(random(length, 3), (length,));
    let second = device.tensor_from_vec(random(length, 4).iter().map(|v| v.abs()).collect(), (length,));
    (weight, gradients, Moments { first, second, steps: 3 })
}

const STEP: AdamStep = AdamStep {
    clip: 0.7,
    l2: 0.01,
    shrink: 0.999,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    step_size: 0.003,
    scale: 1.7,
};

#[test]
fn the_fused_update_is_the_composed_one() {
    let (mut weight, mut gradients, mut moments) = large();
    let (mut plain, mut plain_gradients, mut plain_moments) = large();
    let squared = Cpu::squared_norm(&weight, &mut gradients).unwrap();
    let sum: f64 = random(301 * 333, 2).iter().map(|&g| f64::from(g) * f64::from(g)).sum();
    assert!((squared / sum - 1.0).abs() < 1e-12, "{squared}, {sum} expected");
    let composed = composed::squared_norm(&plain, &mut plain_gradients).unwrap();
    assert!((composed / sum - 1.0).abs() < 1e-4, "{composed}, {sum} expected");
    Cpu::adam(&mut weight, &mut gradients, &mut moments, &STEP).unwrap();
    composed::adam(&mut plain, &mut plain_gradients, &mut plain_moments, &STEP).unwrap();
    let close = |fused: Vec<f32>, plain: Vec<f32>| {
        for (at, (a, b)) in fused.iter().zip(&plain).enumerate() {
            assert!((a - b).abs() <= 1e-5 * b.abs().max(1e-2), "element {at}: {a}, {b} expected");
        }
    };
    close(weight.as_vec(), plain.as_vec());
    close(moments.first.as_vec(), plain_moments.first.as_vec());
    close(moments.second.as_vec(), plain_moments.second.as_vec());
    for left in [gradients.get(&weight), plain_gradients.get(&plain)] {
        assert!(left.as_vec().iter().all(|&g| g == 0.0), "the gradient is not left at zero");
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (mut weight, mut gradients, mut moments) = large();
            let squared = Cpu::squared_norm(&weight, &mut gradients).unwrap();
            Cpu::adam(&mut weight, &mut gradients, &mut moments, &STEP).unwrap();
            let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            (squared.to_bits(), bits(weight.as_vec()), bits(moments.first.as_vec()), bits(moments.second.as_vec()))
        })
    };
    let one = run(1);
    assert!(one == run(2) && one == run(5));
}

#[test]
fn a_shared_weight_gets_its_own_copy_first() {
    let (mut weight, mut gradients, mut moments) = large();
    let before = weight.clone();
    Cpu::adam(&mut weight, &mut gradients, &mut moments, &STEP).unwrap();
    assert_eq!(before.as_vec(), random(301 * 333, 1));
    assert_ne!(weight.as_vec(), before.as_vec());
}

#[test]
fn a_weight_that_is_not_contiguous_is_refused() {
    let device = Cpu::default();
    let row: Tensor<(usize,), f32, Cpu> = device.tensor_from_vec(vec![1.0, 2.0, 3.0], (3,));
    let mut weight: Tensor<(usize, usize), f32, Cpu> = row.broadcast_like::<_, Axis<0>>(&(4, 3));
    let value = device.tensor_from_vec(vec![0.0; 12], (12,));
    let error = Cpu::blend(&mut weight, &value, 0.5).unwrap_err().to_string();
    assert_eq!(error, "a weight of shape (4, 3) is broadcast or permuted; it cannot be updated");
}

#[test]
fn without_a_gradient_a_weight_does_not_even_decay() {
    let device = Cpu::default();
    let mut line = Line::new(&device);
    line.bias.copy_from(&[1.0, -1.0]);
    let mut adam = Adam::new(AdamConfig { weight_decay: 0.5, ..AdamConfig::default() }).unwrap();
    let mut gradients = Gradients::leaky();
    set_gradient(&mut gradients, &line.weight, &[0.1; 12]);
    adam.step(&mut line, &mut gradients, 0.1, None).unwrap();
    assert_eq!(line.bias.as_vec(), [1.0, -1.0]);
    assert_eq!(adam.export().expect("on the CPU").1.into_iter().collect::<Vec<_>>(), [("weight".to_owned(), 1)]);
}

#[test]
fn a_gradient_that_is_not_finite_names_the_weight_and_changes_nothing() {
    let mut line = Line::new(&Cpu::default());
    let before = line.snapshot();
    let mut gradients = Gradients::leaky();
    set_gradient(&mut gradients, &line.weight, &[0.1; 12]);
    set_gradient(&mut gradients, &line.bias, &[0.0, f32::INFINITY]);
    let error = Adam::new(AdamConfig::default()).unwrap().step(&mut line, &mut gradients, 0.1, None).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::Numeric, "the gradient of `bias` is not finite")
    );
    assert_eq!(line.snapshot(), before);
}

#[test]
fn gradient_buffers_stay_where_they_are_and_the_others_go() {
    let device = Cpu::default();
    let mut line = Line::new(&device);
    let mut adam = Adam::new(AdamConfig::default()).unwrap();
    let mut buffers = GradientBuffers::default();
    let mut places = Vec::new();
    for _ in 0..3 {
        let tape = buffers.tape(&line, &device).unwrap();
        let doubled = line.weight.clone().put_tape(tape) * 2.0;
        let inner = doubled.retaped::<NoneTape>();
        let mut gradients = doubled.sum().backward();
        let gradient = gradients.get_or_alloc_mut(&line.weight).unwrap();
        assert_eq!(**gradient, vec![2.0; 12], "the buffer was not zero at the beginning of the step");
        places.push(gradient.as_ptr());
        let others = gradients.get_or_alloc_mut(&inner).unwrap();
        assert_eq!(**others, vec![0.0; 12], "the gradient of a tensor that is no weight was kept");
        adam.step(&mut line, &mut gradients, 0.1, None).unwrap();
        buffers.keep(gradients);
    }
    assert!(places[0] == places[1] && places[1] == places[2]);
    // Another tensor in the weight's place is trained as well.
    line.weight = device.tensor_from_vec(vec![1.0; 12], (6, 2));
    let tape = buffers.tape(&line, &device).unwrap();
    let mut gradients = line.weight.clone().put_tape(tape).sum().backward();
    assert_eq!(**gradients.get_or_alloc_mut(&line.weight).unwrap(), vec![1.0; 12]);
}

#[test]
fn moments_come_back_and_misfits_are_named() {
    let device = Cpu::default();
    let mut line = Line::new(&device);
    let mut adam = Adam::new(AdamConfig::default()).unwrap();
    let mut gradients = Gradients::leaky();
    set_gradient(&mut gradients, &line.weight, &random(12, 1));
    adam.step(&mut line, &mut gradients, 0.1, None).unwrap();
    let (moments, steps) = adam.export().expect("on the CPU");
    let mut other = Adam::new(AdamConfig::default()).unwrap();
    other.import(&moments, &steps, &line, &device).unwrap();
    assert_eq!(other.export().expect("on the CPU"), (moments.clone(), steps.clone()));
    let error = other.import(&moments, &steps, &Line::with_shape(&device, 5, 2), &device).unwrap_err().to_string();
    assert_eq!(error, "the optimizer's first moment of `weight` has 12 elements, where the weight has 10");
    let error = other.import(&Snapshot::default(), &steps, &line, &device).unwrap_err().to_string();
    assert!(error.contains("first moment of `weight` is missing"), "{error}");
}

#[test]
fn settings_out_of_range_are_named() {
    for (config, name) in [
        (AdamConfig { beta1: 1.0, ..AdamConfig::default() }, "beta1 = 1"),
        (AdamConfig { beta2: f64::NAN, ..AdamConfig::default() }, "beta2 = NaN"),
        (AdamConfig { epsilon: 0.0, ..AdamConfig::default() }, "epsilon = 0"),
        (AdamConfig { weight_decay: -1.0, ..AdamConfig::default() }, "weight_decay = -1"),
    ] {
        let error = Adam::<Cpu>::new(config).err().expect("it is out of range").to_string();
        assert!(error.starts_with(name), "{error}");
    }
}

#[test]
fn a_tensor_without_elements_is_no_trouble() {
    let device = Cpu::default();
    let mut line = Line::with_shape(&device, 0, 2);
    let mut gradients = Gradients::leaky();
    set_gradient(&mut gradients, &line.bias, &[1.0, 1.0]);
    Adam::new(AdamConfig::default()).unwrap().step(&mut line, &mut gradients, 0.1, None).unwrap();
    assert_eq!(line.weight.shape(), &(0, 2));
    let mut average = genailab::nn::Ema::new(&line).unwrap();
    average.update(&line, 0.5).unwrap();
    Params::<Cpu>::walk_mut(&mut line, "", &mut Ignore).unwrap();
}

struct Ignore;

impl genailab::nn::VisitorMut<Cpu> for Ignore {
    fn param<S: Shape>(&mut self, _: &str, _: &mut Tensor<S, f32, Cpu>) -> genailab::Result<()> {
        Ok(())
    }
}
