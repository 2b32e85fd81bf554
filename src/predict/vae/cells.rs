//! A VAE of cells as a predictor: where its predictions start, and the cells it draws.

use super::{check, shifts::Shifts};
use crate::{
    Result,
    data::TrainingCells,
    data::{Condition, Perturbation, Split},
    model::CountVae,
    predict::{Fitted, control_starts::ControlStarts},
};
use ndarray::{Array1, Array2, Axis};
use std::sync::Arc;

/// Seed of the draws behind an effect, so that control and perturbed cells start from the same latents.
const EFFECT_SEED: u64 = 0x6566_6665_6374;

/// A VAE trained on cells.
pub(super) struct OfCells {
    vae: CountVae,
    cells: Arc<TrainingCells>,
    /// With the mean log-normalised expression of the cells decoded from the chosen ones as control, `(genes,)`.
    starts: ControlStarts<Array1<f64>>,
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
        let mean = |control: &Condition, chosen: &[usize]| {
            Ok(mean(&draw(&vae, &cells, shifts.as_ref(), control, chosen, EFFECT_SEED)?))
        };
        let starts = ControlStarts::new(&cells, &split.train, seed, mean)?;
        Ok(Self { vae, cells, starts, shifts })
    }

    fn draw(&self, condition: &Condition, rows: &[usize], seed: u64) -> Result<Array2<f32>> {
        draw(&self.vae, &self.cells, self.shifts.as_ref(), condition, rows, seed)
    }
}

/// Log-normalised cells of a condition from the control cells `rows`, `(rows, genes)`.
fn draw(
    vae: &CountVae,
    cells: &TrainingCells,
    shifts: Option<&Shifts>,
    condition: &Condition,
    rows: &[usize],
    seed: u64,
) -> Result<Array2<f32>> {
    check(vae, condition)?;
    let drawn = match shifts {
        None => vae.sample_from(&cells.data, rows, &condition.perturbation, None, seed)?,
        Some(shifts) => {
            vae.sample_from(&cells.data, rows, &Perturbation::control(), Some(&shifts.sum(condition)?), seed)?
        }
    };
    Ok(drawn.log_normalised())
}

impl Fitted for OfCells {
    fn effect(&self, condition: &Condition) -> Result<Array1<f32>> {
        let start = self.starts.of(condition)?;
        let drawn = mean(&self.draw(condition, &start.chosen, EFFECT_SEED)?);
        Ok((drawn - &start.of_chosen).mapv(|value| value as f32))
    }

    fn cells(&self, condition: &Condition, n: usize, seed: u64) -> Option<Result<Array2<f32>>> {
        let cells = || {
            let (rows, seed) = self.starts.of(condition)?.draw(n, seed);
            self.draw(condition, &rows, seed)
        };
        Some(cells())
    }
}

/// Mean over cells, `(genes,)`.
fn mean(cells: &Array2<f32>) -> Array1<f64> {
    cells.mapv(f64::from).mean_axis(Axis(0)).expect("cells were drawn from at least one")
}
