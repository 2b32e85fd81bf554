//! `scgen`: scGen in its own form (Lotfollahi, Wolf & Theis, Nature Methods 2019; the published tool is scgen 2.1).
//!
//! ```text
//! x              log-normalised expression of a cell, (genes,)
//! z | x          encoder q(z | x), decoder p(x | z): neither is told the perturbation, the context, the lane or the library
//! delta_p        = mean over contexts k of  mean z(p, k)  -  mean over the same k of  mean z(control, k)
//! prediction     decode( E[z | x] + delta_p )  for control cells x of the condition's context
//! ```
//!
//! The contexts k are those in which p was trained together with control. Each counts once: the published tool resamples
//! the cells of every cell type to equal numbers before it takes the two means, and this is what that gives on average. One
//! delta per perturbation serves all contexts. A combination that was not trained is the sum of its genes' deltas.
//!
//! The network is the project's VAE on log-normalised values (Gaussian decoder, one variance per gene) with its condition
//! taken away, with scGen's KL weight. Where it differs from the published tool: layer in place of batch normalisation, 512
//! and 256 hidden units in place of 800 and 800, 64 latents in place of 100. The effect is the mean of the decoded shifted
//! cells less the mean of the same control cells decoded without a shift, so that what the network gets wrong of a control
//! cell is not taken for an effect. Predicted cells are the decoder's means, as the published tool returns them, cut off at
//! zero.
//!
//! [`VaeArithmetic`](super::VaeArithmetic) is the same arithmetic with a VAE of counts that is told the perturbation: its
//! latent holds only what the condition does not explain, so that little is left to shift.

use super::{
    Fitted, Predictor,
    control_starts::{CELLS_PER_EFFECT, ControlStarts},
    vae_arithmetic::centers,
};
use crate::{
    Error, Result,
    data::{
        Condition, Dataset, Expression, NORMALISED_TOTAL, Perturbation, TrainingCells, TrainingData, not_trained_alone,
    },
    device::Device,
    model::{CountVae, LibrarySize, Likelihood, Model, ModelConfig, SettingsFile, VaeConfig, VaeSettings},
    train::Run,
};
use ndarray::{Array1, Array2, Axis};
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool},
};

/// Weight of the KL term: `kl_weight` of the published tool.
const KL_WEIGHT: f32 = 5e-5;

/// scGen as a predictor: see the module.
#[derive(Debug, Clone)]
pub struct Scgen {
    settings: VaeSettings,
    device: Device,
    interrupt: Option<Arc<AtomicBool>>,
}

impl Default for Scgen {
    fn default() -> Self {
        let usual = VaeSettings::benchmark_cells();
        let model = VaeConfig { beta: KL_WEIGHT, ..usual.model };
        Self::new(VaeSettings { model, ..usual })
    }
}

impl Scgen {
    /// With these settings of the network and its training. The likelihood is Gaussian and the condition is empty,
    /// whatever the settings say.
    pub fn new(settings: VaeSettings) -> Self {
        let model = VaeConfig {
            likelihood: Likelihood::Gaussian,
            library_size: LibrarySize::Kept,
            with_lane: false,
            with_library: false,
            encode_condition: false,
            ..settings.model
        };
        Self { settings: VaeSettings { model, ..settings }, device: Device::default(), interrupt: None }
    }
}

impl Scgen {
    /// The settings of the network and its training.
    pub fn config(&self) -> &VaeSettings {
        &self.settings
    }
}

impl Predictor for Scgen {
    fn name(&self) -> &str {
        "scgen"
    }

    fn description(&self) -> &str {
        "scGen: an unconditional VAE, control cells moved by the mean latent shift of the perturbation (Lotfollahi et al. 2019)"
    }

    fn settings(&self) -> serde_json::Value {
        json!({ "vae": self.settings, "cells_per_effect": CELLS_PER_EFFECT })
    }

    fn configure(&mut self, file: &SettingsFile) -> Result<()> {
        let settings = file.over(&self.settings, VaeSettings::validate)?;
        *self = Self { device: self.device, interrupt: self.interrupt.take(), ..Self::new(settings) };
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
        data.require_counts("scgen")?;
        let unlabelled = unlabelled(cells)?;
        let conditions = vec![Condition::of(Perturbation::control()); cells.conditions.len()];
        let training = TrainingCells::new(unlabelled.into(), conditions, &cells.split)?;
        let training = TrainingData::of_cells(training, data.seed);
        let mut run = Run { device: self.device, interrupt: self.interrupt.clone(), ..Run::quiet(data.seed) };
        let (vae, _) = CountVae::fit(&training, &self.settings, &mut run)?;
        let unlabelled = training.cells.expect("it was made of cells");
        let rows = &cells.split.train;
        let z = vae.embed_as_control(&unlabelled.data, rows)?; // (rows, latent)
        let deltas = deltas(&z, &cells.conditions, rows);
        let decoder = Decoder { vae, cells: unlabelled, deltas };
        let starts = ControlStarts::new(cells, rows, data.seed, |control, chosen| decoder.mean(control, chosen))?;
        Ok(Box::new(FittedScgen { decoder, starts }))
    }
}

