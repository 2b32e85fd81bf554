//! Training and files.

use super::{config::CausalVaeSettings, loss::CausalSource, net::CausalNet};
use crate::{
    Error, Result,
    data::{DataKind, TrainingCells, TrainingData},
    device::Device,
    model::{
        CellSource, CellView, Likelihood, Model, ModelConfig, State, Vocabulary,
        jepa::KeptControls,
        vae::{counts_more_genes, output_bias},
    },
    train::{History, Run, TrainConfig, fit_on},
};
use dfdx::prelude::Cpu;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Name of the network's arrays in a saved model.
const NETWORK: &str = "net";

/// The description in `model.json`.
#[derive(Serialize, Deserialize)]
struct Description {
    settings: CausalVaeSettings,
    vocabulary: Vocabulary,
    contexts: Vec<String>,
    with_remainder: bool,
    training_cells: usize,
    /// The context of each control cell that is kept.
    kept: Vec<Option<String>>,
}

/// A causal VAE: see the module for the equations.
#[derive(Debug, Clone)]
pub struct CausalVae {
    pub(super) settings: CausalVaeSettings,
    pub(super) vocabulary: Vocabulary,
    /// Contexts of the training cells, sorted; none where there is one context only.
    pub(super) contexts: Vec<String>,
    pub(super) net: CausalNet<Cpu>,
    /// Control cells of each context, to start predictions from.
    pub(super) kept: KeptControls,
}

impl CausalVae {
    /// The settings.
    pub fn settings(&self) -> &CausalVaeSettings {
        &self.settings
    }

    /// The names behind its inputs and outputs.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    pub(super) fn saved(&self) -> Result<State> {
        let description = Description {
            settings: self.settings.clone(),
            vocabulary: self.vocabulary.clone(),
            contexts: self.contexts.clone(),
            with_remainder: self.net.with_remainder,
            training_cells: self.net.training_cells,
            kept: self.kept.contexts.clone(),
        };
        let library = self.kept.data.library_size.iter().copied().map(f64::from).collect();
        let state = State::new(&description)
            .with_array("kept.counts", &self.kept.data.counts.to_dense().mapv(f64::from))
            .with_vector("kept.library", &library);
        state.with_network(NETWORK, &self.net)
    }
}

/// The rows of an epoch: `rows`, and their control cells again until these are `share` of all.
fn with_control_share(cells: &TrainingCells, rows: &[usize], share: f64) -> Vec<usize> {
    let is_control = |row: &&usize| cells.conditions[**row].perturbation.is_control();
    let controls: Vec<usize> = rows.iter().filter(is_control).copied().collect();
    let others = rows.len() - controls.len();
    let wanted = (share / (1.0 - share) * others as f64).round() as usize;
    let more = wanted.saturating_sub(controls.len());
    rows.iter().copied().chain(controls.into_iter().cycle().take(more)).collect()
}

impl Model for CausalVae {
    const KIND: &'static str = "causal-vae";
    const ABOUT: &'static str =
        "a latent of identity, state and technical blocks, where each perturbed gene adds a learned shift to the state";
    const LEARNS_FROM: &'static [DataKind] = &[DataKind::Cells];
    const KNOWS_CONTEXTS: bool = true;
    const TRAINS_ON_CUDA: bool = true;
    type Config = CausalVaeSettings;

    fn fit(data: &TrainingData, settings: &CausalVaeSettings, run: &mut Run<'_>) -> Result<(Self, History)> {
        settings.validate()?;
        data.require_counts(Self::KIND)?;
        if let Some(dosed) = data.dosed() {
            return Err(Error::inapplicable(format!("{} takes no doses, and names have some ({dosed})", Self::KIND)));
        }
        let Some(cells) = &data.cells else {
            return Err(Error::inapplicable("an effects dataset has no cells to train a model of cells on"));
        };
        let (data, split) = (cells.data.as_ref(), settings.division().divide_cells(cells, run.seed)?);
        let rows = &split.train;
        if rows.is_empty() || data.genes.is_empty() {
            return Err(Error::data("there is nothing to train on: no cell or no gene is left"));
        }
        if !rows.iter().any(|&row| cells.conditions[row].perturbation.is_control()) {
            return Err(Error::inapplicable("a causal VAE needs control cells, and none is among the training cells"));
        }
        let contexts: BTreeSet<&String> =
            rows.iter().filter_map(|&row| cells.conditions[row].context.as_ref()).collect();
        let contexts: Vec<String> = contexts.into_iter().cloned().collect();
        let vocabulary = Vocabulary::of_cells(data, rows);
        let mut rng = ChaCha8Rng::seed_from_u64(run.seed);
        let cpu = Cpu::seed_from_u64(run.seed);
        let mut net = CausalNet::new(&cpu, &vocabulary, contexts.len(), &settings.model, &mut rng)?;
        net.with_remainder = counts_more_genes(data, rows);
        net.training_cells = rows.len();
        net.start_output_at(&output_bias(data, rows, Likelihood::Nb, net.with_remainder));
        let view = CellView { total_library: net.with_remainder, with_target: false };
        let epoch_rows = with_control_share(cells, rows, settings.model.control_share);
        let source = |rows| {
            let cells_of = CellSource::new(data, rows, &vocabulary, view)?;
            Ok::<_, Error>(CausalSource::new(cells_of, &cells.conditions, rows, &contexts))
        };
        let (train, validation) = (source(epoch_rows.as_slice())?, source(split.validation.as_slice())?);
        let validation = (!split.validation.is_empty()).then_some(&validation);
        let early_stopping = settings.train.early_stopping.filter(|_| validation.is_some());
        let config = TrainConfig { seed: run.seed, early_stopping, ..settings.train.clone() };
        let history = fit_on(&mut net, &train, validation, &config, run)?;
        let kept = KeptControls::of(data, &cells.conditions, rows, run.seed)?;
        Ok((Self { settings: settings.clone(), vocabulary, contexts, net, kept }, history))
    }

    fn restore(state: State, device: Device) -> Result<Self> {
        Self::check_device(device)?;
        let Description { settings, vocabulary, contexts, with_remainder, training_cells, kept } =
            state.description()?;
        settings.validate()?;
        let (mean, deviation) = vocabulary.log_library;
        let is_sound = mean.is_finite() && deviation.is_finite() && deviation > 0.0;
        if !is_sound || !vocabulary.perturbed.is_sorted() || !contexts.is_sorted() {
            return Err(Error::data("model.json is damaged or was edited: its vocabulary is not one; train again"));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut net = CausalNet::new(&Cpu::default(), &vocabulary, contexts.len(), &settings.model, &mut rng)?;
        (net.with_remainder, net.training_cells) = (with_remainder, training_cells);
        state.fill(NETWORK, &mut net)?;
        let counts = state.array("kept.counts", Some(kept.len()), Some(vocabulary.genes.len()))?;
        let library = state.vector("kept.library", kept.len())?.mapv(|size| size as f32).to_vec();
        let kept = KeptControls::from_parts(&counts.mapv(|count| count as f32), &vocabulary.genes, library, kept)?;
        Ok(Self { settings, vocabulary, contexts, net, kept })
    }
}
