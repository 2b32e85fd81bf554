//! A VAE of cells as a predictor: where its predictions start, and the cells it draws.

use super::{check, shifts::Shifts};
use crate::{
    Error, Result,
    data::{Condition, Perturbation, Split, shuffle},
    eval::{Fitted, TrainingCells},
    model::CountVae,
};
use ndarray::{Array1, Array2, Axis};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use std::{collections::BTreeMap, sync::Arc};

/// Control cells of a context that an effect is the mean over; more hardly change it.
pub(super) const CELLS_PER_EFFECT: usize = 500;
/// Seed of the draws behind an effect, so that control and perturbed cells start from the same latents.
const EFFECT_SEED: u64 = 0x6566_6665_6374;

/// Where the effects of a context start from.
struct Start {
    /// The training control cells of the context.
    rows: Vec<usize>,
    /// Those that effects are the mean over.
    chosen: Vec<usize>,
    /// Mean log-normalised expression of the cells decoded from `chosen` as control, `(genes,)`.
    mean: Array1<f64>,
}

/// A VAE trained on cells.
pub(super) struct OfCells {
    vae: CountVae,
    cells: Arc<TrainingCells>,
    controls: BTreeMap<Option<String>, Start>,
    shifts: Option<Shifts>,
}

impl OfCells {
    /// The predictor of a trained model: by latent arithmetic where there are shifts, else by the condition.
    pub fn new(
        vae: CountVae,
        cells: Arc<TrainingCells>,
        shifts: Option<Shifts>,
        split: &Split,
        seed: u64,
    ) -> Result<Self> {
        let mut fitted = Self { vae, cells, controls: BTreeMap::new(), shifts };
        fitted.controls = fitted.starts(split, seed)?;
        Ok(fitted)
    }

    fn starts(&self, split: &Split, seed: u64) -> Result<BTreeMap<Option<String>, Start>> {
        let mut rows_of: BTreeMap<Option<String>, Vec<usize>> = BTreeMap::new();
        for &row in &split.train {
            let condition = &self.cells.conditions[row];
            if condition.perturbation.is_control() {
                rows_of.entry(condition.context.clone()).or_default().push(row);
            }
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let start = |(context, rows): (Option<String>, Vec<usize>)| -> Result<_> {
            let mut chosen = rows.clone();
            shuffle(&mut chosen, &mut rng);
            chosen.truncate(CELLS_PER_EFFECT);
            let control = Condition { perturbation: Perturbation::control(), context: context.clone() };
            let mean = mean(&self.draw(&control, &chosen, EFFECT_SEED)?);
            Ok((context, Start { rows, chosen, mean }))
        };
        rows_of.into_iter().map(start).collect()
    }

    fn start(&self, condition: &Condition) -> Result<&Start> {
        self.controls
            .get(&condition.context)
            .ok_or_else(|| Error::inapplicable(format!("{condition}: no control cell of its context was trained on")))
    }

    /// Log-normalised cells of a condition from the control cells `rows`, `(rows, genes)`.
    fn draw(&self, condition: &Condition, rows: &[usize], seed: u64) -> Result<Array2<f32>> {
        check(&self.vae, condition)?;
        let data = &self.cells.data;
        let drawn = match &self.shifts {
            None => self.vae.sample_from(data, rows, &condition.perturbation, None, seed)?,
            Some(shifts) => {
                self.vae.sample_from(data, rows, &Perturbation::control(), Some(&shifts.sum(condition)?), seed)?
            }
        };
        Ok(drawn.log_normalised())
    }
}

impl Fitted for OfCells {
    fn effect(&self, condition: &Condition) -> Result<Array1<f32>> {
        let start = self.start(condition)?;
        let drawn = mean(&self.draw(condition, &start.chosen, EFFECT_SEED)?);
        Ok((drawn - &start.mean).mapv(|value| value as f32))
    }

    fn cells(&self, condition: &Condition, n: usize, seed: u64) -> Option<Result<Array2<f32>>> {
        let cells = || {
            let start = self.start(condition)?;
            // Each control cell once before any is taken again.
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut rows = start.rows.clone();
            shuffle(&mut rows, &mut rng);
            let rows: Vec<usize> = rows.into_iter().cycle().take(n).collect();
            self.draw(condition, &rows, rng.next_u64())
        };
        Some(cells())
    }
}

/// Mean over cells, `(genes,)`.
fn mean(cells: &Array2<f32>) -> Array1<f64> {
    cells.mapv(f64::from).mean_axis(Axis(0)).expect("cells were drawn from at least one")
}
