//! The loss that training descends: its gradient in every weight.

use crate::common::nudge::{Nudge, Steepest};
use genailab::{
    dfdx::prelude::{Backward, Cpu, NoneTape, OwnedTape, Tape},
    model::mean_residual::{MeanBatch, MeanConfig, MeanNet},
    ndarray::Array2,
    nn::{IndexSets, Params, ops, seeded},
    train::{Loss, StepContext, Trainable},
};
use std::sync::Arc;

fn batch() -> MeanBatch {
    let rows: Vec<[u32; 2]> = (0..12).map(|row| [row % 3, 3 + row % 2]).collect();
    MeanBatch {
        levels: Arc::new(IndexSets::from_sets(rows)),
        numbers: Array2::from_shape_fn((12, 2), |(row, n)| ((row * 5 + n * 3) % 7) as f32 / 3.0 - 1.0),
        target: Array2::from_shape_fn((12, 4), |(row, k)| ((row * 3 + k * 2) % 5) as f32 / 2.0 - 1.0),
    }
}

fn loss<T: Tape<f32, Cpu>>(net: &mut MeanNet<Cpu>, batch: &MeanBatch, tape: T) -> Loss<Cpu, T> {
    let mut rng = seeded(9);
    let mut context = StepContext { epoch: 0, step: 0, total_steps: 1, total_epochs: 1, training: true, rng: &mut rng };
    net.loss(batch, tape, &mut context).expect("finite")
}

#[test]
fn every_weight_has_the_gradient_of_the_training_loss() {
    let config = MeanConfig { embedding: 6, hidden: vec![5], dropout: 0.2, ..MeanConfig::default() };
    let mut net = MeanNet::new(&Cpu::default(), (5, 2), 4, &config, &mut seeded(1)).expect("small");
    let batch = batch();
    let zero = net.predict(&batch).expect("metadata");
    assert!(zero.iter().all(|value| *value == 0.0), "an untrained network adds nothing to the linear part");
    // The head starts at zero, where nothing before it has a gradient.
    for element in 0..20 {
        let step = 0.3 - 0.05 * element as f32;
        net.walk_mut("", &mut Nudge { name: "head.weight", element, step }).expect("a walk");
    }
    let mut gradients = loss(&mut net, &batch, OwnedTape::default()).total.backward();
    let mut steepest = Steepest { gradients: &mut gradients, found: Vec::new() };
    net.walk("", &mut steepest).expect("a walk");
    assert!(steepest.found.len() >= 8, "{} tensors", steepest.found.len());
    for (name, element, gradient) in steepest.found {
        let step = 1e-2;
        let mut at = |step: f32| {
            net.walk_mut("", &mut Nudge { name: &name, element, step }).expect("a walk");
            f64::from(ops::to_f32(&loss(&mut net, &batch, NoneTape).total))
        };
        let (above, below) = (at(step), at(-2.0 * step));
        at(step);
        let numeric = (above - below) / (2.0 * f64::from(step));
        let error = (numeric - f64::from(gradient)).abs();
        assert!(
            error < 0.02 * numeric.abs() + 2e-4,
            "{name}[{element}]: gradient {gradient}, finite difference {numeric}"
        );
        assert!(gradient != 0.0, "{name} takes no part");
    }
}
