//! The loss that a VAE is trained on, for finite differences of it.

use genailab::{
    dfdx::prelude::{Cpu, Tape},
    model::{VaeBatch, VaeNet},
    train::{Loss, StepContext, Trainable},
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The loss of a training step, with dropout and always with the same random numbers, so that it is a function of the
/// weights alone.
pub fn training_loss<T: Tape<f32, Cpu>>(net: &mut VaeNet<Cpu>, batch: &VaeBatch, tape: T) -> Loss<Cpu, T> {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let mut context = StepContext { epoch: 0, step: 0, total_steps: 1, total_epochs: 1, training: true, rng: &mut rng };
    net.loss(batch, tape, &mut context).expect("finite")
}
