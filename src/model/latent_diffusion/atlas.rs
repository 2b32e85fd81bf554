//! What is known of conditions: where their control cells are, where their own cells are, what their genes do.

use super::space::{mean_of, square};
use crate::{
    Error, Result,
    data::{Condition, Counts, EffectTable, Perturbation, in_context},
    math::{directions, sum_factor},
    model::{CellCovariates, combination::CombinationModel},
};
use ndarray::{Array1, Array2, Axis, concatenate};
use std::collections::BTreeMap;

/// Control cells of a context that predictions take lanes and library sizes from.
const CARRIERS: usize = 1024;
/// Fewer cells of a condition have no mean of their own in the latent space.
const FEWEST_CELLS: usize = 5;

/// Everything of the training fold that a prediction refers to.
#[derive(Debug, Clone)]
pub(super) struct Atlas {
    /// What predicts mean effects.
    pub combination: CombinationModel,
    pub homes: BTreeMap<Option<String>, Home>,
    pub trained: BTreeMap<Condition, Trained>,
    /// Factor on the sum of the shifts of a combination's genes.
    pub factor: f64,
    /// Directions of effects, `(directions, genes)`.
    pub basis: Array2<f64>,
    /// What scores on them are divided by.
    pub scale: f64,
}

/// What is known of a context: its control cells.
#[derive(Debug, Clone)]
pub(super) struct Home {
    /// Mean point of the control cells, `(dims,)`.
    pub point: Array1<f64>,
    /// Mean log-normalised expression of the control cells, `(genes,)`.
    pub profile: Array1<f64>,
    /// Lanes and library sizes of control cells.
    pub carriers: Vec<CellCovariates>,
}

/// What is known of a condition that was trained on.
#[derive(Debug, Clone)]
pub(super) struct Trained {
    /// Mean point less that of its control, `(dims,)`.
    pub shift: Array1<f64>,
    /// Mean log-normalised expression, `(genes,)`.
    pub profile: Array1<f64>,
    /// Number of cells.
    pub cells: usize,
}

impl Atlas {
    /// Of training cells: the rows of each condition, their points `z` (`place` says where a row's stands) and what else
    /// each has; `effects` `(conditions, genes)` are the mean effects that the network is told of by their directions.
    ///
    /// # Errors
    /// Effects that are all zero: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn new(
        combination: CombinationModel,
        prototypes: &EffectTable,
        most_directions: usize,
        (rows_of, expression): (&BTreeMap<Condition, Vec<usize>>, &Counts),
        (z, place, carriers): (&Array2<f32>, &BTreeMap<usize, usize>, &[CellCovariates]),
    ) -> Result<Self> {
        let mean_point = |rows: &[usize]| -> Array1<f64> {
            let places: Vec<usize> = rows.iter().map(|row| place[row]).collect();
            z.select(Axis(0), &places).mapv(f64::from).mean_axis(Axis(0)).expect("a condition has a cell")
        };
        let (mut homes, mut trained) = (BTreeMap::new(), BTreeMap::new());
        for (condition, rows) in rows_of.iter().filter(|(condition, _)| condition.perturbation.is_control()) {
            let carriers = rows.iter().map(|row| carriers[place[row]]).take(CARRIERS).collect();
            let home = Home { point: mean_point(rows), profile: mean_of(expression, rows), carriers };
            homes.insert(condition.context.clone(), home);
        }
        for (condition, rows) in rows_of {
            let Some(home) = homes.get(&condition.context).filter(|_| rows.len() >= FEWEST_CELLS) else { continue };
            let (shift, profile) = (mean_point(rows) - &home.point, mean_of(expression, rows));
            trained.insert(condition.clone(), Trained { shift, profile, cells: rows.len() });
        }
        let effects = prototypes.effects.mapv(f64::from);
        let basis = directions(&effects, most_directions)?;
        let scale = effects.dot(&basis.t()).mapv(|score| score * score).mean().unwrap_or(1.0).sqrt();
        Ok(Self { combination, factor: factor(&trained), homes, trained, basis, scale })
    }

    /// Numbers that the network is told of a condition.
    pub fn width(&self) -> usize {
        let dims = self.homes.values().next().map_or(0, |home| home.point.len());
        self.basis.nrows() + if self.homes.len() == 1 { 0 } else { dims }
    }

    /// What the network is told of a condition: the scores of its predicted effect, and where its control cells are.
    ///
    /// # Errors
    /// Genes that nothing is known of; no control cell of its context: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn told(&self, condition: &Condition) -> Result<Array1<f32>> {
        let home = self.home(condition)?;
        let effect = match condition.perturbation.is_control() {
            true => Array1::zeros(self.basis.ncols()),
            false => self.combination.effect(condition)?,
        };
        let scores = self.basis.dot(&effect) / self.scale;
        let told = match self.homes.len() {
            1 => scores,
            _ => concatenate![Axis(0), scores, home.point],
        };
        Ok(told.mapv(|value| value as f32))
    }

    /// The context of a condition.
    ///
    /// # Errors
    /// No control cell of it was trained on: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn home(&self, condition: &Condition) -> Result<&Home> {
        let none = || Error::inapplicable(format!("{condition}: no control cell of its context was trained on"));
        self.homes.get(&condition.context).ok_or_else(none)
    }

    /// The mean point of a condition, `(dims,)`: as it was trained, or from its genes.
    pub fn center(&self, condition: &Condition) -> Result<Array1<f64>> {
        let home = self.home(condition)?;
        if let Some(trained) = self.trained.get(condition) {
            return Ok(&home.point + &trained.shift);
        }
        let genes = condition.perturbation.genes();
        let factor = if genes.len() > 1 { self.factor } else { 1.0 };
        let mut center = home.point.clone();
        for gene in genes {
            // A gene that was never perturbed alone shifts the mean expression, not the latents.
            if let Some(shift) = shift_of(&self.trained, gene, condition.context.as_ref()) {
                center.scaled_add(factor, &shift);
            }
        }
        Ok(center)
    }
}

/// The rows of each condition.
pub(super) fn grouped(rows: &[usize], conditions: &[Condition]) -> BTreeMap<Condition, Vec<usize>> {
    let mut rows_of: BTreeMap<Condition, Vec<usize>> = BTreeMap::new();
    rows.iter().for_each(|&row| rows_of.entry(conditions[row].clone()).or_default().push(row));
    rows_of
}

/// The shift of a gene that was perturbed alone: in the context, else the mean over the others.
fn shift_of(trained: &BTreeMap<Condition, Trained>, gene: &str, context: Option<&String>) -> Option<Array1<f64>> {
    in_context(trained, &Perturbation::of([gene]), context, |known| &known.shift)
}

/// The factor on the sum of shifts that serves the training combinations best, within 0 to 1.5; 1 where there is none.
fn factor(trained: &BTreeMap<Condition, Trained>) -> f64 {
    let (mut along, mut size) = (0.0, 0.0);
    for (condition, known) in trained.iter().filter(|(condition, _)| condition.perturbation.genes().len() > 1) {
        let genes = condition.perturbation.genes();
        let parts: Option<Vec<Array1<f64>>> =
            genes.iter().map(|gene| shift_of(trained, gene, condition.context.as_ref())).collect();
        let Some(parts) = parts else { continue };
        let sum = parts.iter().fold(Array1::zeros(known.shift.len()), |sum, part| sum + part);
        along += sum.dot(&known.shift);
        size += square(sum.view());
    }
    sum_factor(along, size)
}
