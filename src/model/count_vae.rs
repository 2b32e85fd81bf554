//! The count VAE as users meet it: train, look, sample, ask for counterfactuals, save, load.

use super::{
    batch::{CellSource, CellView, EffectSource, NORMALISED_TOTAL, Observed, VaeBatch},
    condition::{ConditionBatch, Vocabulary},
    reference::REFERENCE_CELLS,
    sample::{CountModel, sample_counts},
    vae::{LibrarySize, Likelihood, VaeConfig, VaeNet},
};
use crate::{
    Error, Result,
    data::{Dataset, Effects, Perturbation, Split},
    device::Device,
    nn::{IndexSets, ops},
    train::{BatchSource, FitOptions, History, TrainConfig, fit},
};
use dfdx::prelude::{Cpu, NoneTape};
use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Rows that go through the network at once when nothing is trained.
const EVALUATION_BATCH: usize = 256;

/// The network on the device that it was made for.
#[derive(Debug, Clone)]
pub(super) enum Net {
    Cpu(VaeNet<Cpu>),
    #[cfg(feature = "cuda")]
    Cuda(VaeNet<dfdx::prelude::Cuda>),
}

/// Runs `$body` with `$net` bound to the network, whatever device it is on.
macro_rules! on_device {
    ($on:expr, $net:ident => $body:expr) => {
        match $on {
            $crate::model::count_vae::Net::Cpu($net) => $body,
            #[cfg(feature = "cuda")]
            $crate::model::count_vae::Net::Cuda($net) => $body,
        }
    };
}
pub(super) use on_device;

/// What a model was trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainedOn {
    /// Counts of cells.
    Cells,
    /// Effects of perturbations.
    Effects,
}

/// Held-out evidence lower bound in nats a cell, summed over genes and latents, averaged over cells.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Elbo {
    /// `-E_q log p(x|z,c)`.
    pub nll: f64,
    /// `KL(q(z|x,c) || p(z))`.
    pub kl: f64,
    /// `-(nll + kl)`: the higher, the better.
    pub elbo: f64,
    /// Number of cells.
    pub cells: usize,
}

/// How much each latent is used: a collapsed one carries no information about the cell.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Collapse {
    /// Mean KL of each latent in nats, `(latent,)`.
    pub kl: Vec<f64>,
    /// Variance over cells of each latent's posterior mean, `(latent,)`.
    pub variance: Vec<f64>,
    /// Latents whose posterior mean varies by more than 0.01 (active units, Burda et al. 2016).
    pub active: usize,
}

/// A conditional variational autoencoder of counts: see [`VaeNet`] for the equations.
#[derive(Debug, Clone)]
pub struct CountVae {
    pub(super) config: VaeConfig,
    pub(super) vocabulary: Vocabulary,
    pub(super) trained_on: TrainedOn,
    pub(super) with_remainder: bool,
    pub(super) net: Net,
}

impl CountVae {
    /// A new model for the training cells of `data`, on the CPU. The seed of the weights is `seed`.
    ///
    /// # Errors
    /// A configuration that cannot train; no training cell; a device that is not there.
    pub fn new(data: &Dataset, split: &Split, config: VaeConfig, seed: u64, device: Device) -> Result<Self> {
        let rows = &split.train;
        if rows.is_empty() || data.genes.is_empty() {
            return Err(Error::data("there is nothing to train on: no cell or no gene is left"));
        }
        let with_remainder = config.likelihood != Likelihood::Gaussian
            && config.library_size == LibrarySize::Total
            && rows.iter().any(|&row| data.library_size[row] > data.counts.row(row).1.iter().sum::<f32>() * 1.001);
        let vocabulary = Vocabulary::of_cells(data, rows);
        let bias = config.init_output_bias.then(|| output_bias(data, rows, config.likelihood, with_remainder));
        Self::build(config, vocabulary, TrainedOn::Cells, with_remainder, bias.as_deref(), seed, device)
    }

