//! Two disturbed views of a cell have the same embedding.

use super::{Predicted, PretrainNet};
use crate::{
    Result,
    model::jepa::{
        config::ViewNoise,
        views::{JepaBatch, hidden},
    },
    nn::{Backend, ops, vicreg},
    train::StepContext,
};
use dfdx::prelude::Tape;

impl<D: Backend> PretrainNet<D> {
    pub(super) fn views<T: Tape<f32, D>>(
        &mut self,
        batch: &JepaBatch,
        (gene_dropout, noise): (f64, ViewNoise),
        tape: T,
        context: &mut StepContext<'_>,
    ) -> Result<Predicted<D, T>> {
        let patterns = self.config.masks.patterns;
        let [a, b] = batch.pair(noise, context.rng).map(|counts| hidden(&counts, gene_dropout, patterns, context.rng));
        let (a, b) = (self.encode(&a, tape, context)?, self.encode(&b, T::default(), context)?);
        let student = ops::download(&a);
        // VICReg's expander: the losses are taken behind it, the embedding is what comes before.
        let (a, b) = (self.predict(a, None)?, self.predict(b, None)?);
        let loss = vicreg::invariance(a.retaped::<T>(), b.retaped::<T>())?;
        Ok(Predicted { loss, apart: vec![a, b], student, teacher: None })
    }
}