/// The cells as the VAE is to see them: every one without a perturbation, and with counts such that their log is the
/// log-normalised expression, `x = exp(y) - 1` at a library of [`NORMALISED_TOTAL`].
fn unlabelled(cells: &TrainingCells) -> Result<Dataset> {
    let n = cells.data.n_cells();
    Ok(Dataset {
        expression: Expression::Counts,
        counts: cells.expression()?.as_ref().clone().map_values(f32::exp_m1),
        genes: cells.data.genes.clone(),
        cells: cells.data.cells.clone(),
        perturbations: vec![Perturbation::control()],
        labels: vec![0; n],
        lanes: vec!["all".to_owned()],
        lane_of: vec![0; n],
        library_size: vec![NORMALISED_TOTAL; n],
        genes_in_file: None,
        notes: Vec::new(),
    })
}

/// The shift of each trained perturbation, `(latent,)`; see the module's equation. `z` holds one row per entry of `rows`,
/// and `conditions` names the condition of every cell of the dataset.
fn deltas(z: &Array2<f32>, conditions: &[Condition], rows: &[usize]) -> BTreeMap<Perturbation, Array1<f64>> {
    let centers = centers(z, conditions, rows);
    let mut sums: BTreeMap<Perturbation, (Array1<f64>, f64)> = BTreeMap::new();
    for (condition, perturbed) in centers.iter().filter(|(condition, _)| !condition.perturbation.is_control()) {
        let control = Condition { perturbation: Perturbation::control(), context: condition.context.clone() };
        let Some(unperturbed) = centers.get(&control) else { continue };
        let empty = || (Array1::zeros(z.ncols()), 0.0);
        let (sum, n) = sums.entry(condition.perturbation.clone()).or_insert_with(empty);
        *sum += &(perturbed - unperturbed);
        *n += 1.0;
    }
    sums.into_iter().map(|(perturbation, (sum, n))| (perturbation, sum / n)).collect()
}

/// The trained network, the cells that it starts from, and what it adds to their latents.
struct Decoder {
    vae: CountVae,
    /// The cells as the network sees them.
    cells: Arc<TrainingCells>,
    /// `(latent,)` each.
    deltas: BTreeMap<Perturbation, Array1<f64>>,
}

impl Decoder {
    /// The shift of a perturbation, `(latent,)`; zero for control.
    fn shift(&self, perturbation: &Perturbation) -> Result<Array1<f32>> {
        if let Some(known) = self.deltas.get(perturbation) {
            return Ok(known.mapv(|value| value as f32));
        }
        let mut sum = Array1::<f64>::zeros(self.vae.config().latent);
        for gene in perturbation.genes() {
            let single = Perturbation::of([gene.as_str()]);
            sum += self.deltas.get(&single).ok_or_else(|| not_trained_alone(gene))?;
        }
        Ok(sum.mapv(|value| value as f32))
    }

    /// Decoded cells of a condition from the control cells `rows`, `(rows, genes)`, log-normalised.
    fn decode(&self, condition: &Condition, rows: &[usize]) -> Result<Array2<f32>> {
        self.vae.shifted(&self.cells.data, rows, &self.shift(&condition.perturbation)?)
    }

    /// Mean of such cells, `(genes,)`.
    fn mean(&self, condition: &Condition, rows: &[usize]) -> Result<Array1<f64>> {
        let cells = self.decode(condition, rows)?.mapv(f64::from);
        Ok(cells.mean_axis(Axis(0)).expect("cells are decoded from at least one control cell"))
    }
}

struct FittedScgen {
    decoder: Decoder,
    /// With the mean of the chosen control cells decoded without a shift, `(genes,)`.
    starts: ControlStarts<Array1<f64>>,
}

impl Fitted for FittedScgen {
    fn effect(&self, condition: &Condition) -> Result<Array1<f32>> {
        let start = self.starts.of(condition)?;
        Ok((self.decoder.mean(condition, &start.chosen)? - &start.of_chosen).mapv(|value| value as f32))
    }

    fn cells(&self, condition: &Condition, n: usize, seed: u64) -> Option<Result<Array2<f32>>> {
        let cells = || {
            let (rows, _) = self.starts.of(condition)?.draw(n, seed);
            Ok(self.decoder.decode(condition, &rows)?.mapv(|value| value.max(0.0)))
        };
        Some(cells())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(perturbation: &[&str], context: &str) -> Condition {
        Condition { perturbation: Perturbation::of(perturbation.iter().copied()), context: Some(context.to_owned()) }
    }

    #[test]
    fn every_context_counts_once_however_many_cells_it_has() {
        let (control, p) = (|k| condition(&[], k), |k| condition(&["A"], k));
        // Two latents. Context x has three perturbed cells, y one, and z control only.
        let conditions = [control("x"), p("x"), p("x"), p("x"), control("y"), control("y"), p("y"), control("z")];
        let z = ndarray::array![
            [1.0, 0.0],
            [3.0, 0.0],
            [4.0, 0.0],
            [5.0, 0.0],
            [0.0, 1.0],
            [0.0, 3.0],
            [0.0, 8.0],
            [99.0, 99.0]
        ];
        let rows: Vec<usize> = (0..8).collect();
        let found = deltas(&z, &conditions, &rows);
        // In x 4 - 1 = 3 of the first latent, in y 8 - 2 = 6 of the second; the mean of the two.
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [(Perturbation::of(["A"]), ndarray::array![1.5, 3.0])]);
    }
}
