//! The packed network against a padded and masked one in PyTorch (`tests/reference/static_dynamic.py`).

use super::small;
use genailab::{
    Result,
    dfdx::prelude::*,
    model::static_dynamic::{Packed, SequenceFlowConfig, Shown, TokenSequence, VelocityNet},
    ndarray::{Array2, s},
    nn::{GradientBuffers, HostTensor, Params, Snapshot, Visitor, ops, seeded, tensors},
};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Of f32 against f64, relative to 1 + |value|.
const TOLERANCE: f64 = 3e-5;

#[derive(Deserialize)]
struct Case {
    lengths: Vec<usize>,
    given: Vec<bool>,
    times: Vec<Option<f32>>,
    flow_times: Vec<f32>,
    latents: Vec<f32>,
    noise: Vec<f32>,
    doses: Vec<f32>,
    x: Vec<f32>,
    velocity: Vec<f64>,
    loss: f64,
    weights: BTreeMap<String, Vec<f32>>,
    gradients: BTreeMap<String, Vec<f64>>,
}

#[track_caller]
fn close(what: &str, got: &[f32], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{what}: another length");
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(g) - w).abs();
        assert!(error <= TOLERANCE * (1.0 + w.abs()), "{what}[{i}] = {g}, not {w} (off by {error:.3e})");
    }
}

struct Compare<'a>(&'a mut Gradients<f32, Cpu>, &'a BTreeMap<String, Vec<f64>>, usize);

impl Visitor<Cpu> for Compare<'_> {
    fn param<S: Shape>(&mut self, name: &str, tensor: &Tensor<S, f32, Cpu>) -> Result<()> {
        let gradient = self.0.get_or_alloc_mut(tensor).expect("memory for a small gradient").to_vec();
        close(&format!("gradient of {name}"), &gradient, &self.1[name]);
        self.2 += 1;
        Ok(())
    }
}

#[test]
fn the_packed_velocity_its_loss_and_its_gradients_are_those_of_a_padded_batch_in_pytorch() {
    let case: Case =
        serde_json::from_str(include_str!("../reference/static_dynamic.json")).expect("the reference file is JSON");
    let rows =
        |values: &[f32]| Array2::from_shape_vec((case.given.len(), 2), values.to_vec()).expect("two numbers per token");
    let (latents, doses) = (rows(&case.latents), rows(&case.doses));
    let mut start = 0;
    let mut sequences: Vec<(TokenSequence, Shown)> = Vec::new();
    for &len in &case.lengths {
        let own = start..start + len;
        let tokens = TokenSequence {
            name: "A".to_owned(),
            latents: latents.slice(s![own.clone(), ..]).to_owned(),
            times: case.times[own.clone()].to_vec(),
            doses: doses.slice(s![own.clone(), ..]).to_owned(),
        };
        sequences.push((tokens, Shown { tokens: (0..len).collect(), given: case.given[own].to_vec() }));
        start += len;
    }
    let packed = Packed::of(&sequences.iter().map(|(tokens, shown)| (tokens, shown.clone())).collect::<Vec<_>>());

    let config = SequenceFlowConfig { depth: 1, ..small() };
    let mut net = VelocityNet::new(&Cpu::default(), (2, 2), &config, &mut seeded(0)).expect("sizes fit");
    let mut snapshot = Snapshot::default();
    for tensor in tensors(&net).expect("no failure").into_iter().filter(|tensor| !tensor.name.starts_with("fourier")) {
        let values = case.weights.get(&tensor.name).unwrap_or_else(|| panic!("the case has no `{}`", tensor.name));
        snapshot.insert(tensor.name, HostTensor { shape: tensor.shape, values: values.clone() });
    }
    assert_eq!(snapshot.tensors().len(), case.weights.len(), "every weight of the case has a place");
    let frequencies = net_frequencies(&net);
    snapshot.insert("fourier.frequencies", frequencies);
    snapshot.restore(&mut net).expect("names and shapes fit");

    let velocity = net.forward(&rows(&case.x), &case.flow_times, &packed, NoneTape).expect("shapes fit");
    close("velocity", &velocity.as_vec(), &case.velocity);
    let mut buffers = GradientBuffers::default();
    let tape = buffers.tape(&net, &Cpu::default()).expect("a tape");
    let loss = net.matching(&packed, &case.flow_times, &rows(&case.noise), tape).expect("a loss");
    close("loss", &[ops::to_f32(&loss)], &[case.loss]);
    let mut gradients = loss.backward();
    let mut compare = Compare(&mut gradients, &case.gradients, 0);
    net.walk("", &mut compare).expect("a walk");
    assert_eq!(compare.2, case.gradients.len());
}

/// The frequencies of times, which are fixed.
fn net_frequencies(net: &VelocityNet<Cpu>) -> HostTensor {
    let own = Snapshot::of(net).expect("a snapshot");
    own.tensors()["fourier.frequencies"].clone()
}
