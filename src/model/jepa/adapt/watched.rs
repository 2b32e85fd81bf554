//! Phase B, watched by how far predictions are off: the likelihood of counts would hide it.

use crate::{
    Result,
    model::jepa::{
        LossWeights,
        response::{EndToEnd, SetBatch},
    },
    nn::{Backend, Params, Visitor, VisitorMut, init, movable},
    train::{Loss, StepContext, Trainable},
};
use dfdx::prelude::{HasShape, PutTape, SplitTape, Tape};

/// Student, teacher, predictor and decoder; the loss of validation sets is `w_e distance + w_m means + w_p profile`.
#[derive(Debug, Clone)]
pub struct Watched<D: Backend> {
    net: EndToEnd<D>,
    weights: LossWeights,
}

impl<D: Backend> Watched<D> {
    pub fn new(net: EndToEnd<D>, weights: LossWeights) -> Self {
        Self { net, weights }
    }

    pub fn into_inner(self) -> EndToEnd<D> {
        self.net
    }
}

impl<D: Backend> Params<D> for Watched<D> {
    fn walk<V: Visitor<D>>(&self, path: &str, visitor: &mut V) -> Result<()> {
        self.net.walk(path, visitor)
    }
    fn walk_mut<V: VisitorMut<D>>(&mut self, path: &str, visitor: &mut V) -> Result<()> {
        self.net.walk_mut(path, visitor)
    }
}

movable!(Watched { moved: [net], kept: [weights] });

impl<D: Backend> Trainable<D> for Watched<D> {
    type Batch = SetBatch;

    fn loss<T: Tape<f32, D>>(
        &mut self,
        batch: &SetBatch,
        tape: T,
        context: &mut StepContext<'_>,
    ) -> Result<Loss<D, T>> {
        let Loss { total, parts } = self.net.loss(batch, tape, context)?;
        if context.training {
            return Ok(Loss { total, parts });
        }
        let LossWeights { energy, means, profile, .. } = self.weights;
        let of = |name: &str| parts.iter().find(|(part, _)| *part == name).map_or(0.0, |(_, value)| *value);
        // The first part is the distance of predicted to observed cells, whatever they are paired by.
        let distance = parts.first().map_or(0.0, |(_, value)| *value);
        let watched = energy * distance + means * of("means") + profile * of("profile");
        let (total, tape) = total.split_tape();
        Ok(Loss { total: init::constant(total.device(), *total.shape(), watched)?.put_tape(tape), parts })
    }

    fn after_step(&mut self, context: &StepContext<'_>) -> Result<()> {
        self.net.after_step(context)
    }
}
