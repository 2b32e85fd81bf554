//! The count VAE as users meet it.
//!
//! | file | what |
//! |---|---|
//! | this one | the network on its device, and a model that is not trained yet |
//! | `fit` | training, and reading a saved model |
//! | `trained` | what a trained one can be asked, in the contract of all models |

mod fit;
mod trained;

use super::{
    batch::{CellView, counts_more_genes, log_dispersions, output_bias},
    config::{LibrarySize, Likelihood, ThetaScope, VaeConfig, VaeSettings},
    description::Description,
    net::VaeNet,
    vocabulary::Vocabulary,
};
use crate::{
    Error, Result,
    data::{DataKind, EffectTable, TrainingCells, TrainingData},
    device::Device,
    nn::gpu,
    train::Run,
};
use dfdx::prelude::Cpu;
use ndarray::Axis;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

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
/// Files beside this folder hold its predictions (`decode`) and measurements (`inspect`). It knows no contexts: a condition is its
/// perturbation, and a context is expressed by the control cells that
/// [`Trained::cells_from`](crate::model::Trained::cells_from) starts from.
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
    /// [`Model::fit`](crate::model::Model::fit) starts from it.
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
}
