//! The answers to a task: those of a predictor, with control cells shifted by its effect where it predicts means only, and
//! those of the noise ceiling.
//!
//! The noise ceiling is half of a condition's held-out cells as the prediction of the other half.
//!
//! It is the technical duplicate of Mejia et al. 2025 (`diversity_by_design`): what a second experiment of half the size
//! would predict. Three things to keep in mind:
//!
//! - Both halves are compared with the same control cells, as every model's effect is, so the control's sampling error
//!   stands on both sides: it cancels in differences and adds to correlations against control.
//! - Each half holds half of the cells. With a variance of s2 per cell, the squared error between two halves of n cells
//!   is 4 s2 / n a gene, where a model that knew the true mean would have s2 / n against all n. So the ceiling is a
//!   strong prediction, not a bound: a model that averages over many cells may pass it on conditions of few cells.
//! - An effects dataset holds no cells, so there it is absent.

use super::{MOST_CELLS, ObservedCells, ObservedEffects, Predicted, Task, task::draw};
use crate::{
    Error, ErrorKind, Result,
    data::{mean_expression, shuffle},
    predict::{Fitted, Predictor},
};
use ndarray::{Array1, Array2, ArrayView1};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::time::Instant;

/// Name of the noise ceiling in tables.
pub const CEILING: &str = "noise_ceiling";
/// What the noise ceiling is, in a sentence.
pub(super) const CEILING_DESCRIPTION: &str =
    "Half of the held-out cells as the prediction of the other half (technical duplicate; Mejia et al. 2025)";
/// Fewest held-out cells that are halved: half of fewer is one cell, which has no spread.
pub(super) const FEWEST_HALVED: usize = 4;

/// What a predictor answered, and how long it took.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The answers.
    pub predicted: Predicted,
    /// Whether the cells are the predictor's own, for at least one condition.
    pub draws_cells: bool,
    /// Seconds of the fit.
    pub fit_seconds: f64,
    /// Seconds of the predictions.
    pub predict_seconds: f64,
}

impl Answer {
    /// No answer to any condition of a task, for `reason`.
    pub(super) fn none(task: &Task, model: &str, reason: &str) -> Self {
        let n = task.observed.conditions.len();
        let predicted = Predicted {
            model: model.to_owned(),
            effects: vec![Err(reason.to_owned()); n],
            cells: vec![Err(reason.to_owned()); n],
        };
        Self { predicted, draws_cells: false, fit_seconds: 0.0, predict_seconds: 0.0 }
    }
}

/// A predictor's answer for one condition, or the reasons why there is none.
struct Prediction {
    effect: Result<Array1<f32>, String>,
    cells: Result<Array2<f32>, String>,
    /// Whether the cells are the predictor's own, not shifted control cells.
    own_cells: bool,
}

impl Prediction {
    fn absent(reason: &str) -> Self {
        Self { effect: Err(reason.to_owned()), cells: Err(reason.to_owned()), own_cells: false }
    }
}

