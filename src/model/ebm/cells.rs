//! An energy of cells: in principal components of their expression or in the latent of a VAE, in the contract of all models.
//!
//! # Files
//!
//! ```text
//! DIR/energy   the energy of points
//! DIR/vae      the space `vae` only: the model whose latents the points are
//! ```

use super::{
    config::{CellSpace, EbmSettings, EnergyCondition},
    model::Ebm,
    sampler::McmcConfig,
};
use crate::{
    Error, Result,
    data::{
        Condition, DataKind, Dataset, Perturbation, TargetSum, TrainingCells, TrainingData, normalize::log_normalize,
    },
    device::Device,
    math::{Pca, seeds::stream},
    model::{Abilities, CountVae, HeldOutScore, Model, ModelConfig, NORMALISED_TOTAL, State, Trained, VaeSettings},
    train::{History, Run, TrainConfig},
};
use ndarray::{Array1, Array2, Axis};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Purposes of random streams.
const SHUFFLED: u64 = 1;
const CHAINS: u64 = 2;
/// Chains that are run after the training, to see whether the energy can be sampled.
const CHAINS_TRIED: usize = 256;
/// Steps of these chains.
const STEPS_TRIED: usize = 50;
/// Their step length in standard deviations of the data, and leapfrog steps: an integration time of one.
const TRIED: McmcConfig =
    McmcConfig { kind: super::sampler::Mcmc::Hmc, steps: STEPS_TRIED, step_size: 0.1, leapfrog: 10 };

/// Where cells become points.
#[derive(Clone)]
enum Space {
    Pca { mean: Array1<f64>, components: Array2<f64>, explained: f64 },
    Vae(Box<CountVae>),
}

impl Space {
    /// The space of the training cells; a VAE is trained as the part `vae` of the run.
    fn fit(cells: &TrainingCells, settings: &EbmSettings, run: &mut Run<'_>) -> Result<Self> {
        let (data, train) = (cells.data.as_ref(), &cells.split.train);
        match settings.space {
            CellSpace::Pca { components } => {
                let values = log_normalised(data, train)?;
                let most = values.ncols().min(train.len().saturating_sub(1));
                let pca = Pca::fit(values.view(), components.min(most), 0)?;
                let explained = pca.explained_variance_ratio.sum();
                Ok(Self::Pca { mean: pca.mean, components: pca.components, explained })
            }
            CellSpace::Vae => {
                let vae = VaeSettings {
                    model: settings.vae.clone(),
                    train: settings.vae_train.clone(),
                    ..VaeSettings::default()
                };
                let mut part = Run { progress: run.progress, ..run.part("vae") };
                let (vae, _) = CountVae::fit(&TrainingData::of_cells(cells.clone(), run.seed), &vae, &mut part)?;
                Ok(Self::Vae(Box::new(vae)))
            }
        }
    }

    fn dims(&self) -> usize {
        match self {
            Self::Pca { components, .. } => components.nrows(),
            Self::Vae(vae) => vae.config().latent,
        }
    }

    /// `(rows, dims)`.
    fn points(&self, data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
        match self {
            Self::Pca { mean, components, .. } => {
                let centred = log_normalised(data, rows)?.mapv(f64::from) - mean;
                Ok(centred.dot(&components.t()).mapv(|value| value as f32))
            }
            Self::Vae(vae) => vae.embed_as_control(data, rows),
        }
    }

    fn described(&self) -> String {
        match self {
            Self::Pca { components, explained, .. } => {
                format!("{} principal components ({:.0} % of the variance)", components.nrows(), 100.0 * explained)
            }
            Self::Vae(vae) => format!("{} latents of a vae", vae.config().latent),
        }
    }
}

/// Log-normalised expression of the cells `rows` (10,000 counts per cell), `(rows, genes)`.
fn log_normalised(data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
    Ok(log_normalize(&data.select_cells(rows), TargetSum::Fixed(NORMALISED_TOTAL))?.to_dense())
}