    /// A new model for the effects of the perturbations `rows`; its likelihood must be Gaussian.
    ///
    /// # Errors
    /// As [`Self::new`], and a count likelihood.
    pub fn for_effects(data: &Effects, rows: &[usize], config: VaeConfig, seed: u64, device: Device) -> Result<Self> {
        if config.likelihood != Likelihood::Gaussian {
            return Err(Error::config(
                "effects are no counts: set likelihood = \"gaussian\" in the model configuration",
            ));
        }
        if rows.is_empty() || data.genes.is_empty() {
            return Err(Error::data("there is nothing to train on: no perturbation or no gene is left"));
        }
        let bias = config.init_output_bias.then(|| {
            let mean = data.values.select(Axis(0), rows).mean_axis(Axis(0)).expect("there is at least one row");
            mean.to_vec()
        });
        let vocabulary = Vocabulary::of_effects(data, rows);
        Self::build(config, vocabulary, TrainedOn::Effects, false, bias.as_deref(), seed, device)
    }

    pub(super) fn build(
        config: VaeConfig,
        vocabulary: Vocabulary,
        trained_on: TrainedOn,
        with_remainder: bool,
        output_bias: Option<&[f32]>,
        seed: u64,
        device: Device,
    ) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        device.check()?;
        let net = match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(ordinal) => {
                let cuda = dfdx::prelude::Cuda::try_build(ordinal, seed)
                    .map_err(|e| Error::device(&format!("opening CUDA device {ordinal}"), e))?;
                Net::Cuda(VaeNet::new(&cuda, &vocabulary, &config, with_remainder, output_bias, &mut rng)?)
            }
            // Nothing else passes the check.
            _ => {
                let cpu = Cpu::seed_from_u64(seed);
                Net::Cpu(VaeNet::new(&cpu, &vocabulary, &config, with_remainder, output_bias, &mut rng)?)
            }
        };
        Ok(Self { config, vocabulary, trained_on, with_remainder, net })
    }

    /// The settings.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// The names behind rows and columns.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// What it was trained on.
    pub fn trained_on(&self) -> TrainedOn {
        self.trained_on
    }

    /// Trains on the split's training cells, watching its validation cells.
    ///
    /// # Errors
    /// A loss that stops being finite, an interruption, a folder that cannot be written.
    pub fn fit(&mut self, data: &Dataset, split: &Split, config: &TrainConfig) -> Result<History> {
        self.fit_with(data, split, config, &mut FitOptions::default())
    }

    /// As [`Self::fit`], with checkpoints, progress and callbacks as `options` say.
    ///
    /// # Errors
    /// As [`Self::fit`].
    pub fn fit_with(
        &mut self,
        data: &Dataset,
        split: &Split,
        config: &TrainConfig,
        options: &mut FitOptions<'_>,
    ) -> Result<History> {
        let view = self.view();
        let train = CellSource::new(data, &split.train, &self.vocabulary, view)?;
        let validation = CellSource::new(data, &split.validation, &self.vocabulary, view)?;
        let validation = (!validation.is_empty()).then_some(&validation);
        let history = on_device!(&mut self.net, net => {
            let device = net.device().clone();
            fit(net, &train, validation, &device, config, options)?
        });
        self.keep_reference(data, &split.train, config.seed)?;
        Ok(history)
    }

    /// Trains on the effects `train`, watching `validation`.
    ///
    /// # Errors
    /// As [`Self::fit`].
    pub fn fit_effects(
        &mut self,
        data: &Effects,
        train: &[usize],
        validation: &[usize],
        config: &TrainConfig,
        options: &mut FitOptions<'_>,
    ) -> Result<History> {
        let train = EffectSource::new(data, train, &self.vocabulary)?;
        let validation = EffectSource::new(data, validation, &self.vocabulary)?;
        let validation = (!validation.is_empty()).then_some(&validation);
        on_device!(&mut self.net, net => {
            let device = net.device().clone();
            fit(net, &train, validation, &device, config, options)
        })
    }

    fn view(&self) -> CellView {
        CellView { total_library: self.with_remainder, with_target: self.config.likelihood == Likelihood::Gaussian }
    }

    /// Chooses the control cells that predictions start from: a sample of the training controls, or of all training
    /// cells (read as control) where there is no control among them.
    fn keep_reference(&mut self, data: &Dataset, rows: &[usize], seed: u64) -> Result<()> {
        let controls: Vec<usize> =
            rows.iter().copied().filter(|&row| data.perturbations[data.labels[row] as usize].is_control()).collect();
        let from = if controls.is_empty() { rows } else { &controls };
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5265_6665_7265_6e63);
        // With fewer cells than places each stands once before any stands twice.
        let mut chosen: Vec<usize> = if from.len() >= REFERENCE_CELLS {
            rand::seq::index::sample(&mut rng, from.len(), REFERENCE_CELLS).iter().map(|i| from[i]).collect()
        } else {
            from.iter().copied().cycle().take(REFERENCE_CELLS).collect()
        };
        chosen.sort_unstable();
        let source = CellSource::new(data, &chosen, &self.vocabulary, self.view())?;
        let batch = source.batch(&(0..chosen.len()).collect::<Vec<_>>())?;
        let library: Vec<f32> = chosen.iter().map(|&row| data.library_size[row]).collect();
        let lanes: Vec<f32> = batch.condition.lanes.iter().map(|&lane| lane as f32).collect();
        on_device!(&mut self.net, net => {
            let condition = net.condition(&batch, NoneTape)?;
            let posterior = net.encode(&batch.input, &condition)?;
            net.reference.mu = posterior.mu;
            net.reference.logvar = posterior.logvar;
            net.reference.size_factor.copy_from(&batch.library_size);
            net.reference.library_size.copy_from(&library);
            net.reference.lane.copy_from(&lanes);
        });
        Ok(())
    }

    /// Runs `f` over the cells `rows` in batches and stacks what it gives, one row a cell.
    fn over_cells(
        &self,
        data: &Dataset,
        rows: &[usize],
        mut f: impl FnMut(&VaeBatch) -> Result<Array2<f32>>,
    ) -> Result<Array2<f32>> {
        if rows.is_empty() {
            return Err(Error::data("no cells were chosen"));
        }
        let source = CellSource::new(data, rows, &self.vocabulary, self.view())?;
        let places: Vec<usize> = (0..rows.len()).collect();
        let blocks = places
            .chunks(EVALUATION_BATCH)
            .map(|chunk| f(&source.batch(chunk)?))
            .collect::<Result<Vec<Array2<f32>>>>()?;
        let views: Vec<ArrayView2<'_, f32>> = blocks.iter().map(|block| block.view()).collect();
        Ok(concatenate(Axis(0), &views).expect("every block has the same number of columns"))
    }

    /// The latent mean of each cell, `(cells, latent)`.
    ///
    /// # Errors
    /// No cells, or genes or perturbations that the model does not know.
    pub fn embed(&self, data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
        self.over_cells(data, rows, |batch| {
            on_device!(&self.net, net => {
                let condition = net.condition(batch, NoneTape)?;
                Ok(ops::download(&net.encode(&batch.input, &condition)?.mu))
            })
        })
    }

    /// The held-out ELBO of cells, from `draws` draws of z a cell.
    ///
    /// # Errors
    /// As [`Self::embed`].
    pub fn elbo(&self, data: &Dataset, rows: &[usize], draws: usize, seed: u64) -> Result<Elbo> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let terms = self.over_cells(data, rows, |batch| {
            let mut sums = Array2::<f32>::zeros((batch.len(), 2));
            for _ in 0..draws.max(1) {
                let (nll, kl) = on_device!(&self.net, net => {
                    let (nll, kl) = net.terms(batch, NoneTape, &mut rng)?;
                    (nll.as_vec(), kl.as_vec())
                });
                sums.column_mut(0).scaled_add(1.0 / draws.max(1) as f32, &Array1::from_vec(nll));
                sums.column_mut(1).scaled_add(1.0 / draws.max(1) as f32, &Array1::from_vec(kl));
            }
            Ok(sums)
        })?;
        let mean = |column: usize| terms.column(column).iter().map(|&v| f64::from(v)).sum::<f64>() / rows.len() as f64;
        let (nll, kl) = (mean(0), mean(1));
        Ok(Elbo { nll, kl, elbo: -(nll + kl), cells: rows.len() })
    }

    /// What the model expects of each cell, `(cells, genes)`: counts at the cell's own library size (count decoders),
    /// or log1p-normalised expression (Gaussian decoder).
    ///
    /// # Errors
    /// As [`Self::embed`].
    pub fn reconstruct(&self, data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
        self.decode_cells(data, rows, None)
    }

    /// What the model expects of each cell had it been given `perturbation`: its latent, library size and lane are
    /// kept, its perturbation is changed. `(cells, genes)`, in the units of [`Self::reconstruct`].
    ///
    /// # Errors
    /// As [`Self::embed`], and a perturbation of genes never perturbed in training.
    pub fn counterfactual(&self, data: &Dataset, rows: &[usize], perturbation: &Perturbation) -> Result<Array2<f32>> {
        self.decode_cells(data, rows, Some(&self.vocabulary.encode(perturbation)?))
    }

    /// Decodes the posterior mean of cells, under their own perturbation or under the one of `genes`.
    fn decode_cells(&self, data: &Dataset, rows: &[usize], genes: Option<&[u32]>) -> Result<Array2<f32>> {
        self.over_cells(data, rows, |batch| {
            let mut changed = batch.clone();
            if let Some(genes) = genes {
                changed.condition.perturbed = Arc::new(IndexSets::from_sets((0..batch.len()).map(|_| genes)));
            }
            let decoded = on_device!(&self.net, net => {
                let condition = net.condition(batch, NoneTape)?;
                let z = net.encode(&batch.input, &condition)?.mu;
                CountModel::of(net, net.decode(z, net.condition(&changed, NoneTape)?)?)
            });
            Ok(decoded.mean(&batch.library_size, self.with_remainder))
        })
    }

    /// What the model expects of the cells `rows` if the *latent* shift of `perturbation` is added to them, under the
    /// control condition: every cell is encoded as if it were control, so that what its perturbation did is left in z;
    /// `z + sum_{g} (mean z of cells with g - mean z of control)`. An unseen double is the sum of its singles' shifts
    /// (latent arithmetic, as in scGen, Lotfollahi et al. 2019). `(cells, genes)`, units of [`Self::reconstruct`].
    ///
    /// # Errors
    /// As [`Self::embed`]; a gene without a single-perturbation cell in `train`, or no control cell there.
    pub fn latent_arithmetic(
        &self,
        data: &Dataset,
        train: &[usize],
        rows: &[usize],
        perturbation: &Perturbation,
    ) -> Result<Array2<f32>> {
        let cells_of = |wanted: &Perturbation| -> Result<Vec<usize>> {
            let cells: Vec<usize> =
                train.iter().copied().filter(|&row| &data.perturbations[data.labels[row] as usize] == wanted).collect();
            match cells.is_empty() {
                true => Err(Error::config(format!(
                    "latent arithmetic for {perturbation} needs training cells of {wanted}, and there are none"
                ))),
                false => Ok(cells),
            }
        };
        let center = |cells: &[usize]| -> Result<Array1<f32>> {
            Ok(self.embed_as_control(data, cells)?.mean_axis(Axis(0)).expect("at least one cell"))
        };
        let control = center(&cells_of(&Perturbation::control())?)?;
        let mut shift = Array1::<f32>::zeros(self.config.latent);
        for gene in perturbation.genes() {
            shift += &(center(&cells_of(&Perturbation::of([gene.as_str()]))?)? - &control);
        }
        self.over_cells(data, rows, |batch| {
            let batch = as_control(batch);
            let decoded = on_device!(&self.net, net => {
                let condition = net.condition(&batch, NoneTape)?;
                let z = ops::download(&net.encode(&batch.input, &condition)?.mu) + &shift;
                let z = ops::upload(net.device(), &z)?;
                CountModel::of(net, net.decode(z, condition)?)
            });
            Ok(decoded.mean(&batch.library_size, self.with_remainder))
        })
    }

    /// The latent mean of each cell read as a control cell, `(cells, latent)`: what its perturbation did stays in z.
    ///
    /// # Errors
    /// As [`Self::embed`].
    pub fn embed_as_control(&self, data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
        self.over_cells(data, rows, |batch| {
            let batch = as_control(batch);
            on_device!(&self.net, net => {
                let condition = net.condition(&batch, NoneTape)?;
                Ok(ops::download(&net.encode(&batch.input, &condition)?.mu))
            })
        })
    }

    /// How much each latent is used over the cells `rows`.
    ///
    /// # Errors
    /// As [`Self::embed`].
    pub fn collapse(&self, data: &Dataset, rows: &[usize]) -> Result<Collapse> {
        let latent = self.config.latent;
        let both = self.over_cells(data, rows, |batch| {
            on_device!(&self.net, net => {
                let condition = net.condition(batch, NoneTape)?;
                let posterior = net.encode(&batch.input, &condition)?;
                let (mu, logvar) = (ops::download(&posterior.mu), ops::download(&posterior.logvar));
                Ok(concatenate![Axis(1), mu, logvar])
            })
        })?;
        let both = both.mapv(f64::from);
        let mean = |values: Array1<f64>| values.mean().unwrap_or(0.0);
        let kl: Vec<f64> = (0..latent)
            .map(|k| {
                let (mu, logvar) = (both.column(k), both.column(latent + k));
                mean(mu.mapv(|m| m * m) + logvar.mapv(f64::exp) - 1.0 - logvar) / 2.0
            })
            .collect();
        let variance: Vec<f64> = (0..latent).map(|k| both.column(k).var(0.0)).collect();
        let active = variance.iter().filter(|&&v| v > ACTIVE_UNIT_VARIANCE).count();
        Ok(Collapse { kl, variance, active })
    }

    /// Draws `cells` cells under `perturbation`: the latent, library size and lane of control cells that the model
    /// keeps, decoded with the perturbation, then counts drawn from the decoder's distribution.
    ///
    /// # Errors
    /// A perturbation of genes never perturbed in training; a model of effects, or one that is not trained.
    pub fn sample(&self, perturbation: &Perturbation, cells: usize, seed: u64) -> Result<Generated> {
        let genes = self.vocabulary.encode(perturbation)?;
        if self.trained_on == TrainedOn::Effects {
            return Err(Error::config("this model was trained on effects: it predicts effects, not cells"));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut generated = Generated::default();
        let mut blocks = Vec::new();
        for start in (0..cells).step_by(EVALUATION_BATCH) {
            let n = EVALUATION_BATCH.min(cells - start);
            let chosen: Vec<usize> = (0..n).map(|_| rng.random_range(0..REFERENCE_CELLS)).collect();
            let block = on_device!(&self.net, net => {
                let reference = &net.reference;
                let pick = |values: Vec<f32>| -> Vec<f32> { chosen.iter().map(|&i| values[i]).collect() };
                let size_factor = pick(reference.size_factor.as_vec());
                if size_factor.contains(&0.0) {
                    return Err(Error::config("this model was never trained: fit it first"));
                }
                let library_size = pick(reference.library_size.as_vec());
                let condition = ConditionBatch {
                    perturbed: Arc::new(IndexSets::from_sets((0..n).map(|_| genes.as_slice()))),
                    lanes: pick(reference.lane.as_vec()).into_iter().map(|lane| lane as u32).collect(),
                    log_library: library_size.iter().map(|&size| self.vocabulary.standardise(size)).collect(),
                };
                let mu = ops::download(&reference.mu).select(Axis(0), &chosen);
                let logvar = ops::download(&reference.logvar).select(Axis(0), &chosen);
                let noise = ops::download(&net.noise(n, &mut rng)?);
                let z = ops::upload(net.device(), &(mu + logvar.mapv(|v| (v / 2.0).exp()) * noise))?;
                let batch = VaeBatch {
                    input: Observed::Real(Array2::zeros((0, 0))),
                    target: None,
                    condition,
                    library_size: Arc::from(size_factor),
                };
                let condition = net.condition(&batch, NoneTape)?;
                let decoded = CountModel::of(net, net.decode(z, condition)?);
                generated.library_size.extend_from_slice(&library_size);
                sample_counts(&decoded, &batch.library_size, self.with_remainder, &mut rng)
            });
            blocks.push(block);
        }
        let views: Vec<ArrayView2<'_, f32>> = blocks.iter().map(|block| block.view()).collect();
        generated.values = match views.is_empty() {
            true => Array2::zeros((0, self.vocabulary.genes.len())),
            false => concatenate(Axis(0), &views).expect("every block has the model's genes"),
        };
        generated.are_counts = self.config.likelihood != Likelihood::Gaussian;
        Ok(generated)
    }

    /// Mean log1p-normalised expression that the model predicts under `perturbation`, `(genes,)`, over `cells` drawn
    /// cells. Calls with the same seed start from the same control cells, so that differences between perturbations
    /// are not blurred by the draw.
    ///
    /// # Errors
    /// As [`Self::sample`].
    pub fn predict_mean(&self, perturbation: &Perturbation, cells: usize, seed: u64) -> Result<Array1<f32>> {
        let normalised = self.sample(perturbation, cells.max(1), seed)?.log_normalised();
        Ok(normalised.mean_axis(Axis(0)).expect("at least one cell was drawn"))
    }

    /// The effects that a model of effects predicts, `(perturbations, genes)`, decoded at the prior mean z = 0.
    ///
    /// # Errors
    /// A perturbation of genes never perturbed in training; a model of cells.
    pub fn predict_effects(&self, perturbations: &[Perturbation]) -> Result<Array2<f32>> {
        if self.trained_on == TrainedOn::Cells {
            return Err(Error::config("this model was trained on cells: draw cells from it instead"));
        }
        let sets = perturbations.iter().map(|p| self.vocabulary.encode(p)).collect::<Result<Vec<_>>>()?;
        let n = perturbations.len();
        let batch = VaeBatch {
            input: Observed::Real(Array2::zeros((0, 0))),
            target: None,
            condition: ConditionBatch {
                perturbed: Arc::new(IndexSets::from_sets(&sets)),
                lanes: vec![0; n],
                log_library: vec![0.0; n],
            },
            library_size: vec![1.0; n].into(),
        };
        on_device!(&self.net, net => {
            let condition = net.condition(&batch, NoneTape)?;
            let z = ops::upload(net.device(), &Array2::zeros((n, self.config.latent)))?;
            Ok(ops::download(&net.decode(z, condition)?.output))
        })
    }
}

