//! Static and dynamic profiles in one space: exact packing, gradients, PyTorch, a course model with a known answer, files, commands.

mod commands;
mod gradients;
mod known_model;
mod packing;
mod parity;
mod saved;

use genailab::{
    dfdx::prelude::Cpu,
    model::static_dynamic::{SequenceFlowConfig, TokenSequence, VelocityNet, noise},
    ndarray::Array2,
    nn::{HostTensor, Snapshot, seeded, tensors},
};

/// A small flow.
pub fn small() -> SequenceFlowConfig {
    SequenceFlowConfig { width: 8, depth: 2, heads: 2, ..SequenceFlowConfig::default() }
}

/// A network none of whose weights is at its start, where outputs and gates are 0.
pub fn net(latent: usize, genes: usize, config: &SequenceFlowConfig) -> VelocityNet<Cpu> {
    let mut net = VelocityNet::new(&Cpu::default(), (latent, genes), config, &mut seeded(1)).expect("sizes fit");
    let mut snapshot = Snapshot::default();
    for (number, tensor) in tensors(&net).expect("no failure").into_iter().enumerate() {
        let n = tensor.shape.iter().product();
        let values = noise((1, n), &mut seeded(number as u64)).iter().map(|value| 0.3 * value).collect();
        snapshot.insert(tensor.name, HostTensor { shape: tensor.shape, values });
    }
    snapshot.restore(&mut net).expect("names and shapes fit");
    net
}

/// Random tokens of a course: 3 latents, 2 perturbed genes, times that rise from 0; without a time where it is static.
pub fn tokens(len: usize, is_static: bool, seed: u64) -> TokenSequence {
    let mut rng = seeded(seed);
    let time = |token: usize| (!is_static).then(|| token as f32 / len.max(2) as f32);
    TokenSequence {
        name: format!("course {seed}"),
        latents: noise((len, 3), &mut rng),
        times: (0..len).map(time).collect(),
        doses: Array2::from_shape_fn((len, 2), |(token, gene)| {
            f32::from((token + gene + seed as usize).is_multiple_of(2))
        }),
    }
}