impl Task {
    /// Fits `predictor` and predicts every judged condition; where it has no prediction, the reason is kept.
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
        self.answer_and(predictor, |_| Ok(())).map(|(answer, _)| answer)
    }

    /// As [`Task::answer`], and what `also` asks of the fitted predictor, where it could be fitted. The time of that is
    /// not counted.
    pub(super) fn answer_and<T>(
        &self,
        predictor: &dyn Predictor,
        also: impl FnOnce(&dyn Fitted) -> Result<T>,
    ) -> Result<(Answer, Option<T>)> {
        let n = self.observed.conditions.len();
        let model = predictor.name().to_owned();
        let start = Instant::now();
        let fitted = reasoned(predictor.fit(&self.training)).map_err(|error| error.at(&model))?;
        let fit_seconds = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let (mut effects, mut cells, mut draws_cells) = (Vec::with_capacity(n), Vec::with_capacity(n), false);
        for index in 0..n {
            let prediction = match &fitted {
                Ok(fitted) => self.ask(fitted.as_ref(), index).map_err(|error| error.at(&model))?,
                Err(reason) => Prediction::absent(reason),
            };
            effects.push(prediction.effect);
            cells.push(prediction.cells);
            draws_cells |= prediction.own_cells;
        }
        let predict_seconds = start.elapsed().as_secs_f64();
        let asked = fitted.ok().map(|fitted| also(fitted.as_ref())).transpose().map_err(|error| error.at(&model))?;
        let predicted = Predicted { model, effects, cells };
        Ok((Answer { predicted, draws_cells, fit_seconds, predict_seconds }, asked))
    }

    /// The effect and the cells of one condition, or the reasons why there are none.
    fn ask(&self, fitted: &dyn Fitted, index: usize) -> Result<Prediction> {
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
            let cells = Err("the dataset holds effects, so there are no cells to compare".to_owned());
            return Ok(Prediction { effect, cells, own_cells: false });
        };
        let n = observed.rows[index].len();
        let own = fitted.cells(condition, n, self.seed_of(index, "cells"));
        let own_cells = own.is_some();
        let cells = match own {
            Some(cells) => reasoned(cells)?,
            None => effect.as_ref().map(|effect| self.shifted(index, effect.view())).map_err(Clone::clone),
        };
        if let Ok(cells) = &cells {
            fits(cells.ncols())?;
        }
        Ok(Prediction { effect, cells, own_cells })
    }

    /// Control cells of a condition's context, shifted by an effect and cut off at zero, `(cells, genes)`.
    fn shifted(&self, index: usize, effect: ArrayView1<'_, f32>) -> Array2<f32> {
        let observed = self.observed.cells.as_ref().expect("called for a dataset of cells only");
        let rows = draw(&observed.control_rows[index], observed.rows[index].len(), self.seed_of(index, "control"));
        let mut cells = observed.expression.select_cells(&rows).to_dense();
        // Z-scores and log ratios have no floor.
        let least = if cells.iter().any(|&value| value < 0.0) { f32::NEG_INFINITY } else { 0.0 };
        for mut cell in cells.rows_mut() {
            cell.zip_mut_with(&effect, |value, shift| *value = (*value + shift).max(least));
        }
        cells
    }

    /// The noise ceiling's answers and what they are judged by.
    pub fn ceiling(&self) -> (ObservedEffects, Predicted) {
        halves(self)
    }

    /// A seed of its own for each condition and purpose, the same for every model.
    pub(super) fn seed_of(&self, index: usize, purpose: &str) -> u64 {
        let name = format!("{} {} {purpose}", self.training.seed, self.observed.conditions[index]);
        // FNV-1a: the standard library's hasher may change between versions.
        name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }
}

/// What does not apply is an answer, too: the reason.
pub(super) fn reasoned<T>(result: Result<T>) -> Result<Result<T, String>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) if error.kind() == ErrorKind::Inapplicable => Ok(Err(error.to_string())),
        Err(error) => Err(error),
    }
}

/// Why a condition has no noise ceiling.
pub(super) fn too_few_to_halve() -> String {
    format!("fewer than {FEWEST_HALVED} cells were held out, so they cannot be halved")
}

/// The two halves of the held-out cells: one as the truth, the other as the prediction.
fn halves(task: &Task) -> (ObservedEffects, Predicted) {
    let mut observed = task.observed.clone();
    let n = observed.conditions.len();
    let absent = |reason: &str| Predicted {
        model: CEILING.to_owned(),
        effects: vec![Err(reason.to_owned()); n],
        cells: vec![Err(reason.to_owned()); n],
    };
    let (Some(cells), Some(controls)) = (&task.observed.cells, &task.observed.controls) else {
        return (observed, absent("an effects dataset holds no cells that could be halved"));
    };
    let mut predicted = absent(&too_few_to_halve());
    let mut judged = ObservedCells { rows: cells.rows.clone(), ..cells.clone() };
    for (index, rows) in task.held_out.iter().enumerate().filter(|(_, rows)| rows.len() >= FEWEST_HALVED) {
        let mut rows = rows.clone();
        shuffle(&mut rows, &mut ChaCha8Rng::seed_from_u64(task.seed_of(index, "halves")));
        let mut other = rows.split_off(rows.len() / 2);
        let control = controls.row(index);
        observed.effects.row_mut(index).assign(&(mean_expression(&cells.expression, &other) - control));
        predicted.effects[index] = Ok(mean_expression(&cells.expression, &rows) - control);
        rows.truncate(MOST_CELLS);
        other.truncate(MOST_CELLS);
        other.sort_unstable();
        predicted.cells[index] = Ok(cells.expression.select_cells(&rows).to_dense());
        judged.rows[index] = other;
    }
    observed.cells = Some(judged);
    (observed, predicted)
}