/// Posterior means that vary less than this over cells carry nothing (Burda et al. 2016, section 5.2).
const ACTIVE_UNIT_VARIANCE: f64 = 0.01;

/// Cells drawn from a model.
#[derive(Debug, Clone, Default)]
pub struct Generated {
    /// `(cells, genes)`: counts, or log1p-normalised expression from a Gaussian decoder.
    pub values: Array2<f32>,
    /// Library size of each cell over all measured genes (UMI counts), taken from the control cell it started from.
    pub library_size: Vec<f32>,
    /// Whether `values` are counts.
    pub are_counts: bool,
}

impl Generated {
    /// `log1p(counts / library_size * 1e4)`, `(cells, genes)`; a Gaussian decoder's values are that already.
    pub fn log_normalised(&self) -> Array2<f32> {
        let mut values = self.values.clone();
        if self.are_counts {
            for (mut cell, &library) in values.axis_iter_mut(Axis(0)).zip(&self.library_size) {
                let scale = NORMALISED_TOTAL / library.max(1.0);
                cell.mapv_inplace(|count| (count * scale).ln_1p());
            }
        }
        values
    }
}

/// The same batch with every cell read as control.
fn as_control(batch: &VaeBatch) -> VaeBatch {
    let mut control = batch.clone();
    control.condition.perturbed = Arc::new(IndexSets::from_sets((0..batch.len()).map(|_| [])));
    control
}

/// Where the output bias starts: the log mean share of each gene (relative to the remainder's, if there is one), or the
/// mean log1p-normalised expression for a Gaussian decoder.
fn output_bias(data: &Dataset, rows: &[usize], likelihood: Likelihood, with_remainder: bool) -> Vec<f32> {
    let mut sums = vec![0f64; data.genes.len()];
    let mut total = 0f64;
    for &row in rows {
        let (genes, values) = data.counts.row(row);
        let scale = NORMALISED_TOTAL / data.library_size[row].max(1.0);
        for (&gene, &value) in genes.iter().zip(values) {
            sums[gene as usize] +=
                f64::from(if likelihood == Likelihood::Gaussian { (value * scale).ln_1p() } else { value });
        }
        total += f64::from(data.library_size[row]);
    }
    if likelihood == Likelihood::Gaussian {
        return sums.iter().map(|sum| (sum / rows.len() as f64) as f32).collect();
    }
    let kept: f64 = sums.iter().sum();
    let rest = if with_remainder { (total - kept).max(1.0) } else { 1.0 };
    // Half a count for genes never seen, so that their logarithm exists.
    sums.iter().map(|sum| ((sum + 0.5) / rest).ln() as f32).collect()
}
