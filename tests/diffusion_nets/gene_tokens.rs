//! Tokens of genes: a gene is what its weights say, wherever it stands, and which genes share a token is kept with the weights.

use crate::common::nudge::{Nudge, Steepest};
use genailab::{
    device::Device,
    dfdx::prelude::*,
    model::{
        diffusion::net::{GeneTokensConfig, Given, ScoreNet, ScoreNetConfig, Tokenization},
        flow::{Flow, FlowConfig, TransportConfig},
    },
    ndarray::{Array2, Axis},
    nn::{HostTensor, Params, Snapshot, ops, seeded},
    train::{Run, TrainConfig},
};
use rand::Rng;

const GENES: usize = 6;
/// Where each gene goes.
const ORDER: [usize; GENES] = [3, 0, 5, 1, 4, 2];

fn config(tokens: Tokenization) -> ScoreNetConfig {
    ScoreNetConfig::GeneTokens(GeneTokensConfig { tokens, width: 8, depth: 1, heads: 2, embedding: 8 })
}

fn normal(shape: (usize, usize), seed: u64) -> Array2<f32> {
    let mut rng = seeded(seed);
    Array2::from_shape_simple_fn(shape, || rng.sample(rand_distr::StandardNormal))
}

/// A network without weights of 0.
fn shaken(tokens: Tokenization) -> ScoreNet<Cpu> {
    let mut net = ScoreNet::new(&Cpu::default(), GENES, 0, &config(tokens), &mut seeded(1)).expect("sizes fit");
    let (mut rng, mut moved) = (seeded(2), Snapshot::default());
    for (name, mut tensor) in Snapshot::of(&net).expect("no failure").into_tensors() {
        if !name.ends_with("group_of") {
            tensor.values.iter_mut().for_each(|v| *v += 0.2 * rng.sample::<f32, _>(rand_distr::StandardNormal));
        }
        moved.insert(name, tensor);
    }
    moved.restore(&mut net).expect("the same names");
    net
}

/// The same network with what it knows of each gene at another place: rows of the tensors that have one for each gene.
fn permuted(net: &ScoreNet<Cpu>) -> ScoreNet<Cpu> {
    let (mut other, mut moved) = (net.clone(), Snapshot::default());
    for (name, tensor) in Snapshot::of(net).expect("no failure").into_tensors() {
        let HostTensor { shape, values } = tensor;
        let of_genes = ["tokens.identity.weight", "tokens.input.weight", "tokens.group_of", "tokens.output_bias"];
        let is_output = name == "tokens.output.weight" && shape[0] == GENES;
        let values = match of_genes.contains(&name.as_str()) || is_output {
            true => {
                let width = values.len() / GENES;
                ORDER.iter().flat_map(|&gene| values[gene * width..(gene + 1) * width].to_vec()).collect()
            }
            false => values,
        };
        moved.insert(name, HostTensor { shape, values });
    }
    moved.restore(&mut other).expect("the same names");
    other
}

fn answer(net: &ScoreNet<Cpu>, x: &Array2<f32>) -> Array2<f32> {
    let given = Given::new(&vec![0.4; x.nrows()], None, &[]).expect("one time");
    ops::download(&net.forward(ops::upload(&Cpu::default(), x).expect("it fits"), &given).expect("shapes fit"))
}

#[test]
fn genes_that_are_permuted_with_their_identities_permute_the_output() {
    let x = normal((4, GENES), 3);
    for tokens in [
        Tokenization::Patches { count: 2 },
        Tokenization::Modules { count: 3 },
        Tokenization::Genes,
        Tokenization::Latents { count: 2 },
    ] {
        let net = shaken(tokens);
        let (here, there) = (answer(&net, &x), answer(&permuted(&net), &x.select(Axis(1), &ORDER)));
        let apart = (here.select(Axis(1), &ORDER) - &there).mapv(f32::abs).into_iter().fold(0.0, f32::max);
        assert!(apart < 1e-5, "{}: apart by {apart}", tokens.name());
        // Without their identities they are other genes.
        let moved = (answer(&net, &x.select(Axis(1), &ORDER)) - &there).mapv(f32::abs).into_iter().fold(0.0, f32::max);
        assert!(moved > 1e-2, "{}: identities say nothing", tokens.name());
    }
}

