//! A predictor's answers to a task, and the cells that stand for a predictor of means.

use super::{Predicted, Task, ceiling, task::draw};
use crate::{
    Error, ErrorKind, Result,
    predict::{Fitted, Predictor},
};
use ndarray::{Array1, Array2, ArrayView1};
use std::time::Instant;

/// Most cells of a condition that are compared as sets, observed and predicted: beyond, distances of sets hardly change
/// and their cost grows with the square.
pub const MOST_CELLS: usize = 2_000;

/// What a predictor answered, and how long it took.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The answers.
    pub predicted: Predicted,
    /// Seconds of the fit.
    pub fit_seconds: f64,
    /// Seconds of the predictions.
    pub predict_seconds: f64,
}

impl Task {
    /// Fits `predictor` and asks it for every judged condition; what it cannot do is kept as a reason.
    ///
    /// A predictor that has no cells of its own is given control cells of the condition's context, as many as were held
    /// out (at most [`MOST_CELLS`], and no cell twice), each shifted by the predicted effect and cut off at zero: what
    /// scGen does in its latent space, done in expression. The cut raises the mean of genes that control hardly
    /// expresses, so metrics of means use the effect itself. All predictors of means get the same control cells.
    ///
    /// # Errors
    /// Whatever is not a matter of being applicable: a loss that is not finite, an interruption, a file.
    pub fn predict(&self, predictor: &dyn Predictor) -> Result<Predicted> {
        self.answer(predictor).map(|answer| answer.predicted)
    }

    /// As [`Task::predict`], with the time it took.
    ///
    /// # Errors
    /// As [`Task::predict`].
    pub fn answer(&self, predictor: &dyn Predictor) -> Result<Answer> {
        let n = self.observed.conditions.len();
        let model = predictor.name().to_owned();
        let start = Instant::now();
        let fitted = reasoned(predictor.fit(&self.training)).map_err(|error| error.at(&model))?;
        let fit_seconds = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let (mut effects, mut cells) = (Vec::with_capacity(n), Vec::with_capacity(n));
        for index in 0..n {
            let (effect, set) = match &fitted {
                Ok(fitted) => self.ask(fitted.as_ref(), index).map_err(|error| error.at(&model))?,
                Err(reason) => (Err(reason.clone()), Err(reason.clone())),
            };
            effects.push(effect);
            cells.push(set);
        }
        let predicted = Predicted { model, effects, cells };
        Ok(Answer { predicted, fit_seconds, predict_seconds: start.elapsed().as_secs_f64() })
    }

    /// The effect and the cells of one condition, or the reasons why there are none.
    #[expect(clippy::type_complexity, reason = "the two fields of `Predicted`, an element each")]
    fn ask(
        &self,
        fitted: &dyn Fitted,
        index: usize,
    ) -> Result<(Result<Array1<f32>, String>, Result<Array2<f32>, String>)> {
        let condition = &self.observed.conditions[index];
        let genes = self.observed.genes.len();
        let fits = |found: usize| match found == genes {
            true => Ok(()),
            false => Err(Error::shape("prediction of a condition", found, genes)),
        };
        let mut effect = reasoned(fitted.effect(condition))?;
        if let Ok(values) = &effect {
            fits(values.len())?;
            if let Some(gene) = values.iter().position(|value| !value.is_finite()) {
                let gene = &self.observed.genes[gene];
                effect = Err(format!("the predicted effect is not finite (as of the gene {gene})"));
            }
        }
        let Some(observed) = &self.observed.cells else {
            return Ok((effect, Err("the dataset holds effects, so there are no cells to compare".to_owned())));
        };
        let n = observed.rows[index].len();
        let cells = match fitted.cells(condition, n, self.seed_of(index, "cells")) {
            Some(cells) => reasoned(cells)?,
            None => effect.as_ref().map(|effect| self.shifted(index, effect.view())).map_err(Clone::clone),
        };
        if let Ok(cells) = &cells {
            fits(cells.ncols())?;
        }
        Ok((effect, cells))
    }

    /// Control cells of a condition's context, shifted by an effect and cut off at zero, `(cells, genes)`.
    fn shifted(&self, index: usize, effect: ArrayView1<'_, f32>) -> Array2<f32> {
        let observed = self.observed.cells.as_ref().expect("asked for with cells only");
        let rows = draw(&observed.control_rows[index], observed.rows[index].len(), self.seed_of(index, "control"));
        let mut cells = observed.expression.select_cells(&rows).to_dense();
        for mut cell in cells.rows_mut() {
            cell.zip_mut_with(&effect, |value, shift| *value = (*value + shift).max(0.0));
        }
        cells
    }

    /// The noise ceiling's answers and what they are judged by.
    pub fn ceiling(&self) -> (super::Observed, Predicted) {
        ceiling::halves(self)
    }

    /// A seed of its own for each condition and purpose, the same for every model.
    pub(super) fn seed_of(&self, index: usize, purpose: &str) -> u64 {
        let name = format!("{} {} {purpose}", self.training.seed, self.observed.conditions[index]);
        // FNV-1a: the standard library's hasher may change between versions.
        name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }
}

/// What does not apply is an answer, too: the reason.
fn reasoned<T>(result: Result<T>) -> Result<Result<T, String>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) if error.kind() == ErrorKind::Inapplicable => Ok(Err(error.to_string())),
        Err(error) => Err(error),
    }
}
