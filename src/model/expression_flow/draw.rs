//! Cells drawn from a trained model, and how often they are 0.

use super::{ExpressionFlow, ExpressionSampling, encoding::conditions};
use crate::{
    Error, Result,
    data::{Condition, Dataset, Perturbation},
    math::seeds::{derived, stream},
    model::{Generated, Sampling, Trained},
};
use ndarray::{Array1, Array2, Axis};
use rand::Rng;
use serde::{Deserialize, Serialize};

/// Purposes of random streams.
const LIBRARIES: u64 = 4;
const NOISE: u64 = 5;

/// Cells to draw: one for each perturbation and library size.
#[derive(Debug, Clone, Copy)]
pub struct CellDraw<'a> {
    /// Of each cell.
    pub perturbations: &'a [&'a Perturbation],
    /// Library size of each cell over all measured genes.
    pub libraries: &'a [f32],
    /// Steps and guidance.
    pub sampling: ExpressionSampling,
}

/// Shares of counts that are 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ZeroShares {
    /// Of real cells.
    pub real: f64,
    /// Of cells drawn under the same perturbations and library sizes.
    pub drawn: f64,
    /// Mean over genes of the absolute difference of their shares.
    pub per_gene: f64,
}

impl ExpressionFlow {
    /// Draws one cell for each perturbation and library size.
    ///
    /// # Errors
    /// No cells; a gene that was not perturbed in training; lists of different lengths; settings that make no sampler.
    pub fn draw(&self, draw: &CellDraw<'_>, seed: u64) -> Result<Generated> {
        let CellDraw { perturbations, libraries, sampling } = *draw;
        if perturbations.len() != libraries.len() {
            return Err(Error::shape(
                "cells to draw: perturbations and library sizes",
                perturbations.len(),
                libraries.len(),
            ));
        }
        let cells = perturbations.iter().copied().zip(libraries.iter().copied());
        let given = conditions(&self.about.perturbed, cells.collect::<Vec<_>>().into_iter())?;
        let y = self.generator.draw(&given, &sampling, seed)?;
        let values = self.about.encoding.decode(&y, libraries);
        Ok(Generated { values, library_size: libraries.to_vec(), are_counts: true })
    }

    /// Shares of zeros of the cells `rows` of `data`, and of as many drawn cells of the same perturbations and library sizes. The
    /// cells are drawn by the sampling settings that the model was trained with; for others, count the zeros of
    /// [`Self::draw`]'s cells.
    ///
    /// # Errors
    /// Genes of `data` that are not the model's; as [`Self::draw`].
    pub fn zero_shares(&self, data: &Dataset, rows: &[usize], seed: u64) -> Result<ZeroShares> {
        if data.gene_names() != self.about.genes {
            return Err(Error::data("the genes of the cells are not those of the model, in its order"));
        }
        let perturbations: Vec<&Perturbation> = rows.iter().map(|&row| data.perturbation_of(row)).collect();
        let libraries: Vec<f32> = rows.iter().map(|&row| data.library_size[row]).collect();
        let sampling = self.about.settings.sampling;
        let drawn =
            self.draw(&CellDraw { perturbations: &perturbations, libraries: &libraries, sampling }, seed)?.values;
        let real = data.counts.select_cells(rows).to_dense();
        let shares = |cells: &Array2<f32>| {
            cells.map_axis(Axis(0), |gene| gene.iter().filter(|v| **v == 0.0).count() as f64 / gene.len().max(1) as f64)
        };
        let (real, drawn) = (shares(&real), shares(&drawn));
        let mean = |shares: &Array1<f64>| shares.mean().unwrap_or(f64::NAN);
        Ok(ZeroShares { real: mean(&real), drawn: mean(&drawn), per_gene: mean(&(&real - &drawn).mapv(f64::abs)) })
    }

    /// `n` cells of a condition; library sizes are drawn from those of control cells, or given.
    pub(super) fn of_condition(&self, condition: &Condition, sampling: &Sampling) -> Result<Generated> {
        self.check(std::slice::from_ref(condition))?;
        let how = ExpressionSampling {
            steps: sampling.steps.unwrap_or(self.about.settings.sampling.steps),
            guidance: sampling.guidance.unwrap_or(self.about.settings.sampling.guidance),
            ..self.about.settings.sampling
        };
        if how.steps == 0 || !(how.guidance >= 0.0 && how.guidance.is_finite()) {
            return Err(Error::config("steps must be at least 1 and guidance a number from 0"));
        }
        if let Some(size) = sampling.library_size.filter(|size| !(size.is_finite() && *size > 0.0)) {
            return Err(Error::config(format!("the library size is {size}; it must be a positive number of counts")));
        }
        let mut rng = stream(sampling.seed, LIBRARIES, 0);
        let known = &self.about.libraries;
        let draw = |_| sampling.library_size.unwrap_or_else(|| known[rng.random_range(0..known.len())]);
        let libraries: Vec<f32> = (0..sampling.cells).map(draw).collect();
        let perturbations = vec![&condition.perturbation; sampling.cells];
        let cells = CellDraw { perturbations: &perturbations, libraries: &libraries, sampling: how };
        self.draw(&cells, derived(sampling.seed, NOISE, 0))
    }
}
