//! From the visible genes of a cell, the teacher's embedding of the hidden ones.

use super::{Predicted, PretrainNet};
use crate::{
    Result,
    data::Counts,
    model::jepa::{
        config::TeacherSees,
        encoder::Seen,
        heads::Pointer,
        views::{JepaBatch, Patterns},
    },
    nn::{Backend, RowSets, ops},
    train::StepContext,
};
use dfdx::prelude::Tape;
use std::sync::Arc;

impl<D: Backend> PretrainNet<D> {
    pub(super) fn masked<T: Tape<f32, D>>(
        &mut self,
        batch: &JepaBatch,
        tape: T,
        context: &mut StepContext<'_>,
        measure: bool,
    ) -> Result<Predicted<D, T>> {
        let counts = batch.pair(self.config.masks.noise, context.rng);
        let patterns = self.patterns(counts[0].n_cells(), context.rng)?;
        self.masked_of(counts, &patterns, tape, context, measure)
    }

    /// Of the counts that student and teacher see, with the patterns of hidden genes; cells take them in turn.
    pub(in crate::model::jepa) fn masked_of<T: Tape<f32, D>>(
        &mut self,
        [counts, other]: [Counts; 2],
        patterns: &Patterns,
        tape: T,
        context: &mut StepContext<'_>,
        measure: bool,
    ) -> Result<Predicted<D, T>> {
        let rows = counts.n_cells();
        let seen = patterns.context(&counts);
        let z = self.encode(&seen, tape, context)?; // (rows, width)
        let student = ops::download(&z);
        let each = RowSets::uniform(rows, 1);
        let teacher = measure.then(|| self.taught(&seen, &each)).transpose()?.map(|t| ops::download(&t));
        let (of_cell, of_target) = patterns.target_rows();
        let of_cell: Arc<[u32]> = of_cell.iter().map(|&row| row as u32).collect();
        let taught = match self.config.teacher.sees {
            TeacherSees::Target => self.taught(&patterns.targets_seen(&other), &RowSets::uniform(of_cell.len(), 1))?,
            TeacherSees::Cell | TeacherSees::Tokens => {
                D::take_rows(self.taught(&Seen::whole(Arc::new(other)), &each)?, &of_cell)?
            }
        };
        let target = self.target(taught)?; // (rows * targets, width)
        let pointer = Pointer { sets: patterns.target_sets(), of_row: of_target };
        let prediction = self.predict(D::take_rows(z.retaped::<T>(), &of_cell)?, Some(&pointer))?;
        self.compared(z, prediction, &target, student, teacher)
    }
}
