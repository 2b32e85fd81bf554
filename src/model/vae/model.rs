//! The count VAE as users meet it: trained, saved, loaded, and asked through the contract of all models.

use super::{
    batch::{CellSource, CellView, EffectSource, VaeBatch, counts_more_genes, log_dispersions, output_bias},
    config::{LibrarySize, Likelihood, ThetaScope, VaeConfig, VaeSettings},
    description::Description,
    net::VaeNet,
    reference::REFERENCE_CELLS,
    vocabulary::Vocabulary,
};
use crate::{
    Error, Result,
    data::{Condition, DataKind, Dataset, EffectTable, MetadataColumn, TrainingCells, TrainingData},
    device::Device,
    math::seeds::stream,
    model::{Abilities, Generated, HeldOutScore, Model, ModelConfig, Sampling, State, Trained},
    nn::{gpu, ops},
    train::{BatchSource, History, Run, fit, has_checkpoint},
};
use dfdx::prelude::{Cpu, NoneTape};
use ndarray::{Array2, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Purpose of the random numbers that choose the reference cells.
const REFERENCE: u64 = 0x5265_6665_7265_6e63;
/// Draws of z per cell for the held-out bound: its Monte-Carlo error is then far below a nat per cell.
const ELBO_DRAWS: usize = 5;
/// Draws of z per cell for the bound of the log-likelihood, and the most cells that it is averaged over: the decoder runs for
/// 25,000 draws at most, whatever the number of held-out cells.
const LIKELIHOOD_DRAWS: usize = 50;
const LIKELIHOOD_CELLS: usize = 500;
/// Name of the network's arrays in a saved model.
const NETWORK: &str = "net";

/// The network on the device that it was made for.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "cuda", allow(clippy::large_enum_variant, reason = "one per model, made once and never moved"))]
pub(super) enum Net {
    Cpu(VaeNet<Cpu>),
    /// Tensors of the CPU, operations of a GPU: see [`nn::gpu`](crate::nn::gpu).
    Offload(VaeNet<Cpu>),
    #[cfg(feature = "cuda")]
    Cuda(VaeNet<dfdx::prelude::Cuda>),
}

/// Runs `$body` with `$net` bound to the network, whatever device it is on.
macro_rules! on_device {
    ($on:expr, $net:ident => $body:expr) => {
        match $on {
            $crate::model::vae::model::Net::Cpu($net) => $body,
            $crate::model::vae::model::Net::Offload($net) => {
                let _on = $crate::nn::gpu::enter().expect("it was opened when the network was made");
                $body
            }
            #[cfg(feature = "cuda")]
            $crate::model::vae::model::Net::Cuda($net) => $body,
        }
    };
}
pub(super) use on_device;

/// A conditional variational autoencoder of counts: see [`VaeNet`] for the equations.
///
/// Sibling files hold its predictions (`decode`) and measurements (`inspect`). It knows no contexts: a condition is its
/// perturbation, and a context is expressed by the control cells that [`Trained::cells_from`] starts from.
#[derive(Debug, Clone)]
pub struct CountVae {
    pub(super) config: VaeConfig,
    pub(super) vocabulary: Vocabulary,
    pub(super) trained_on: DataKind,
    pub(in crate::model) with_remainder: bool,
    pub(super) net: Net,
}

impl CountVae {
    /// A model for this data that is not trained yet: random weights, and the output bias that the settings ask for.
    /// [`Model::fit`] starts from it.
    ///
    /// # Errors
    /// Settings that cannot train, nothing to train on, a device that is not there.
    pub fn untrained(data: &TrainingData, settings: &VaeSettings, run: &Run<'_>) -> Result<Self> {
        match &data.cells {
            Some(cells) => Self::for_cells(cells, &settings.divide_cells(cells, run.seed)?.train, settings, run),
            None => Self::for_effects(&settings.divide_effects(data, run.seed)?.0, settings, run),
        }
    }

    /// A new model for the cells `rows`.
    fn for_cells(cells: &TrainingCells, rows: &[usize], settings: &VaeSettings, run: &Run<'_>) -> Result<Self> {
        let (data, config) = (&cells.data, &settings.model.for_cells(rows.len()));
        if rows.is_empty() || data.genes.is_empty() {
            return Err(Error::data("there is nothing to train on: no cell or no gene is left"));
        }
        let with_remainder = config.likelihood != Likelihood::Gaussian
            && config.library_size == LibrarySize::Total
            && counts_more_genes(data, rows);
        let vocabulary = Vocabulary::of_cells(data, rows).with_covariates(data, rows, &config.covariates)?;
        let mut model = Self::build(
            Description { config: config.clone(), vocabulary, trained_on: DataKind::Cells, with_remainder },
            run.seed,
            run.device,
        )?;
        if config.init_output_bias {
            model.start_output_at(&output_bias(data, rows, config.likelihood, with_remainder));
            if VaeConfig::are_few(rows.len())
                && config.likelihood != Likelihood::Gaussian
                && config.theta == ThetaScope::Gene
            {
                let start = log_dispersions(data, rows);
                on_device!(&mut model.net, net => net.start_dispersion_at(&start));
            }
        }
        Ok(model)
    }

    /// A new model for these effects; its likelihood must be Gaussian.
    fn for_effects(table: &EffectTable, settings: &VaeSettings, run: &Run<'_>) -> Result<Self> {
        let config = settings.model.clone();
        if config.likelihood != Likelihood::Gaussian {
            return Err(Error::config(
                "effects are no counts: set likelihood = \"gaussian\" in the model configuration",
            ));
        }
        if !config.covariates.is_empty() {
            return Err(Error::config(
                "covariates (--covariate) are columns of cells, and mean effects are of none; leave them out",
            ));
        }
        if table.is_empty() {
            return Err(Error::inapplicable("no perturbation was trained on"));
        }
        if table.genes.is_empty() {
            return Err(Error::data("there is nothing to train on: no gene is left"));
        }
        let vocabulary = Vocabulary::of_effects(table);
        let mut model = Self::build(
            Description { config, vocabulary, trained_on: DataKind::Effects, with_remainder: false },
            run.seed,
            run.device,
        )?;
        if settings.model.init_output_bias {
            let mean = table.effects.mean_axis(Axis(0)).expect("there is at least one row");
            model.start_output_at(&mean.to_vec());
        }
        Ok(model)
    }

    fn build(made: Description, seed: u64, device: Device) -> Result<Self> {
        let Description { config, vocabulary, trained_on, with_remainder } = made;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        device.check()?;
        let net = match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(number) => {
                Net::Cuda(VaeNet::new(&crate::nn::cuda(number)?, &vocabulary, &config, with_remainder, &mut rng)?)
            }
            _ => {
                let net = VaeNet::new(&Cpu::seed_from_u64(seed), &vocabulary, &config, with_remainder, &mut rng)?;
                match device.is_offload() {
                    true => gpu::enter().map(|_| Net::Offload(net))?,
                    false => Net::Cpu(net),
                }
            }
        };
        Ok(Self { config, vocabulary, trained_on, with_remainder, net })
    }

    fn start_output_at(&mut self, bias: &[f32]) {
        on_device!(&mut self.net, net => net.start_output_at(bias));
    }

    /// The settings of the network.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// The names behind its inputs and outputs.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The kind of data that it was trained on.
    pub fn trained_on(&self) -> DataKind {
        self.trained_on
    }

    pub(super) fn view(&self) -> CellView {
        CellView { total_library: self.with_remainder, with_target: self.config.likelihood == Likelihood::Gaussian }
    }

    /// Refuses a request that only a model trained on the other kind of data can answer.
    pub(super) fn check_learned_from(&self, kind: DataKind) -> Result<()> {
        if self.trained_on == kind {
            return Ok(());
        }
        Err(Error::inapplicable(match kind {
            DataKind::Cells => "this model was trained on effects: it predicts effects, and reads and draws no cells",
            DataKind::Effects => "this model was trained on cells: draw cells from it instead",
        }))
    }

    fn train<S: BatchSource<Batch = VaeBatch>>(
        &mut self,
        train: &S,
        validation: &S,
        settings: &VaeSettings,
        run: &mut Run<'_>,
    ) -> Result<History> {
        let validation = (!validation.is_empty()).then_some(validation);
        let config = settings.training(run.seed, validation.is_some());
        // Interrupted before the end of its first epoch, a training has no checkpoint to go on from: it begins anew.
        let resume = run.resume;
        run.resume = resume && run.dir.as_ref().is_some_and(|dir| has_checkpoint(dir));
        let history = on_device!(&mut self.net, net => {
            let device = net.device().clone();
            fit(net, train, validation, &device, &config, run)
        });
        run.resume = resume;
        history
    }

    /// Chooses the control cells that predictions start from: a sample of the training controls, or of all training
    /// cells (read as control) where there is no control among them.
    fn keep_reference(&mut self, data: &Dataset, rows: &[usize], seed: u64) -> Result<()> {
        let controls: Vec<usize> =
            rows.iter().copied().filter(|&row| data.perturbations[data.labels[row] as usize].is_control()).collect();
        let from = if controls.is_empty() { rows } else { &controls };
        let mut rng = stream(seed, REFERENCE, 0);
        // With fewer cells than places, every cell is taken once before any is taken twice.
        let mut chosen: Vec<usize> = if from.len() >= REFERENCE_CELLS {
            rand::seq::index::sample(&mut rng, from.len(), REFERENCE_CELLS).iter().map(|i| from[i]).collect()
        } else {
            from.iter().copied().cycle().take(REFERENCE_CELLS).collect()
        };
        chosen.sort_unstable();
        let source = CellSource::new(data, &chosen, &self.vocabulary, self.view())?;
        let batch = source.batch(&(0..chosen.len()).collect::<Vec<_>>())?.as_control();
        let library: Vec<f32> = chosen.iter().map(|&row| data.library_size[row]).collect();
        let lanes: Vec<f32> = batch.condition.lanes.iter().map(|&lane| lane as f32).collect();
        on_device!(&mut self.net, net => {
            let condition = net.condition(&batch.condition, NoneTape)?;
            let posterior = net.encode(&batch.input, &condition)?;
            net.reference.mu = posterior.mu;
            net.reference.logvar = posterior.logvar;
            net.reference.size_factor.copy_from(&batch.library_size);
            net.reference.library_size.copy_from(&library);
            net.reference.lane.copy_from(&lanes);
            let covariates = ops::upload(net.device(), &batch.condition.covariates)?;
            if let Some(kept) = &mut net.reference.covariates {
                kept.values = covariates;
            }
        });
        Ok(())
    }
}

