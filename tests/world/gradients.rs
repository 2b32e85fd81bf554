//! The gradient of the path that training takes, against finite differences.

use crate::common::nudge::{Nudge, Steepest};
use genailab::{
    dfdx::prelude::*,
    model::world::{Rssm, RssmConfig, Sequence, Sequences},
    ndarray::Array2,
    nn::{GradientBuffers, Params, ops, seeded},
    train::{BatchSource, StepContext, Trainable},
};
use rand::Rng;

/// Central differences in single precision, of a loss near 10: the error of rounding is about 1e-3.
const STEP: f32 = 1e-2;

fn sequences() -> Sequences {
    let mut rng = seeded(3);
    let mut random =
        |rows: usize, columns: usize| Array2::from_shape_simple_fn((rows, columns), || rng.random::<f32>() - 0.5);
    // Two lengths: the end of the short one must not count.
    Sequences(
        [4, 3]
            .map(|steps| Sequence { course: "A".into(), states: random(steps + 1, 3), actions: random(steps, 2) })
            .into(),
    )
}

/// The loss with the same noise each time; validation would leave the noise out.
fn context(rng: &mut rand_chacha::ChaCha8Rng) -> StepContext<'_> {
    StepContext { epoch: 0, step: 0, total_steps: 1, total_epochs: 1, training: true, rng }
}

#[test]
fn the_gradient_of_every_weight_is_that_of_finite_differences() {
    let device = Cpu::default();
    // Without balance and free nats: a stopped gradient is by design not that of the loss.
    let config = RssmConfig {
        deterministic: 4,
        stochastic: 3,
        width: 5,
        kl_weight: 0.0,
        overshooting: 0.7,
        ..RssmConfig::default()
    };
    let mut net = Rssm::new(&device, (3, 2), config, &mut seeded(1)).expect("memory");
    let batch = sequences().batch(&[0, 1]).expect("two rows");
    let value = |net: &mut Rssm<Cpu>| {
        let mut rng = seeded(9);
        ops::to_f32(&net.loss(&batch, NoneTape, &mut context(&mut rng)).expect("a loss").total)
    };
    let mut buffers = GradientBuffers::default();
    let tape = buffers.tape(&net, &device).expect("a tape");
    let mut rng = seeded(9);
    let loss = net.loss(&batch, tape, &mut context(&mut rng)).expect("a loss");
    let mut gradients = loss.total.backward();
    let mut steepest = Steepest { gradients: &mut gradients, found: Vec::new() };
    net.walk("", &mut steepest).expect("a walk");
    let found = steepest.found;
    assert!(found.len() >= 30, "{} tensors", found.len());
    let mut checked = 0;
    for (name, element, gradient) in found {
        let mut moved = |step: f32| {
            net.walk_mut("", &mut Nudge { name: &name, element, step }).expect("a walk");
            value(&mut net)
        };
        let (up, down) = (moved(STEP), moved(-2.0 * STEP));
        moved(STEP);
        let measured = (up - down) / (2.0 * STEP);
        assert!((measured - gradient).abs() < 1e-3 + 0.02 * gradient.abs(), "{name}: {measured} and {gradient}");
        checked += usize::from(gradient != 0.0);
    }
    assert!(checked >= 30, "only {checked} gradients are not zero");
}

#[test]
fn the_divergence_trains_prior_and_posterior() {
    let device = Cpu::default();
    let config = RssmConfig { deterministic: 4, stochastic: 3, width: 5, free_nats: 0.0, ..RssmConfig::default() };
    let mut net =
        Rssm::new(&device, (3, 2), RssmConfig { overshooting: 0.0, ..config }, &mut seeded(1)).expect("memory");
    let batch = sequences().batch(&[0]).expect("a row");
    let mut buffers = GradientBuffers::default();
    let tape = buffers.tape(&net, &device).expect("a tape");
    let mut rng = seeded(9);
    let loss = net.loss(&batch, tape, &mut context(&mut rng)).expect("a loss");
    let parts: Vec<f32> = loss.parts.iter().map(|(_, value)| *value).collect();
    assert!((ops::to_f32(&loss.total) - parts[0] - parts[2]).abs() < 1e-4, "{parts:?}");
    let gradients = loss.total.backward();
    let norm = |values: Vec<f32>| values.iter().map(|v| v * v).sum::<f32>();
    // The prior is reached by the divergence alone.
    assert!(norm(gradients.get(&net.prior[1].weight).as_vec()) > 0.0);
    assert!(norm(gradients.get(&net.posterior[1].weight).as_vec()) > 0.0);
}
