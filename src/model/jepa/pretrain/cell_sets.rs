//! From some cells of a condition, the teacher's embedding of others.

use super::{Predicted, PretrainNet};
use crate::{
    Result,
    model::jepa::{
        encoder::Seen,
        views::{JepaBatch, halves},
    },
    nn::{Backend, ops},
    train::StepContext,
};
use dfdx::prelude::Tape;
use std::sync::Arc;

impl<D: Backend> PretrainNet<D> {
    pub(super) fn conditions<T: Tape<f32, D>>(
        &mut self,
        batch: &JepaBatch,
        tape: T,
        context: &mut StepContext<'_>,
        measure: bool,
    ) -> Result<Predicted<D, T>> {
        let counts = batch.normalised();
        let [(first, first_sets), (second, second_sets)] = halves(&batch.objects, context.rng);
        let seen = Seen::whole(Arc::new(counts.select_cells(&first)));
        let cells = self.encode(&seen, tape, context)?;
        let z = self.student.pooled(cells, &first_sets)?; // (objects, width)
        let student = ops::download(&z);
        let teacher = measure.then(|| self.taught(&seen, &first_sets)).transpose()?.map(|t| ops::download(&t));
        let target = self.taught(&Seen::whole(Arc::new(counts.select_cells(&second))), &second_sets)?;
        let target = self.target(target)?;
        let prediction = self.predict(z.retaped::<T>(), None)?;
        self.compared(z, prediction, &target, student, teacher)
    }
}
