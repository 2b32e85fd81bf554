//! `vae_arithmetic`: the latent arithmetic of scGen (Lotfollahi et al. 2019) over the count VAE of cells, which is told the
//! perturbation; [`Scgen`](super::Scgen) is the published form, which is not.
//!
//! ```text
//! shift of a condition    d_g = mean z of the cells of (g, context) - mean z of the control cells of that context
//! prediction              decode(z of a control cell + sum over the perturbed genes of d_g), as control
//! ```
//!
//! All cells are read as control, so that the latent holds the effect of their perturbation. A gene that was not
//! trained on in the condition's context has its mean shift over the other contexts.

use super::{
    Fitted, Predictor,
    control_starts::{CELLS_PER_EFFECT, ControlStarts},
};
use crate::{
    Error, Result,
    data::{
        Condition, Dataset, Perturbation, TrainingCells, TrainingData, in_context, not_trained_alone, rows_by_condition,
    },
    device::Device,
    model::{CountVae, Model, ModelConfig, SettingsFile, Trained, VaeSettings},
    train::Run,
};
use ndarray::{Array1, Array2, Axis};
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool},
};

/// Seed of the draws behind an effect, so that control and perturbed cells start from the same latents.
const EFFECT_SEED: u64 = 0x6566_6665_6374;

/// What each trained condition did to the latents of cells that are read as control.
pub struct LatentShifts {
    /// `(latent,)` each.
    of: BTreeMap<Condition, Array1<f64>>,
    latent: usize,
}

impl LatentShifts {
    /// The shifts of the conditions of the cells `rows`; `conditions` names the condition of every cell of `data`.
    ///
    /// # Errors
    /// No cells; genes or perturbations that the model does not know.
    pub fn of(vae: &CountVae, data: &Dataset, conditions: &[Condition], rows: &[usize]) -> Result<Self> {
        let z = vae.embed_as_control(data, rows)?; // (rows, latent)
        let centers = centers(&z, conditions, rows);
        let shift = |(condition, center): (&&Condition, &Array1<f64>)| {
            let control = Condition { perturbation: Perturbation::control(), context: condition.context.clone() };
            Some(((*condition).clone(), center - centers.get(&control)?))
        };
        Ok(Self { of: centers.iter().filter_map(shift).collect(), latent: z.ncols() })
    }

    /// The sum of the shifts of a condition's genes, `(latent,)`; zero for control.
    ///
    /// # Errors
    /// A gene whose single perturbation was not trained on: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn sum(&self, condition: &Condition) -> Result<Array1<f32>> {
        let mut sum = Array1::<f64>::zeros(self.latent);
        for gene in condition.perturbation.genes() {
            let single = Perturbation::of([gene.as_str()]);
            let shift = in_context(&self.of, &single, condition.context.as_ref(), |shift| shift);
            sum += &shift.ok_or_else(|| not_trained_alone(gene))?;
        }
        Ok(sum.mapv(|value| value as f32))
    }
}

/// The mean latent of each condition, `(latent,)`: z holds one row per entry of `rows`, and `conditions` names the condition
/// of every cell of the dataset.
pub(super) fn centers<'a>(
    z: &Array2<f32>,
    conditions: &'a [Condition],
    rows: &[usize],
) -> BTreeMap<&'a Condition, Array1<f64>> {
    let place: BTreeMap<usize, usize> = rows.iter().copied().zip(0..).collect();
    let center = |rows: &[usize]| {
        let mut sum = Array1::<f64>::zeros(z.ncols());
        rows.iter().for_each(|row| sum.zip_mut_with(&z.row(place[row]), |sum, &z| *sum += f64::from(z)));
        sum / rows.len() as f64
    };
    rows_by_condition(conditions, rows).into_iter().map(|(condition, rows)| (condition, center(&rows))).collect()
}

/// Latent arithmetic as a predictor: see the module.
#[derive(Debug, Clone)]
pub struct VaeArithmetic {
    /// Settings of the VAE.
    pub settings: VaeSettings,
    /// Where it is trained.
    pub device: Device,
    /// The training ends when this flag is set.
    pub interrupt: Option<Arc<AtomicBool>>,
}

