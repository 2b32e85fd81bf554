//! The settings of a count VAE and of its training.

use super::objective::VaeObjective;
use crate::{
    Error, Result,
    data::{DataKind, EffectTable, Split, SplitPlan, TrainingCells, TrainingData},
    model::ModelConfig,
    nn::{Activation, Norm},
    train::TrainConfig,
};
use serde::{Deserialize, Serialize};

/// The distribution of a value, given the decoder's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Likelihood {
    /// Normal around the decoder's output, one variance per gene: for log1p-normalised expression and for effects.
    Gaussian,
    /// Negative binomial counts.
    #[default]
    Nb,
    /// Negative binomial counts with extra zeros.
    Zinb,
}

/// Where the inverse dispersion theta of a count decoder comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum ThetaScope {
    /// One value per gene.
    #[default]
    Gene,
    /// One value per cell and gene, from the decoder.
    CellGene,
}

/// Which counts the size factor of a cell is the sum of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum LibrarySize {
    /// All genes that were measured, where the file says so: the counts of genes that are not modelled are one more class
    /// of the softmax (the remainder), so that a perturbation may change the joint share of the modelled genes.
    #[default]
    Total,
    /// The modelled genes only, as scVI's observed library size.
    Kept,
}

/// How the weight of the KL term grows from 0 to `beta`, so that the latents are used before they are penalised.
///
/// With `t = epoch / warmup` (at most 1): linear `w = t`, cosine `w = (1 - cos(pi t)) / 2` (Bowman et al. 2016); cyclical
/// repeats a linear rise over the first half of each of `cycles` equal parts of the whole training (Fu et al. 2019, eq. 7
/// with R = 0.5).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum KlAnnealing {
    /// Full weight from the first step.
    Constant,
    /// A straight line over the warm-up.
    #[default]
    Linear,
    /// Half a cosine over the warm-up.
    Cosine,
    /// `cycles` linear rises over the whole training.
    Cyclical {
        /// Number of rises; at least 1.
        cycles: usize,
    },
}

impl KlAnnealing {
    /// The weight in `[0, 1]` at a point of the training, both measured in epochs (fractions allowed).
    pub fn weight(self, epoch: f64, warmup_epochs: f64, total_epochs: f64) -> f64 {
        let t = if warmup_epochs > 0.0 { (epoch / warmup_epochs).min(1.0) } else { 1.0 };
        match self {
            Self::Constant => 1.0,
            Self::Linear => t,
            Self::Cosine => 0.5 * (1.0 - (std::f64::consts::PI * t).cos()),
            Self::Cyclical { cycles } => {
                let period = total_epochs / cycles.max(1) as f64;
                if period > 0.0 { (2.0 * (epoch / period).fract()).min(1.0) } else { 1.0 }
            }
        }
    }
}

/// Settings of the network of a [`CountVae`](crate::model::CountVae).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VaeConfig {
    /// Number of latent dimensions.
    pub latent: usize,
    /// Widths of the encoder's hidden layers; the decoder has them in reverse.
    pub hidden: Vec<usize>,
    /// The distribution of a value.
    pub likelihood: Likelihood,
    /// Where theta comes from.
    pub theta: ThetaScope,
    /// Which counts the size factor is the sum of.
    pub library_size: LibrarySize,
    /// Width of the condition.
    pub condition: usize,
    /// Whether the lane enters the condition (only if there is more than one).
    pub with_lane: bool,
    /// Whether the log library size enters the condition.
    pub with_library: bool,
    /// Columns of cells that enter the condition too, such as cell type, donor or time: `NAME`, or `NAME:categorical` or
    /// `NAME:continuous` to say how it is read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub covariates: Vec<String>,
    /// Whether the encoder sees the condition too.
    pub encode_condition: bool,
    /// Normalisation before each activation.
    pub norm: Norm,
    /// Activation of the hidden layers.
    pub activation: Activation,
    /// Probability that a hidden unit is dropped in training; 0.1 is scVI's.
    pub dropout: f32,
    /// `logvar` is held within plus and minus this, so that its exponential stays finite.
    pub logvar_clamp: f32,
    /// Weight of the KL term, or of the total correlation with the objective `beta_tc`; 1 is the ELBO.
    pub beta: f32,
    /// What training descends.
    #[serde(skip_serializing_if = "VaeObjective::is_elbo")]
    pub objective: VaeObjective,
    /// Nats per cell below which the KL term costs nothing (free bits, Kingma et al. 2016, of all latents together): with few
    /// cells the whole KL term may otherwise be trained away, and with it every latent. 0 for the plain ELBO. Without a
    /// value: 3 where fewer than 2000 cells are trained on with the objective `elbo`, else 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_nats: Option<f32>,
    /// How the KL weight grows.
    pub kl_annealing: KlAnnealing,
    /// Epochs over which it grows (linear, cosine).
    pub kl_warmup_epochs: f64,
    /// Whether the decoder's output bias starts at the log mean share of each gene rather than at random values.
    pub init_output_bias: bool,
}