impl Model for CountVae {
    const KIND: &'static str = "vae";
    const ABOUT: &'static str = "cells and their counts, or mean effects: a conditional variational autoencoder with a \
                                 negative binomial decoder";
    const LEARNS_FROM: &'static [DataKind] = &[DataKind::Cells, DataKind::Effects];
    const TRAINS_ON_GPU: bool = true;
    const PREDICTS_ON_GPU: bool = true;
    const TAKES_DOSES: bool = true;
    const TRAINS_ON_CUDA: bool = true;
    const PREDICTS_ON_CUDA: bool = true;
    type Config = VaeSettings;

    fn fit(data: &TrainingData, settings: &VaeSettings, run: &mut Run<'_>) -> Result<(Self, History)> {
        settings.validate()?;
        data.require_counts(Self::KIND)?;
        let Some(cells) = &data.cells else {
            let (train, validation) = settings.divide_effects(data, run.seed)?;
            let mut model = Self::for_effects(&train, settings, run)?;
            let train = EffectSource::new(&train, &model.vocabulary)?;
            let validation = EffectSource::new(&validation, &model.vocabulary)?;
            let history = model.train(&train, &validation, settings, run)?;
            return Ok((model, history));
        };
        let (data, mut split) = (&cells.data, settings.divide_cells(cells, run.seed)?);
        let mut model = Self::for_cells(cells, &split.train, settings, run)?;
        split.validation = model.vocabulary.covariates.known_rows(data, &split.validation)?;
        let view = model.view();
        let train = CellSource::new(data, &split.train, &model.vocabulary, view)?;
        let validation = CellSource::new(data, &split.validation, &model.vocabulary, view)?;
        let history = model.train(&train, &validation, settings, run)?;
        model.keep_reference(data, &split.train, run.seed)?;
        Ok((model, history))
    }

