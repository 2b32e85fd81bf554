//! Two disturbed views of a cell: they have the same embedding, or are told from those of other cells.

use super::{Predicted, PretrainNet};
use crate::{
    Result,
    model::jepa::{
        config::ViewNoise,
        views::{JepaBatch, hidden},
    },
    nn::{Backend, Matrix, info_nce, ops, vicreg},
    train::StepContext,
};
use dfdx::prelude::Tape;
use ndarray::Array2;

/// Two views of the cells of a batch.
struct TwoViews<D: Backend, T: Tape<f32, D>> {
    /// What the expander makes of each, `(rows, width)`.
    expanded: [Matrix<D, T>; 2],
    /// The embeddings of the first.
    student: Array2<f32>,
}

impl<D: Backend> PretrainNet<D> {
    pub(super) fn views<T: Tape<f32, D>>(
        &mut self,
        batch: &JepaBatch,
        views: (f64, ViewNoise),
        tape: T,
        context: &mut StepContext<'_>,
    ) -> Result<Predicted<D, T>> {
        let TwoViews { expanded: [a, b], student } = self.two_views(batch, views, tape, context)?;
        let loss = vicreg::invariance(a.retaped::<T>(), b.retaped::<T>())?;
        Ok(Predicted { loss, apart: vec![a, b], student, teacher: None })
    }

    /// The negatives hold the embeddings apart.
    pub(super) fn told_apart<T: Tape<f32, D>>(
        &mut self,
        batch: &JepaBatch,
        (views, temperature): ((f64, ViewNoise), f32),
        tape: T,
        context: &mut StepContext<'_>,
    ) -> Result<Predicted<D, T>> {
        let TwoViews { expanded: [a, b], student } = self.two_views(batch, views, tape, context)?;
        Ok(Predicted { loss: info_nce(a, b, temperature)?, apart: Vec::new(), student, teacher: None })
    }

    fn two_views<T: Tape<f32, D>>(
        &mut self,
        batch: &JepaBatch,
        (gene_dropout, noise): (f64, ViewNoise),
        tape: T,
        context: &mut StepContext<'_>,
    ) -> Result<TwoViews<D, T>> {
        let patterns = self.config.masks.patterns;
        let [a, b] = batch.pair(noise, context.rng).map(|counts| hidden(&counts, gene_dropout, patterns, context.rng));
        let (a, b) = (self.encode(&a, tape, context)?, self.encode(&b, T::default(), context)?);
        let student = ops::download(&a);
        // VICReg's expander: the losses are taken behind it, the embedding is what comes before.
        Ok(TwoViews { expanded: [self.predict(a, None)?, self.predict(b, None)?], student })
    }
}