/// How chains went that were run after the training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SamplingCheck {
    /// Share of accepted proposals of Hamiltonian Monte Carlo.
    pub acceptance: f64,
    /// Mean energy of the training cells that the chains began at, in nats.
    pub energy_of_cells: f64,
    /// Mean energy where they ended; far below that of the cells, the energy has modes where there are no cells.
    pub energy_of_samples: f64,
}

/// An energy of cells.
#[derive(Clone)]
pub struct CellEbm {
    settings: EbmSettings,
    genes: Vec<String>,
    space: Space,
    /// Genes that were perturbed in training, one per number of the condition.
    perturbed: Vec<String>,
    energy: Ebm,
    check: SamplingCheck,
}

/// The description in `model.json`.
#[derive(Serialize, Deserialize)]
struct Description {
    settings: EbmSettings,
    genes: Vec<String>,
    perturbed: Vec<String>,
    explained: f64,
    check: SamplingCheck,
}

/// One column per gene of `perturbed`, 1 where it is perturbed; `None` where the energy has no condition.
fn conditions<'a>(
    settings: &EbmSettings,
    perturbed: &[String],
    of_rows: impl Iterator<Item = &'a Perturbation>,
) -> Result<Option<Array2<f32>>> {
    if settings.condition == EnergyCondition::None {
        return Ok(None);
    }
    let mut all = Array2::zeros((0, perturbed.len()));
    for perturbation in of_rows {
        let mut row = Array1::<f32>::zeros(perturbed.len());
        for gene in perturbation.genes() {
            let place = perturbed.binary_search(gene).map_err(|_| {
                Error::inapplicable(format!(
                    "{gene} was not perturbed in training, so this conditional energy says nothing of its cells"
                ))
            })?;
            row[place] = 1.0;
        }
        all.push_row(row.view()).expect("one width");
    }
    Ok(Some(all))
}

impl CellEbm {
    /// The settings.
    pub fn settings(&self) -> &EbmSettings {
        &self.settings
    }

    /// The energy of points.
    pub fn energy(&self) -> &Ebm {
        &self.energy
    }

    /// How chains went that were run after the training.
    pub fn sampling_check(&self) -> SamplingCheck {
        self.check
    }

    /// The points of the cells `rows`, `(rows, dims)`.
    ///
    /// # Errors
    /// No cells; genes of `data` that are not the model's.
    pub fn points(&self, data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
        if data.genes.names != self.genes {
            return Err(Error::data("the genes of the cells are not those of the model, in its order"));
        }
        if rows.is_empty() {
            return Err(Error::data("no cells were chosen"));
        }
        self.space.points(data, rows)
    }

    fn energies_of(&self, data: &Dataset, rows: &[usize], points: &Array2<f32>) -> Result<Array1<f64>> {
        let of_rows = rows.iter().map(|&row| data.perturbation_of(row));
        self.energy.energy(points, conditions(&self.settings, &self.perturbed, of_rows)?.as_ref())
    }
}

/// Runs chains from training points, each under its own condition.
fn try_sampling(energy: &Ebm, points: &Array2<f32>, given: Option<&Array2<f32>>, seed: u64) -> Result<SamplingCheck> {
    let mut order: Vec<usize> = (0..points.nrows()).collect();
    order.shuffle(&mut stream(seed, CHAINS, 0));
    order.truncate(CHAINS_TRIED);
    let (start, given) = (points.select(Axis(0), &order), given.map(|given| given.select(Axis(0), &order)));
    let before = energy.energy(&start, given.as_ref())?;
    let chains = energy.sample_from(&start, given.as_ref(), &TRIED, seed)?;
    let mean = |energies: &Array1<f64>| energies.mean().unwrap_or(f64::NAN);
    Ok(SamplingCheck {
        acceptance: chains.acceptance,
        energy_of_cells: mean(&before),
        energy_of_samples: mean(&chains.energy),
    })
}