impl Default for VaeConfig {
    fn default() -> Self {
        Self {
            latent: 64,
            hidden: vec![512, 256],
            likelihood: Likelihood::default(),
            theta: ThetaScope::default(),
            library_size: LibrarySize::default(),
            condition: 64,
            with_lane: true,
            with_library: true,
            covariates: Vec::new(),
            encode_condition: true,
            norm: Norm::Layer,
            activation: Activation::default(),
            dropout: 0.1,
            logvar_clamp: 12.0,
            beta: 1.0,
            objective: VaeObjective::default(),
            free_nats: None,
            kl_annealing: KlAnnealing::default(),
            kl_warmup_epochs: 10.0,
            init_output_bias: true,
        }
    }
}

/// With fewer training cells than this, the KL term is free up to [`FREE_NATS`] unless the settings say otherwise.
const FEW_CELLS: usize = 2000;
/// Enough for a few latents in use, and little beside the hundreds of nats of a cell's counts.
const FREE_NATS: f32 = 3.0;

impl VaeConfig {
    /// Whether so few cells are trained on that the settings for many do not fit.
    pub(super) fn are_few(cells: usize) -> bool {
        cells < FEW_CELLS
    }

    /// The same with free nats that fit this number of training cells, where none are given.
    pub(super) fn for_cells(&self, cells: usize) -> Self {
        let usual = if Self::are_few(cells) && self.beta > 0.0 && self.objective.is_elbo() { FREE_NATS } else { 0.0 };
        Self { free_nats: self.free_nats.or((usual > 0.0).then_some(usual)), ..self.clone() }
    }

    /// Refuses settings that cannot train.
    ///
    /// # Errors
    /// A width of 0, a probability outside `[0, 1)`, a negative weight: named.
    pub fn validate(&self) -> Result<()> {
        let rules = [
            (self.latent == 0, "latent must be at least 1"),
            (self.hidden.is_empty() || self.hidden.contains(&0), "hidden must name at least one width, none of them 0"),
            (self.condition == 0, "condition must be at least 1"),
            (!(0.0..1.0).contains(&self.dropout), "dropout must be at least 0 and below 1"),
            (!self.beta.is_finite() || self.beta < 0.0, "beta must be 0 or more"),
            (!self.free_nats.is_none_or(|nats| nats.is_finite() && nats >= 0.0), "free_nats must be 0 or more"),
            (!self.logvar_clamp.is_finite() || self.logvar_clamp <= 0.0, "logvar_clamp must be above 0"),
            (self.kl_warmup_epochs.is_nan() || self.kl_warmup_epochs < 0.0, "kl_warmup_epochs must be 0 or more"),
            (matches!(self.kl_annealing, KlAnnealing::Cyclical { cycles: 0 }), "cycles must be at least 1"),
        ];
        match rules.iter().find(|(broken, _)| *broken) {
            Some((_, rule)) => Err(Error::config(format!("model configuration: {rule}"))),
            None => match self.objective.fault(self.beta, self.free_nats) {
                Some(fault) => Err(Error::config(format!("model configuration: {fault}"))),
                None => Ok(()),
            },
        }
    }
}

/// Settings of a [`CountVae`](crate::model::CountVae) and of its training: the tables of a configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VaeSettings {
    /// Part of the training data that is held out to stop the training by, where early stopping is on and the split has no
    /// validation part: of the conditions (effects, [`EffectTable::validation_rows`]) or of each perturbation's cells.
    pub validation_fraction: f64,
    /// The network.
    pub model: VaeConfig,
    /// Its training.
    pub train: TrainConfig,
}

impl Default for VaeSettings {
    fn default() -> Self {
        Self::default_for(DataKind::Cells)
    }
}

impl ModelConfig for VaeSettings {
    fn default_for(kind: DataKind) -> Self {
        match kind {
            DataKind::Cells => {
                Self { validation_fraction: 0.1, model: VaeConfig::default(), train: TrainConfig::default() }
            }
            // Few rows of real values: a smaller network, more passes.
            DataKind::Effects => Self {
                validation_fraction: 0.2,
                model: VaeConfig {
                    latent: 16,
                    hidden: vec![128],
                    likelihood: Likelihood::Gaussian,
                    condition: 32,
                    ..VaeConfig::default()
                },
                train: TrainConfig { epochs: 200, batch_size: 32, ..TrainConfig::default() },
            },
        }
    }