    fn restore(state: State, device: Device) -> Result<Self> {
        let saved: Description = state.description()?;
        saved.check(state.n_values())?;
        let mut model = Self::build(saved, 0, device)?;
        on_device!(&mut model.net, net => state.fill(NETWORK, net))?;
        Ok(model)
    }

    fn check_device(device: Device) -> Result<()> {
        device.check()
    }
}

impl Trained for CountVae {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn abilities(&self) -> Abilities {
        match self.trained_on {
            DataKind::Effects => Abilities { effects: true, ..Abilities::default() },
            DataKind::Cells => {
                Abilities { cells: true, cells_from: true, embeddings: Some("X_vae"), ..Abilities::default() }
            }
        }
    }

    fn genes(&self) -> &[String] {
        &self.vocabulary.genes
    }

    fn perturbs(&self, gene: &str) -> bool {
        self.vocabulary.perturbs(gene)
    }

    fn dose_range(&self, name: &str) -> Option<(f64, f64)> {
        let range = self.vocabulary.doses.get(self.vocabulary.place_of(name)?)?;
        Some((range.lowest, range.highest))
    }

    fn covariates(&self) -> Vec<&MetadataColumn> {
        self.vocabulary.covariates.columns()
    }

    fn with_covariate(&self, column: &str, value: &str) -> Result<Box<dyn Trained>> {
        let mut model = self.clone();
        model.vocabulary.covariates.set(column, value)?;
        Ok(Box::new(model))
    }