impl Default for VaeArithmetic {
    fn default() -> Self {
        Self { settings: VaeSettings::benchmark_cells(), device: Device::default(), interrupt: None }
    }
}

impl Predictor for VaeArithmetic {
    fn name(&self) -> &str {
        "vae_arithmetic"
    }

    fn description(&self) -> &str {
        "The count VAE: control cells moved by the genes' mean latent shifts (after scGen)"
    }

    fn settings(&self) -> serde_json::Value {
        json!({ "vae": self.settings, "cells_per_effect": CELLS_PER_EFFECT })
    }

    fn configure(&mut self, file: &SettingsFile) -> Result<()> {
        self.settings = file.over(&self.settings, VaeSettings::validate)?;
        Ok(())
    }

    fn set_device(&mut self, device: Device) -> Result<()> {
        CountVae::check_device(device)?;
        self.device = device;
        Ok(())
    }

    fn set_interrupt(&mut self, flag: &Arc<AtomicBool>) {
        self.interrupt = Some(Arc::clone(flag));
    }

    fn fit(&self, data: &TrainingData) -> Result<Box<dyn Fitted>> {
        let Some(cells) = &data.cells else {
            return Err(Error::inapplicable("an effects dataset has no cells to train a model of cells on"));
        };
        data.require_counts("vae_arithmetic")?;
        let mut run = Run { device: self.device, interrupt: self.interrupt.clone(), ..Run::quiet(data.seed) };
        let (vae, _) = CountVae::fit(data, &self.settings, &mut run)?;
        let rows = self.settings.divide_cells(cells, data.seed)?.train;
        let shifts = LatentShifts::of(&vae, &cells.data, &cells.conditions, &rows)?;
        let model = ShiftedCells { vae, shifts, cells: Arc::clone(cells) };
        let starts = ControlStarts::new(cells, &rows, data.seed, |control, chosen| model.mean(control, chosen))?;
        Ok(Box::new(Arithmetic { model, starts }))
    }
}

/// Draws training cells whose latents are shifted.
struct ShiftedCells {
    vae: CountVae,
    shifts: LatentShifts,
    cells: Arc<TrainingCells>,
}

impl ShiftedCells {
    /// Log-normalised cells of a condition from the control cells `rows`, `(rows, genes)`.
    fn draw(&self, condition: &Condition, rows: &[usize], seed: u64) -> Result<Array2<f32>> {
        self.vae.check(std::slice::from_ref(condition))?;
        let shift = self.shifts.sum(condition)?;
        let drawn = self.vae.sample_from(&self.cells.data, rows, &Perturbation::control(), Some(&shift), seed)?;
        Ok(drawn.log_normalised())
    }

    /// Mean of such cells, `(genes,)`.
    fn mean(&self, condition: &Condition, rows: &[usize]) -> Result<Array1<f64>> {
        let cells = self.draw(condition, rows, EFFECT_SEED)?.mapv(f64::from);
        Ok(cells.mean_axis(Axis(0)).expect("cells are drawn from at least one control cell"))
    }
}

struct Arithmetic {
    model: ShiftedCells,
    /// With the mean log-normalised expression of the cells decoded from the chosen ones as control, `(genes,)`.
    starts: ControlStarts<Array1<f64>>,
}

impl Fitted for Arithmetic {
    fn effect(&self, condition: &Condition) -> Result<Array1<f32>> {
        let start = self.starts.of(condition)?;
        Ok((self.model.mean(condition, &start.chosen)? - &start.of_chosen).mapv(|value| value as f32))
    }

    fn cells(&self, condition: &Condition, n: usize, seed: u64) -> Option<Result<Array2<f32>>> {
        let cells = || {
            let (rows, seed) = self.starts.of(condition)?.draw(n, seed);
            self.model.draw(condition, &rows, seed)
        };
        Some(cells())
    }
}