    fn validate(&self) -> Result<()> {
        if !(0.0..1.0).contains(&self.validation_fraction) {
            return Err(Error::config(format!(
                "validation_fraction = {}, but it must be at least 0 and below 1",
                self.validation_fraction
            )));
        }
        self.train.validate()?;
        self.model.validate()
    }

    fn set_epochs(&mut self, epochs: usize) {
        self.train.epochs = epochs;
    }

    fn seed(&self) -> u64 {
        self.train.seed
    }

    fn set_covariates(&mut self, columns: &[String]) -> Result<()> {
        self.model.covariates = columns.to_vec();
        Ok(())
    }
}

impl VaeSettings {
    /// Settings of the VAE of effects in benchmarks: as `genailab train` has them, with early stopping.
    pub fn benchmark_effects() -> Self {
        let usual = Self::default_for(DataKind::Effects);
        Self { train: TrainConfig { early_stopping: Some(20), ..usual.train }, ..usual }
    }

    /// Settings of the VAE of cells in benchmarks, those of `genailab run`.
    pub fn benchmark_cells() -> Self {
        let usual = Self::default_for(DataKind::Cells);
        let train = TrainConfig { epochs: 60, early_stopping: Some(8), clip_norm: Some(100.0), ..usual.train };
        Self { train, ..usual }
    }

    /// The settings of a training with this seed. Early stopping needs validation rows; without them all epochs are trained.
    pub(super) fn training(&self, seed: u64, has_validation: bool) -> TrainConfig {
        let early_stopping = self.train.early_stopping.filter(|_| has_validation);
        TrainConfig { seed, early_stopping, ..self.train.clone() }
    }

    fn holds_out(&self) -> bool {
        self.train.early_stopping.is_some() && self.validation_fraction > 0.0
    }

    /// The cells to train on and to validate the training on. Validation cells with a gene that no training cell is
    /// perturbed in are dropped: the model has no embedding for it.
    ///
    /// # Errors
    /// No cells to divide.
    pub(crate) fn divide_cells(&self, cells: &TrainingCells, seed: u64) -> Result<Split> {
        let mut split = cells.split.clone();
        if split.validation.is_empty() && self.holds_out() {
            split = self.hold_out(cells, seed)?;
        }
        let perturbed = |row: usize| cells.conditions[row].perturbation.genes();
        let mut known: Vec<&String> = split.train.iter().flat_map(|&row| perturbed(row)).collect();
        known.sort_unstable();
        known.dedup();
        split.validation.retain(|&row| perturbed(row).iter().all(|gene| known.binary_search(&gene).is_ok()));
        Ok(split)
    }

    /// Holds out a part of the training cells of each perturbation.
    fn hold_out(&self, cells: &TrainingCells, seed: u64) -> Result<Split> {
        let plan = SplitPlan::Stratified { validation: self.validation_fraction, test: 0.0, seed };
        let rows = &cells.split.train;
        if rows.len() == cells.data.n_cells() {
            return plan.apply(&cells.data);
        }
        let part = plan.apply(&cells.data.select_cells(rows))?;
        let of = |places: Vec<usize>| places.into_iter().map(|place| rows[place]).collect();
        Ok(Split { train: of(part.train), validation: of(part.validation), test: Vec::new() })
    }

    /// The effects to train on and to validate the training on, as [`Self::divide_cells`].
    ///
    /// # Errors
    /// Those of [`TrainingData::effects`].
    pub(super) fn divide_effects(&self, data: &TrainingData, seed: u64) -> Result<(EffectTable, EffectTable)> {
        let (train, validation) = (data.effects()?, data.validation()?);
        if validation.is_empty() && self.holds_out() {
            let held_out = train.validation_rows(self.validation_fraction, seed);
            let kept: Vec<usize> = (0..train.len()).filter(|row| held_out.binary_search(row).is_err()).collect();
            return Ok((train.select(&kept), train.select(&held_out)));
        }
        let known = |gene: &String| train.conditions.iter().any(|c| c.perturbation.genes().contains(gene));
        let judged: Vec<usize> = (0..validation.len())
            .filter(|&row| validation.conditions[row].perturbation.genes().iter().all(known))
            .collect();
        Ok((train.clone(), validation.select(&judged)))
    }
}
