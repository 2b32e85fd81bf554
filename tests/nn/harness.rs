//! One shape for all operations under test: flat inputs in, the output and the gradient for each input out.

use genailab::{
    Result,
    dfdx::prelude::*,
    nn::{Matrix, Vector},
};
use rand::Rng;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::Deserialize;
use std::collections::BTreeMap;

pub type Taped = OwnedTape<f32, Cpu>;

/// Output, and the gradient of `sum(output * upstream)` for each input.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    pub output: Vec<f32>,
    pub gradients: Vec<Vec<f32>>,
}

/// An operation on flat inputs.
pub type Operation<'a> = &'a (dyn Fn(&[Vec<f32>], &[f32]) -> Outcome + Sync);

/// Differentiates `y`; `leaves` are the inputs as they were before tracing.
pub fn outcome<S: Shape>(y: Tensor<S, f32, Cpu, Taped>, upstream: &[f32], leaves: &[Leaf]) -> Outcome {
    let output = y.as_vec();
    let upstream = y.device().tensor_from_vec(upstream.to_vec(), *y.shape());
    let gradients = (y * upstream).sum::<Rank0, _>().backward();
    let gradients = leaves
        .iter()
        .map(|leaf| match leaf {
            Leaf::Matrix(t) => gradients.get(t).as_vec(),
            Leaf::Vector(t) => gradients.get(t).as_vec(),
        })
        .collect();
    Outcome { output, gradients }
}

#[derive(Clone)]
pub enum Leaf {
    Matrix(Matrix<Cpu>),
    Vector(Vector<Cpu>),
}

pub fn matrix(values: &[f32], width: usize) -> Matrix<Cpu> {
    Cpu::default().tensor_from_vec(values.to_vec(), (values.len() / width, width))
}

pub fn vector(values: &[f32]) -> Vector<Cpu> {
    Cpu::default().tensor_from_vec(values.to_vec(), (values.len(),))
}

/// An operation `(x, weight, bias) -> y`, x of the width of `weight` unless `width` is given.
pub fn three<F>(f: F, width: usize) -> impl Fn(&[Vec<f32>], &[f32]) -> Outcome + Sync
where
    F: Fn(Matrix<Cpu, Taped>, &Vector<Cpu>, &Vector<Cpu>) -> Result<Matrix<Cpu, Taped>> + Sync,
{
    move |inputs, upstream| {
        let (x, w, b) = (matrix(&inputs[0], width), vector(&inputs[1]), vector(&inputs[2]));
        let y = f(x.leaky_trace(), &w, &b).expect("shapes fit");
        outcome(y, upstream, &[Leaf::Matrix(x), Leaf::Vector(w), Leaf::Vector(b)])
    }
}

pub fn normal(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| rng.sample::<f32, _>(rand_distr::StandardNormal)).collect()
}

pub fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

/// |got - want| <= tolerance * (scale + |want|) for each value.
#[track_caller]
pub fn close(what: &str, got: &[f32], want: &[f64], tolerance: f64, scale: f64) {
    assert_eq!(got.len(), want.len(), "{what}: another length");
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(g) - w).abs();
        assert!(error <= tolerance * (scale + w.abs()), "{what}[{i}] = {g}, not {w} (off by {error:.3e})");
    }
}

/// Output and gradients of two operations agree.
#[track_caller]
pub fn agree(what: &str, got: &Outcome, output: &[f64], gradients: &[Vec<f64>], tolerance: f64) {
    close(&format!("{what}: output"), &got.output, output, tolerance, 1.0);
    assert_eq!(got.gradients.len(), gradients.len());
    for (i, (got, want)) in got.gradients.iter().zip(gradients).enumerate() {
        close(&format!("{what}: gradient of input {i}"), got, want, tolerance, 1.0);
    }
}

/// One case of tests/reference/nn.json or attention.json.
#[derive(Deserialize)]
pub struct Reference {
    pub inputs: BTreeMap<String, Vec<f32>>,
    pub upstream: Vec<f32>,
    pub output: Vec<f64>,
    pub gradients: BTreeMap<String, Vec<f64>>,
    #[serde(default)]
    pub counts: Vec<f32>,
    #[serde(default)]
    pub library_size: Vec<f32>,
    #[serde(default)]
    pub remainder: bool,
    #[serde(default)]
    pub per_cell: bool,
    #[serde(default)]
    pub running_mean: Vec<f64>,
    #[serde(default)]
    pub running_var: Vec<f64>,
    #[serde(default)]
    pub eval_output: Vec<f64>,
    #[serde(default)]
    pub weights: BTreeMap<String, Vec<f32>>,
    #[serde(default)]
    pub weight_gradients: BTreeMap<String, Vec<f64>>,
    /// Sizes of the sets of queries, or of x.
    #[serde(default)]
    pub queries: Vec<usize>,
    /// Sizes of the sets of keys, or of the targets.
    #[serde(default)]
    pub keys: Vec<usize>,
    #[serde(default)]
    pub target: Vec<f32>,
    #[serde(default)]
    pub gammas: Vec<f32>,
    #[serde(default)]
    pub directions: Vec<f32>,
}

pub fn reference(name: &str) -> Reference {
    let files = [include_str!("../reference/nn.json"), include_str!("../reference/attention.json")];
    let case = files.iter().find_map(|file| {
        let all: serde_json::Value = serde_json::from_str(file).expect("the reference file is JSON");
        all.get(name).cloned()
    });
    serde_json::from_value(case.expect("there is such a case")).expect("the case has these fields")
}

/// Holds an operation against the case `name` with its inputs in the order `order`.
#[track_caller]
pub fn matches_reference(name: &str, order: &[&str], operation: Operation<'_>, tolerance: f64) {
    let case = reference(name);
    let inputs: Vec<_> = order.iter().map(|&input| case.inputs[input].clone()).collect();
    let gradients: Vec<_> = order.iter().map(|&input| case.gradients[input].clone()).collect();
    agree(name, &operation(&inputs, &case.upstream), &case.output, &gradients, tolerance);
}

/// Runs `f` in pools of one and of four threads and expects the same bits.
#[track_caller]
pub fn same_bits_with_any_threads(what: &str, f: &(dyn Fn() -> Outcome + Sync)) {
    let run = |threads| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started").install(f)
    };
    assert!(run(1) == run(4), "{what}: one thread and four give different bits");
}