impl Model for CellEbm {
    const KIND: &'static str = "ebm";
    const ABOUT: &'static str =
        "an energy of cells: how plausible generated cells are; `genailab plausibility` uses it";
    const LEARNS_FROM: &'static [DataKind] = &[DataKind::Cells];
    const TRAINS_ON_CUDA: bool = true;
    const PREDICTS_ON_CUDA: bool = true;
    type Config = EbmSettings;

    fn fit(data: &TrainingData, config: &EbmSettings, run: &mut Run<'_>) -> Result<(Self, History)> {
        config.validate()?;
        let Some(cells) = &data.cells else {
            return Err(Error::inapplicable("an effects dataset has no cells to learn an energy of"));
        };
        let vae = VaeSettings { train: config.train.clone(), ..VaeSettings::default() };
        let mut cells = TrainingCells::clone(cells);
        // The energy must not be trained on the cells that its training is stopped by.
        cells.split = vae.divide_cells(&cells, run.seed)?;
        let space = Space::fit(&cells, config, run)?;
        run.check_interrupt()?;
        let (data, split) = (cells.data.as_ref(), &cells.split);
        let perturbation = |row: &usize| &cells.conditions[*row].perturbation;
        let perturbed: BTreeSet<&String> = split.train.iter().flat_map(|row| perturbation(row).genes()).collect();
        let perturbed: Vec<String> = perturbed.into_iter().cloned().collect();
        if config.condition == EnergyCondition::Perturbation && perturbed.is_empty() {
            return Err(Error::data("condition = \"perturbation\", but no training cell is perturbed"));
        }
        let points = space.points(data, &split.train)?;
        let given = conditions(config, &perturbed, split.train.iter().map(perturbation))?;
        let validation = match split.validation.is_empty() {
            true => None,
            false => Some((
                space.points(data, &split.validation)?,
                conditions(config, &perturbed, split.validation.iter().map(perturbation))?,
            )),
        };
        let stopped = config.train.early_stopping.filter(|_| validation.is_some());
        let training = TrainConfig { seed: run.seed, early_stopping: stopped, ..config.train.clone() };
        let width = given.as_ref().map_or(0, Array2::ncols);
        let mut energy = Ebm::new(space.dims(), width, &config.model, run.seed, run.device)?;
        let watched = validation.as_ref().map(|(points, given)| (points, given.as_ref()));
        let mut part = Run { progress: run.progress, ..run.part("energy") };
        let history = energy.fit(&points, given.as_ref(), watched, &training, &mut part)?;
        let check = try_sampling(&energy, &points, given.as_ref(), run.seed)?;
        let genes = data.gene_names().to_vec();
        Ok((Self { settings: config.clone(), genes, space, perturbed, energy, check }, history))
    }

    fn restore(mut state: State, device: Device) -> Result<Self> {
        let Description { settings, genes, perturbed, explained, check } = state.description()?;
        settings.validate()?;
        let energy = Ebm::restore(&state.part("energy", Ebm::KIND)?, device)?;
        let space = match settings.space {
            CellSpace::Pca { .. } => Space::Pca {
                mean: state.vector("space.mean", genes.len())?,
                components: state.array("space.components", Some(energy.dims()), Some(genes.len()))?,
                explained,
            },
            CellSpace::Vae => Space::Vae(Box::new(CountVae::restore(state.part("vae", CountVae::KIND)?, device)?)),
        };
        let width = if settings.condition == EnergyCondition::None { 0 } else { perturbed.len() };
        let own_genes = !matches!(&space, Space::Vae(vae) if vae.genes() != genes);
        if !own_genes || (space.dims(), width) != (energy.dims(), energy.condition()) || !perturbed.is_sorted() {
            return Err(Error::data("its parts do not fit together; train again"));
        }
        Ok(Self { settings, genes, space, perturbed, energy, check })
    }

