//! The model in the contract of all models.

use super::{
    ExpressionFlowSettings,
    encoding::{Encoding, conditions},
    generator::{Generator, Points},
};
use crate::{
    Error, Result,
    data::{Condition, DataKind, Dataset, Perturbation, TrainingCells, TrainingData},
    device::Device,
    eval::sets::subsample,
    math::seeds::{derived, stream},
    model::{
        Abilities, Generated, HeldOutScore, Model, ModelConfig, Sampling, State, Trained, VaeSettings,
        diffusion::net::Tokenization,
    },
    train::{History, Run, TrainConfig},
};
use ndarray::{Array1, Array2, Axis};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Purposes of random streams.
const TRAINING: u64 = 1;
const VALIDATION: u64 = 2;
const GROUPS: u64 = 3;
const EFFECTS: u64 = 6;
const KEPT: u64 = 7;
/// Library sizes of control cells that are kept to draw from.
const MOST_LIBRARIES: usize = 1000;
/// Cells by which a mean effect is computed.
const EFFECT_CELLS: usize = 512;
/// Held-out cells that are drawn again, to compare their zeros.
const MOST_HELD_OUT: usize = 1000;

/// A generator of cells, gene by gene: see the module.
#[derive(Debug, Clone)]
pub struct ExpressionFlow {
    pub(super) about: Description,
    pub(super) generator: Generator,
}

/// The description in `model.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Description {
    pub(super) settings: ExpressionFlowSettings,
    pub(super) genes: Vec<String>,
    /// Genes that were perturbed in training, in order: one number of the condition each.
    pub(super) perturbed: Vec<String>,
    pub(super) encoding: Encoding,
    /// Of training control cells (of all training cells where none is control), to draw from.
    pub(super) libraries: Vec<f32>,
}

impl ExpressionFlow {
    /// The settings.
    pub fn settings(&self) -> &ExpressionFlowSettings {
        &self.about.settings
    }

    /// Number of trained weights.
    ///
    /// # Errors
    /// Those of the walk over the network's parameters.
    pub fn n_params(&self) -> Result<usize> {
        self.generator.n_params()
    }
}

/// Library sizes of the training control cells, or of all training cells where none is control.
fn libraries_of(cells: &TrainingCells, seed: u64) -> Vec<f32> {
    let is_control = |row: &&usize| cells.conditions[**row].perturbation.is_control();
    let mut rows: Vec<usize> = cells.split.train.iter().filter(is_control).copied().collect();
    if rows.is_empty() {
        rows.clone_from(&cells.split.train);
    }
    rows.shuffle(&mut stream(seed, KEPT, 0));
    rows.truncate(MOST_LIBRARIES);
    rows.iter().map(|&row| cells.data.library_size[row]).collect()
}

/// The module of each modelled gene.
fn modules_of(cells: &TrainingCells, about: &Description, count: usize, seed: u64) -> Result<Vec<u32>> {
    let names: Vec<String> = about.encoding.columns.iter().map(|&column| about.genes[column].clone()).collect();
    let data = cells.data.select_genes(&cells.data.genes_at(&names)?)?;
    about.settings.modules.divide(count, &data, &cells.split.train, derived(seed, GROUPS, 0))
}

impl Model for ExpressionFlow {
    const KIND: &'static str = "expression-flow";
    const ABOUT: &'static str =
        "cells gene by gene: a rectified flow or DDPM of expression itself, by a transformer over tokens of genes";
    const LEARNS_FROM: &'static [DataKind] = &[DataKind::Cells];
    const TRAINS_ON_CUDA: bool = true;
    const PREDICTS_ON_CUDA: bool = true;
    type Config = ExpressionFlowSettings;

    fn fit(data: &TrainingData, settings: &ExpressionFlowSettings, run: &mut Run<'_>) -> Result<(Self, History)> {
        settings.validate()?;
        data.require_counts(Self::KIND)?;
        let Some(cells) = &data.cells else {
            return Err(Error::inapplicable("an effects dataset has no cells to learn a flow of"));
        };
        let vae = VaeSettings { train: settings.train.clone(), ..VaeSettings::default() };
        let mut cells = TrainingCells::clone(cells);
        // The network must not be trained on the cells that its training is stopped by.
        cells.split = vae.divide_cells(&cells, run.seed)?;
        let (data, split) = (cells.data.as_ref(), &cells.split);
        let encoding = Encoding::of(data, &split.train, settings.model.dequantize)?;
        let genes = encoding.columns.len();
        let tokens = settings.model.net.tokens;
        if tokens != Tokenization::Genes && tokens.count(genes) > genes {
            return Err(Error::config(format!(
                "[model.net.tokens] count = {}, but only {genes} genes have counts; ask for fewer tokens",
                tokens.count(genes)
            )));
        }
        let names = split.train.iter().flat_map(|&row| cells.conditions[row].perturbation.genes());
        let perturbed: Vec<String> = names.collect::<BTreeSet<_>>().into_iter().cloned().collect();
        let libraries = libraries_of(&cells, run.seed);
        let genes_of_data = data.gene_names().to_vec();
        let about = Description { settings: settings.clone(), genes: genes_of_data, perturbed, encoding, libraries };
        let points = |rows: &[usize], purpose: u64| -> Result<Points> {
            let of = |&row: &usize| (&cells.conditions[row].perturbation, data.library_size[row]);
            let y = about.encoding.encode(data, rows, &mut stream(run.seed, purpose, 0));
            Ok((y, conditions(&about.perturbed, rows.iter().map(of))?))
        };
        let train = points(&split.train, TRAINING)?;
        let validation = match split.validation.is_empty() {
            true => None,
            false => Some(points(&split.validation, VALIDATION)?),
        };
        let mut generator = Generator::new((genes, about.perturbed.len() + 1), &settings.model, run.seed, run.device)?;
        if let Tokenization::Modules { count } = tokens {
            generator.set_gene_groups(&modules_of(&cells, &about, count, run.seed)?)?;
        }
        let early_stopping = settings.train.early_stopping.filter(|_| validation.is_some());
        let training = TrainConfig { seed: run.seed, early_stopping, ..settings.train.clone() };
        let history = generator.fit(&train, validation.as_ref(), &training, run)?;
        Ok((Self { about, generator }, history))
    }

