//! The networks against PyTorch: outputs, and the gradients of x and of every weight.

use genailab::{
    Result,
    dfdx::prelude::*,
    model::diffusion::net::{
        DitConditioning, DitConfig, FilmMlpConfig, GeneTokensConfig, Given, ScoreNet, ScoreNetConfig, TabularConfig,
        Tokenization,
    },
    ndarray::Array2,
    nn::{HostTensor, Params, Snapshot, Visitor, tensors},
};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Of f32 against f64, relative to 1 + |value|; the deepest network here is some ten layers.
const TOLERANCE: f64 = 3e-5;
const DIMS: usize = 6;

#[derive(Deserialize)]
struct Case {
    x: Vec<f32>,
    condition: Vec<f32>,
    times: Vec<f32>,
    dropped: Vec<bool>,
    upstream: Vec<f32>,
    output: Vec<f64>,
    x_gradient: Vec<f64>,
    weights: BTreeMap<String, Vec<f32>>,
    gradients: BTreeMap<String, Vec<f64>>,
}

struct Collect<'a>(&'a Gradients<f32, Cpu>, BTreeMap<String, Vec<f32>>);

impl Visitor<Cpu> for Collect<'_> {
    fn param<S: Shape>(&mut self, name: &str, tensor: &Tensor<S, f32, Cpu>) -> Result<()> {
        self.1.insert(name.into(), self.0.get(tensor).as_vec());
        Ok(())
    }
}

#[track_caller]
fn close(what: &str, got: &[f32], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{what}: another length");
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(g) - w).abs();
        assert!(error <= TOLERANCE * (1.0 + w.abs()), "{what}[{i}] = {g}, not {w} (off by {error:.3e})");
    }
}

#[track_caller]
fn matches(name: &str, config: ScoreNetConfig) {
    let mut cases: BTreeMap<String, Case> =
        serde_json::from_str(include_str!("../reference/score_nets.json")).expect("the reference file is JSON");
    let case = cases.remove(name).expect("there is such a case");
    let device = Cpu::default();
    let rows = case.times.len();
    let condition = Array2::from_shape_vec((rows, case.condition.len() / rows), case.condition).expect("rows");
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut net = ScoreNet::new(&device, DIMS, condition.ncols(), &config, &mut rng).expect("sizes fit");
    let mut snapshot = Snapshot::default();
    for tensor in tensors(&net).expect("no failure") {
        let values = case.weights.get(&tensor.name).unwrap_or_else(|| panic!("the case has no `{}`", tensor.name));
        snapshot.insert(tensor.name, HostTensor { shape: tensor.shape, values: values.clone() });
    }
    assert_eq!(snapshot.tensors().len(), case.weights.len(), "{name}: every weight of the case has a place");
    snapshot.restore(&mut net).expect("names and shapes fit");

    let given = Given::new(&case.times, Some(&condition), &case.dropped).expect("as many of each");
    assert!(given.runs().len() < rows, "the case has rows that share time and condition");
    let x = device.tensor_from_vec(case.x, (rows, DIMS));
    let y = net.forward(x.leaky_trace(), &given).expect("shapes fit");
    close(&format!("{name}: output"), &y.as_vec(), &case.output);
    let upstream = device.tensor_from_vec(case.upstream, (rows, DIMS));
    let gradients = (y * upstream).sum::<Rank0, _>().backward();
    close(&format!("{name}: gradient of x"), &gradients.get(&x).as_vec(), &case.x_gradient);
    let mut collected = Collect(&gradients, BTreeMap::new());
    net.walk("", &mut collected).expect("the visitor does not fail");
    assert_eq!(collected.1.len(), case.gradients.len());
    for (weight, gradient) in &collected.1 {
        close(&format!("{name}: gradient of {weight}"), gradient, &case.gradients[weight]);
    }
}

#[test]
fn film_mlp() {
    matches("film_mlp", ScoreNetConfig::FilmMlp(FilmMlpConfig { width: 8, depth: 2, embedding: 4 }));
}

#[test]
fn tabular_attention_with_a_group_that_is_not_full() {
    let config = TabularConfig { group: 4, width: 8, depth: 1, heads: 2, embedding: 4 };
    matches("tabular", ScoreNetConfig::Tabular(config));
}

#[test]
fn dit_with_each_conditioning() {
    let dit = |conditioning| {
        ScoreNetConfig::Dit(DitConfig { group: 4, width: 8, depth: 1, heads: 2, embedding: 4, conditioning })
    };
    matches("dit_ada_ln", dit(DitConditioning::AdaLn));
    matches("dit_tokens", dit(DitConditioning::Tokens { count: 2 }));
    matches("dit_cross_attention", dit(DitConditioning::CrossAttention { count: 2 }));
}

#[test]
fn each_tokenisation_of_genes() {
    let net =
        |tokens| ScoreNetConfig::GeneTokens(GeneTokensConfig { tokens, width: 8, depth: 1, heads: 2, embedding: 4 });
    matches("gene_groups", net(Tokenization::Modules { count: 2 }));
    matches("gene_genes", net(Tokenization::Genes));
    matches("gene_latents", net(Tokenization::Latents { count: 2 }));
}
