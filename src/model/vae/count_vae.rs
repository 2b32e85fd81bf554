//! The count VAE as users meet it: made for a dataset, and trained.
//!
//! What a trained one is asked stands in its neighbours: `look` (latents, bound), `counterfactual` (what would this cell be
//! under another perturbation), `generate` (new cells, effects), `saved`.

use super::{
    batch::{CellSource, CellView, EffectSource},
    condition::Vocabulary,
    config::{LibrarySize, Likelihood, VaeConfig},
    look::as_control,
    net::VaeNet,
    reference::REFERENCE_CELLS,
};
use crate::data::NORMALISED_TOTAL;
use crate::{
    Error, Result,
    data::{DataKind, Dataset, Effects, Split},
    device::Device,
    train::{BatchSource, History, Run, TrainConfig, fit},
};
use dfdx::prelude::{Cpu, NoneTape};
use ndarray::Axis;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The network on the device that it was made for.
#[derive(Debug, Clone)]
pub(in crate::model) enum Net {
    Cpu(VaeNet<Cpu>),
    #[cfg(feature = "cuda")]
    Cuda(VaeNet<dfdx::prelude::Cuda>),
}

/// Runs `$body` with `$net` bound to the network, whatever device it is on.
macro_rules! on_device {
    ($on:expr, $net:ident => $body:expr) => {
        match $on {
            $crate::model::vae::count_vae::Net::Cpu($net) => $body,
            #[cfg(feature = "cuda")]
            $crate::model::vae::count_vae::Net::Cuda($net) => $body,
        }
    };
}
pub(in crate::model) use on_device;

/// A conditional variational autoencoder of counts: see [`VaeNet`] for the equations.
#[derive(Debug, Clone)]
pub struct CountVae {
    pub(in crate::model) config: VaeConfig,
    pub(in crate::model) vocabulary: Vocabulary,
    pub(in crate::model) trained_on: DataKind,
    pub(in crate::model) with_remainder: bool,
    pub(in crate::model) net: Net,
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
        Self::build(config, vocabulary, DataKind::Cells, with_remainder, bias.as_deref(), seed, device)
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
        Self::build(config, vocabulary, DataKind::Effects, false, bias.as_deref(), seed, device)
    }

    pub(in crate::model) fn build(
        config: VaeConfig,
        vocabulary: Vocabulary,
        trained_on: DataKind,
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
    pub fn trained_on(&self) -> DataKind {
        self.trained_on
    }

    /// Trains on the split's training cells, watching its validation cells.
    ///
    /// # Errors
    /// A loss that stops being finite, an interruption, a folder that cannot be written.
    pub fn fit(&mut self, data: &Dataset, split: &Split, config: &TrainConfig) -> Result<History> {
        self.fit_with(data, split, config, &mut Run::default())
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
        options: &mut Run<'_>,
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
        options: &mut Run<'_>,
    ) -> Result<History> {
        let train = EffectSource::new(data, train, &self.vocabulary)?;
        let validation = EffectSource::new(data, validation, &self.vocabulary)?;
        let validation = (!validation.is_empty()).then_some(&validation);
        on_device!(&mut self.net, net => {
            let device = net.device().clone();
            fit(net, &train, validation, &device, config, options)
        })
    }

    pub(in crate::model) fn view(&self) -> CellView {
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
        let batch = as_control(&source.batch(&(0..chosen.len()).collect::<Vec<_>>())?);
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
}

/// Where the output bias starts: the log mean share of each gene (relative to the remainder's, if there is one), or the
/// mean log1p-normalised expression for a Gaussian decoder.
pub(in crate::model) fn output_bias(
    data: &Dataset,
    rows: &[usize],
    likelihood: Likelihood,
    with_remainder: bool,
) -> Vec<f32> {
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