    fn few_control_cells(&self) -> Result<Option<usize>> {
        Ok(on_device!(&self.net, net => self.vocabulary.covariates.too_few(&net.reference.others())))
    }

    fn check(&self, conditions: &[Condition]) -> Result<()> {
        self.vocabulary.check(conditions.iter().map(|condition| &condition.perturbation))
    }

    fn notes(&self) -> Vec<String> {
        let covariates = &self.vocabulary.covariates;
        (!covariates.is_empty()).then(|| format!("covariates: {}", covariates.described())).into_iter().collect()
    }

    fn state(&self) -> Result<State> {
        let state = State::new(&Description {
            config: self.config.clone(),
            vocabulary: self.vocabulary.clone(),
            trained_on: self.trained_on,
            with_remainder: self.with_remainder,
        });
        on_device!(&self.net, net => state.with_network(NETWORK, net))
    }

    fn effects(&self, conditions: &[Condition]) -> Result<Array2<f64>> {
        let perturbations: Vec<_> = conditions.iter().map(|condition| condition.perturbation.clone()).collect();
        Ok(self.predict_effects(&perturbations)?.mapv(f64::from))
    }

    fn cells(&self, condition: &Condition, sampling: &Sampling) -> Result<Generated> {
        if sampling.steps.is_some() || sampling.guidance.is_some() || sampling.library_size.is_some() {
            return Err(Error::inapplicable(
                "a vae has no sampler with steps or guidance, and draws library sizes from those of control cells",
            ));
        }
        self.sample(&condition.perturbation, sampling.cells, sampling.seed)
    }

    fn cells_from(&self, data: &Dataset, rows: &[usize], condition: &Condition, seed: u64) -> Result<Generated> {
        self.sample_from(data, rows, &condition.perturbation, None, seed)
    }

    fn embed(&self, data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
        self.embed_as_control(data, rows)
    }

    fn held_out(&self, data: &Dataset, rows: &[usize], seed: u64) -> Result<Option<HeldOutScore>> {
        if self.trained_on == DataKind::Effects {
            return Ok(None);
        }
        let given = rows.len();
        let rows = &self.vocabulary.covariates.known_rows(data, rows)?;
        let elbo = self.elbo(data, rows, ELBO_DRAWS, seed)?;
        let some: Vec<usize> = rows.iter().copied().step_by(rows.len().div_ceil(LIKELIHOOD_CELLS).max(1)).collect();
        let likelihood = self.log_likelihood(data, &some, LIKELIHOOD_DRAWS, seed)?;
        let mut json = serde_json::to_value(elbo).expect("numbers always serialise");
        json["log_likelihood"] = serde_json::to_value(likelihood).expect("numbers always serialise");
        let left_out = match given - rows.len() {
            0 => String::new(),
            n => format!("; {n} cells have values of covariates that were not trained on, and were left out"),
        };
        Ok(Some(HeldOutScore {
            line: format!(
                "held-out ELBO {:.2} nats per cell ({} cells); ln p(x) is at least {:.2}, the mean bound of {} draws ({} \
                 cells){left_out}",
                elbo.elbo, elbo.cells, likelihood.bound, likelihood.samples, likelihood.cells
            ),
            json,
        }))
    }
}