/// With tokens of groups a gene acts on another only through the tokens that both reach: all, after attention; with one group, too.
#[test]
fn groups_are_those_that_were_set() {
    let mut net = shaken(Tokenization::Modules { count: 2 });
    let x = normal((2, GENES), 4);
    let before = answer(&net, &x);
    net.set_gene_groups(&[1, 0, 1, 0, 1, 0]).expect("two groups of six genes");
    assert!((answer(&net, &x) - &before).iter().any(|v| v.abs() > 1e-3), "groups make a difference");
    net.set_gene_groups(&[0, 0, 0, 1, 1, 1]).expect("the neighbours");
    assert_eq!(answer(&net, &x), before, "the network begins with groups of neighbours");
    for (groups, part) in [(vec![0, 1, 2, 0, 1, 0], "groups 0 to 1"), (vec![0; 5], "5 genes")] {
        let error = net.set_gene_groups(&groups).expect_err("they do not fit").to_string();
        assert!(error.contains(part), "{error}");
    }
    let error = shaken(Tokenization::Genes).set_gene_groups(&[0; GENES]).expect_err("no groups").to_string();
    assert!(error.contains("patches and modules"), "{error}");
    let too_many = ScoreNet::new(&Cpu::default(), 3, 0, &config(Tokenization::Modules { count: 4 }), &mut seeded(1));
    assert!(too_many.expect_err("a group without genes").to_string().contains("4 groups of 3 genes"));
}

/// The gradient of a squared error in every weight, the identities and the latents included.
#[test]
fn every_weight_has_the_gradient_of_finite_differences() {
    let (x, target) = (normal((3, GENES), 5), normal((3, GENES), 6));
    let given = Given::new(&[0.2, 0.5, 0.5], None, &[]).expect("three times");
    let device = Cpu::default();
    for tokens in [Tokenization::Modules { count: 2 }, Tokenization::Genes, Tokenization::Latents { count: 2 }] {
        let mut net = shaken(tokens);
        let value = |net: &ScoreNet<Cpu>| {
            let y = ops::download(&net.forward(ops::upload(&device, &x).expect("it fits"), &given).expect("it fits"));
            (y - &target).mapv(|v| f64::from(v) * f64::from(v)).sum()
        };
        let leaf = ops::upload(&device, &x).expect("it fits");
        let y = net.forward(leaf.leaky_trace(), &given).expect("shapes fit");
        let loss = (y - ops::upload(&device, &target).expect("it fits")).square().sum::<Rank0, _>();
        let mut gradients = loss.backward();
        let mut steepest = Steepest { gradients: &mut gradients, found: Vec::new() };
        net.walk("", &mut steepest).expect("a walk");
        for (name, element, gradient) in steepest.found {
            let step = 1e-2;
            let mut at = |step: f32| {
                net.walk_mut("", &mut Nudge { name: &name, element, step }).expect("a walk");
                value(&net)
            };
            let (above, below) = (at(step), at(-2.0 * step));
            at(step);
            let numeric = (above - below) / (2.0 * f64::from(step));
            let error = (numeric - f64::from(gradient)).abs();
            assert!(
                error < 0.03 * numeric.abs() + 2e-3,
                "{}, {name}[{element}]: gradient {gradient}, finite difference {numeric}",
                tokens.name()
            );
        }
    }
}

#[test]
fn a_loaded_flow_knows_its_groups() {
    let x = normal((60, GENES), 7);
    let made = FlowConfig { net: config(Tokenization::Modules { count: 2 }), ..FlowConfig::default() };
    let mut flow = Flow::new(GENES, 0, &made, 0, Device::Cpu).expect("it fits");
    flow.set_gene_groups(&[1, 0, 1, 0, 1, 0]).expect("two groups");
    let train = TrainConfig { epochs: 2, batch_size: 32, ..TrainConfig::default() };
    flow.fit(&x, None, &train, &mut Run::quiet(0)).expect("it trains");
    let dir = tempfile::tempdir().expect("a folder");
    flow.save(dir.path()).expect("it can be written");
    let loaded = Flow::load(dir.path(), Device::Cpu).expect("it can be read");
    let draw = |flow: &Flow| flow.sample(5, None, &TransportConfig::default(), 1).expect("it is trained");
    assert_eq!(draw(&flow), draw(&loaded));
    let mut other = loaded.clone();
    other.set_gene_groups(&[0, 0, 0, 1, 1, 1]).expect("two groups");
    assert_ne!(draw(&flow), draw(&other));
}