    fn check_device(device: Device) -> Result<()> {
        device.check()
    }
}

impl Trained for CellEbm {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn abilities(&self) -> Abilities {
        Abilities { energies: true, ..Abilities::default() }
    }

    fn genes(&self) -> &[String] {
        &self.genes
    }

    fn perturbs(&self, gene: &str) -> bool {
        self.settings.condition == EnergyCondition::None || self.perturbed.iter().any(|known| known == gene)
    }

    fn energies(&self, data: &Dataset, rows: &[usize]) -> Result<Array1<f64>> {
        let conditions: Vec<Condition> =
            data.perturbations.iter().map(|perturbation| Condition::of(perturbation.clone())).collect();
        let present: BTreeSet<u32> = rows.iter().map(|&row| data.labels[row]).collect();
        let present: Vec<Condition> = present.into_iter().map(|label| conditions[label as usize].clone()).collect();
        self.check(&present)?;
        let points = self.points(data, rows)?;
        self.energies_of(data, rows, &points)
    }

    fn state(&self) -> Result<State> {
        let explained = if let Space::Pca { explained, .. } = &self.space { *explained } else { 0.0 };
        let state = State::new(&Description {
            settings: self.settings.clone(),
            genes: self.genes.clone(),
            perturbed: self.perturbed.clone(),
            explained,
            check: self.check,
        })
        .with_part("energy", Ebm::KIND, self.energy.state()?);
        Ok(match &self.space {
            Space::Pca { mean, components, .. } => {
                state.with_vector("space.mean", mean).with_array("space.components", components)
            }
            Space::Vae(vae) => state.with_part("vae", CountVae::KIND, vae.state()?),
        })
    }

    fn notes(&self) -> Vec<String> {
        let SamplingCheck { acceptance, energy_of_cells, energy_of_samples } = self.check;
        vec![format!(
            "energy by {} in {}; {CHAINS_TRIED} chains of Hamiltonian Monte Carlo from training cells: acceptance \
             {acceptance:.2}, mean energy {energy_of_cells:.2} at the start, {energy_of_samples:.2} at the end (nats)",
            self.settings.model.objective.name(),
            self.space.described()
        )]
    }

    fn choices(&self) -> serde_json::Value {
        serde_json::json!({ "sampling": self.check })
    }

    /// Real cells against the same points with each dimension shuffled among the cells: only how dimensions go together tells them
    /// apart.
    fn held_out(&self, data: &Dataset, rows: &[usize], seed: u64) -> Result<Option<HeldOutScore>> {
        let known = |row: &usize| data.perturbation_of(*row).genes().iter().all(|gene| self.perturbs(gene));
        let rows: Vec<usize> = rows.iter().copied().filter(known).collect();
        if rows.len() < 2 {
            return Ok(None);
        }
        let points = self.points(data, &rows)?;
        let mut shuffled = points.clone();
        for (column, mut values) in shuffled.columns_mut().into_iter().enumerate() {
            let mut mixed = values.to_vec();
            mixed.shuffle(&mut stream(seed, SHUFFLED, column as u64));
            values.assign(&Array1::from(mixed));
        }
        let real = self.energies_of(data, &rows, &points)?;
        let other = self.energies_of(data, &rows, &shuffled)?;
        let (of_cells, of_shuffled, cells) = (real.mean(), other.mean(), rows.len());
        Ok(Some(HeldOutScore {
            line: format!(
                "held-out cells: mean energy {:.2} nats, and {:.2} of the same cells with shuffled dimensions ({cells} cells)",
                of_cells.unwrap_or(f64::NAN),
                of_shuffled.unwrap_or(f64::NAN)
            ),
            json: serde_json::json!({ "energy": of_cells, "energy_of_shuffled": of_shuffled, "cells": cells }),
        }))
    }
}
