//! The gradients of the paths that training takes, against finite differences.

use super::{net, small, tokens};
use crate::common::nudge::{Nudge, Steepest};
use genailab::{
    dfdx::prelude::*,
    model::static_dynamic::{CoderConfig, ProfileCoder, noise},
    ndarray::{Array1, Array2},
    nn::{GradientBuffers, Params, ops, seeded},
    train::{StepContext, Trainable},
};

/// Central differences in single precision, of a loss near 2.
const STEP: f32 = 1e-2;

fn context(rng: &mut rand_chacha::ChaCha8Rng) -> StepContext<'_> {
    StepContext { epoch: 0, step: 0, total_steps: 1, total_epochs: 1, training: true, rng }
}

/// Compares the largest gradient of each tensor; gives how many are not 0.
fn checked<M: Trainable<Cpu> + Params<Cpu>>(net: &mut M, batch: &M::Batch) -> usize {
    let device = Cpu::default();
    let value = |net: &mut M| {
        let mut rng = seeded(9);
        ops::to_f32(&net.loss(batch, NoneTape, &mut context(&mut rng)).expect("a loss").total)
    };
    let mut buffers = GradientBuffers::default();
    let tape = buffers.tape(net, &device).expect("a tape");
    let mut rng = seeded(9);
    let mut gradients = net.loss(batch, tape, &mut context(&mut rng)).expect("a loss").total.backward();
    let mut steepest = Steepest { gradients: &mut gradients, found: Vec::new() };
    net.walk("", &mut steepest).expect("a walk");
    let found = steepest.found;
    for (name, element, gradient) in &found {
        let mut moved = |step: f32| {
            net.walk_mut("", &mut Nudge { name, element: *element, step }).expect("a walk");
            value(net)
        };
        let (up, down) = (moved(STEP), moved(-2.0 * STEP));
        moved(STEP);
        let measured = (up - down) / (2.0 * STEP);
        assert!((measured - gradient).abs() < 2e-3 + 0.03 * gradient.abs(), "{name}: {measured} and {gradient}");
    }
    found.iter().filter(|(_, _, gradient)| gradient.abs() > 1e-6).count()
}

#[test]
fn the_gradient_of_every_weight_of_the_velocity_is_that_of_finite_differences() {
    let mut net = net(3, 2, &small());
    let batch = vec![tokens(4, false, 1).into(), tokens(1, true, 2).into(), tokens(3, false, 3).into()];
    let checked = checked(&mut net, &batch);
    // Biases of keys have no gradient: all scores of a query move alike. They share a tensor with those of values.
    assert!(checked >= 40, "{checked} gradients are not zero");
}

#[test]
fn the_gradient_of_every_weight_of_the_profile_coder_is_that_of_finite_differences() {
    let config = CoderConfig { latent: 2, hidden: 5, beta: 0.3, ..CoderConfig::default() };
    let variances = Array1::from(vec![2.0, 1.0, 0.5]);
    let mut coder = ProfileCoder::new(&Cpu::default(), &variances, &config, &mut seeded(1)).expect("memory");
    let batch: Array2<f32> = noise((6, 3), &mut seeded(2));
    // At the start the networks beside the linear maps end in zeros, so their first layers have no gradient yet.
    let start = coder.decode(&coder.encode(&batch).expect("scores")).expect("latents");
    for (row, own) in batch.rows().into_iter().zip(start.rows()) {
        assert!((row[0] - own[0]).abs() < 1e-5 && (row[1] - own[1]).abs() < 1e-5 && own[2] == 0.0);
    }
    let checked = checked(&mut coder, &batch);
    assert!(checked >= 7, "{checked} gradients are not zero");
}