    fn restore(mut state: State, device: Device) -> Result<Self> {
        let about: Description = state.description()?;
        about.settings.validate()?;
        let generator = Generator::restore(&mut state, about.settings.model.objective, device)?;
        let Description { genes, perturbed, encoding, libraries, .. } = &about;
        let columns = &encoding.columns;
        let fits = encoding.n_genes == genes.len()
            && columns.is_sorted()
            && columns.iter().all(|&column| column < genes.len())
            && generator.sizes() == (columns.len(), perturbed.len() + 1)
            && encoding.total > 0.0
            && !libraries.is_empty();
        if !fits || !perturbed.is_sorted() {
            return Err(Error::data("its parts do not fit together; train again"));
        }
        Ok(Self { about, generator })
    }

    fn check_device(device: Device) -> Result<()> {
        device.check()
    }
}

impl Trained for ExpressionFlow {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn abilities(&self) -> Abilities {
        Abilities { effects: true, cells: true, sampler: true, ..Abilities::default() }
    }

    fn genes(&self) -> &[String] {
        &self.about.genes
    }

    fn perturbs(&self, gene: &str) -> bool {
        self.about.perturbed.binary_search_by(|known| known.as_str().cmp(gene)).is_ok()
    }

    fn state(&self) -> Result<State> {
        self.generator.add_to(State::new(&self.about))
    }

    /// Means of drawn cells less those of control cells that are drawn from the same noise.
    fn effects(&self, wanted: &[Condition]) -> Result<Array2<f64>> {
        self.check(wanted)?;
        let sampling = Sampling::new(EFFECT_CELLS, derived(0, EFFECTS, 0));
        let mean = |condition: &Condition| -> Result<Array1<f64>> {
            let cells = self.of_condition(condition, &sampling)?.log_normalised().mapv(f64::from);
            Ok(cells.mean_axis(Axis(0)).expect("there are cells"))
        };
        let control = mean(&Condition::of(Perturbation::control()))?;
        let mut effects = Array2::zeros((wanted.len(), control.len()));
        for (condition, mut row) in wanted.iter().zip(effects.rows_mut()) {
            if !condition.perturbation.is_control() {
                row.assign(&(mean(condition)? - &control));
            }
        }
        Ok(effects)
    }

    fn cells(&self, condition: &Condition, sampling: &Sampling) -> Result<Generated> {
        self.of_condition(condition, sampling)
    }

    fn notes(&self) -> Vec<String> {
        let ExpressionFlowSettings { model, sampling, .. } = &self.about.settings;
        let genes = self.about.encoding.columns.len();
        let parameters = self.n_params().map_or_else(|_| "?".to_owned(), |n| n.to_string());
        vec![format!(
            "{} over {} of {genes} genes ({} tokens per cell), {parameters} weights; {} steps per drawn cell",
            model.objective.name(),
            model.net.tokens.name(),
            model.net.tokens.count(genes),
            sampling.steps
        )]
    }

    fn held_out(&self, data: &Dataset, rows: &[usize], seed: u64) -> Result<Option<HeldOutScore>> {
        let known = |row: &usize| data.perturbation_of(*row).genes().iter().all(|gene| self.perturbs(gene));
        let known: Vec<usize> = rows.iter().copied().filter(known).collect();
        let rows = subsample(&known, MOST_HELD_OUT, seed);
        if rows.is_empty() {
            return Ok(None);
        }
        let shares = self.zero_shares(data, &rows, seed)?;
        Ok(Some(HeldOutScore {
            line: format!(
                "held-out cells: {:.1} % of counts are 0, of cells drawn like them {:.1} %; mean difference of a gene {:.1} \
                 percentage points ({} cells)",
                100.0 * shares.real,
                100.0 * shares.drawn,
                100.0 * shares.per_gene,
                rows.len()
            ),
            json: serde_json::json!({ "zeros": shares, "cells": rows.len() }),
        }))
    }
}
