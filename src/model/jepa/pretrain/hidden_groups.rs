//! I-JEPA's form: from the visible gene groups of a cell, the teacher's output tokens at the hidden groups.
//!
//! ```text
//! C = f(x without the hidden groups)               student's tokens of the visible groups
//! S = LN(f'(x))                                    teacher's tokens of the whole cell; no gradient
//! loss = D(g(C, k), S_k) over the hidden groups k  +  D(h(z_C), LN(z'_x))
//! ```
//!
//! The second term is of the embeddings: z_C is read out of the visible tokens, z'_x out of all of the teacher's. Without
//! it nothing but the anti-collapse terms would train the readout.

use super::{Predicted, PretrainNet};
use crate::{
    Error, Result,
    model::jepa::{encoder::Seen, views::JepaBatch},
    nn::{Backend, IndexSets, RowSets, ops},
    train::StepContext,
};
use dfdx::prelude::{HasShape, NoneTape, Tape};
use std::sync::Arc;

impl<D: Backend> PretrainNet<D> {
    pub(super) fn hidden_groups<T: Tape<f32, D>>(
        &mut self,
        batch: &JepaBatch,
        tape: T,
        context: &mut StepContext<'_>,
    ) -> Result<Predicted<D, T>> {
        let [counts, whole] = batch.pair(self.config.masks.noise, context.rng);
        let rows = counts.n_cells();
        let no_groups = || Error::config("teacher.sees = tokens needs an encoder of gene-group tokens");
        let encoder = self.student.encoder.as_groups().ok_or_else(no_groups)?;
        let (group_of, n_groups) = (encoder.groups(), encoder.position.shape().0);
        let masks =
            self.masks.as_ref().ok_or_else(|| Error::config("this objective hides genes; set the masks first"))?;
        let patterns = self.config.masks.patterns.min(rows).max(1);
        let drawn: Vec<(Vec<u32>, Vec<Vec<u32>>)> =
            (0..patterns).map(|_| masks.draw_groups(&group_of, n_groups, context.rng)).collect();

        let genes_of = |groups: &Vec<u32>| -> Vec<u32> {
            let hidden = |gene: &u32| groups.binary_search(&group_of[*gene as usize]).is_ok();
            (0..group_of.len() as u32).filter(hidden).collect()
        };
        let hidden = IndexSets::from_sets(drawn.iter().map(|(hidden, _)| genes_of(hidden)));
        let of_row: Arc<[u32]> = (0..rows).map(|row| (row % patterns) as u32).collect();
        let cells: Vec<usize> = (0..rows).collect();
        let seen = encoder.visible(&Seen::masked(&counts, &cells, Arc::new(hidden), of_row))?;
        let rng = context.training.then_some(&mut *context.rng);
        let tokens = encoder.tokens(&seen, tape, rng)?;
        let z = encoder.embedding(tokens.retaped::<T>(), &seen)?; // (rows, width)
        let student = ops::download(&z);

        let teacher = self.teacher.as_ref().and_then(|teacher| teacher.0.encoder.as_groups()).ok_or_else(no_groups)?;
        let all = teacher.visible(&Seen::whole(Arc::new(whole)))?;
        let taught = teacher.tokens(&all, NoneTape, None)?; // (rows * groups, tokens)
        let embedded = teacher.embedding(taught.clone(), &all)?;

        // Of each row the groups of its targets: which query, and which row of the teacher's tokens.
        let (mut query, mut target, mut sizes) = (Vec::new(), Vec::new(), Vec::with_capacity(rows));
        for row in 0..rows {
            let mut groups: Vec<u32> = drawn[row % patterns].1.concat();
            groups.sort_unstable();
            groups.dedup();
            target.extend(groups.iter().map(|&group| (row * n_groups) as u32 + group));
            sizes.push(groups.len());
            query.extend(groups);
        }
        let predictor = self.tokens.as_ref().expect("made for this objective");
        let predicted = predictor.forward(tokens, &seen.sets, &query.into(), &RowSets::from_sizes(sizes))?;
        let taught = self.target(D::take_rows(taught, &target.into())?)?;
        let loss = self.config.loss.forward(predicted, &taught)?;
        let of_cell = self.predict(z.retaped::<T>(), None)?;
        let of_cell = self.config.loss.forward(of_cell, &self.target(embedded.clone())?)?;
        let loss = ops::add_scaled(loss, of_cell, 1.0)?;
        Ok(Predicted { loss, apart: vec![z], student, teacher: Some(ops::download(&embedded)) })
    }
}
