//! I-JEPA's form: from the visible gene groups of a cell (or its visible genes), the teacher's output tokens at the hidden ones.
//!
//! ```text
//! C = f(x without the hidden places)               student's tokens of the visible places
//! S = LN(f'(x))                                    teacher's tokens of the whole cell; no gradient
//! loss = D(g(C, k), S_k) over the hidden places k  +  D(h(z_C), LN(z'_x))
//! ```
//!
//! The second term is of the embeddings: z_C is read out of the visible tokens, z'_x out of all of the teacher's. Without
//! it nothing but the anti-collapse terms would train the readout.

use super::{Predicted, PretrainNet};
use crate::{
    Error, Result,
    data::Counts,
    model::jepa::{encoder::Seen, views::JepaBatch},
    nn::{Backend, IndexSets, RowSets, ops},
    train::StepContext,
};
use dfdx::prelude::{HasShape, NoneTape, Tape};
use std::sync::Arc;

fn no_places() -> Error {
    Error::config("teacher.sees = tokens needs an encoder whose tokens have places")
}

impl<D: Backend> PretrainNet<D> {
    pub(super) fn hidden_places<T: Tape<f32, D>>(
        &mut self,
        batch: &JepaBatch,
        tape: T,
        context: &mut StepContext<'_>,
    ) -> Result<Predicted<D, T>> {
        let counts = batch.pair(self.config.masks.noise, context.rng);
        let encoder = self.student.encoder.as_transformer().ok_or_else(no_places)?;
        let (place_of, n_places) = (encoder.place_of_genes(), encoder.identity.shape().0);
        let masks =
            self.masks.as_ref().ok_or_else(|| Error::config("this objective hides genes; set the masks first"))?;
        let patterns = self.config.masks.patterns.min(counts[0].n_cells()).max(1);
        let drawn: Vec<_> = (0..patterns).map(|_| masks.draw_places(&place_of, n_places, context.rng)).collect();
        self.hidden_places_of(counts, &drawn, tape, context)
    }

    /// Of the counts that student and teacher see, with the hidden places and the places of each target of each pattern; cells
    /// take the patterns in turn.
    pub(in crate::model::jepa) fn hidden_places_of<T: Tape<f32, D>>(
        &mut self,
        [counts, whole]: [Counts; 2],
        drawn: &[(Vec<u32>, Vec<Vec<u32>>)],
        tape: T,
        context: &mut StepContext<'_>,
    ) -> Result<Predicted<D, T>> {
        let (rows, patterns) = (counts.n_cells(), drawn.len());
        let encoder = self.student.encoder.as_transformer().ok_or_else(no_places)?;
        let (place_of, n_places) = (encoder.place_of_genes(), encoder.identity.shape().0);
        let genes_of = |places: &Vec<u32>| -> Vec<u32> {
            let hidden = |gene: &u32| places.binary_search(&place_of[*gene as usize]).is_ok();
            (0..place_of.len() as u32).filter(hidden).collect()
        };
        let hidden = IndexSets::from_sets(drawn.iter().map(|(hidden, _)| genes_of(hidden)));
        let of_row: Arc<[u32]> = (0..rows).map(|row| (row % patterns) as u32).collect();
        let cells: Vec<usize> = (0..rows).collect();
        let seen = encoder.visible(&Seen::masked(&counts, &cells, Arc::new(hidden), of_row))?;
        let rng = context.training.then_some(&mut *context.rng);
        let tokens = encoder.tokens(&seen, tape, rng)?;
        let z = encoder.embedding(tokens.retaped::<T>(), &seen)?; // (rows, width)
        let student = ops::download(&z);

        let teacher =
            self.teacher.as_ref().and_then(|teacher| teacher.0.encoder.as_transformer()).ok_or_else(no_places)?;
        let all = teacher.visible(&Seen::whole(Arc::new(whole)))?;
        let taught = teacher.tokens(&all, NoneTape, None)?; // (rows * places, tokens)
        let embedded = teacher.embedding(taught.clone(), &all)?;

        // Of each row the places of its targets: which query, and which row of the teacher's tokens. A place whose genes the
        // data does not have has no token.
        let per_row = all.sets.size(0) as u32;
        let mut row_of = vec![None; n_places];
        (0..per_row).for_each(|row| row_of[all.place[row as usize] as usize] = Some(row));
        let (mut query, mut target, mut sizes) = (Vec::new(), Vec::new(), Vec::with_capacity(rows));
        for row in 0..rows {
            let mut places: Vec<u32> = drawn[row % patterns].1.concat();
            places.sort_unstable();
            places.dedup();
            places.retain(|&place| row_of[place as usize].is_some());
            target.extend(places.iter().filter_map(|&place| Some(row as u32 * per_row + row_of[place as usize]?)));
            sizes.push(places.len());
            query.extend(places);
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
