//! An energy of vectors as users meet it: training, energies, samples, files.

use super::{
    config::{EbmConfig, EnergyObjective},
    learner::{Placed, Rows},
    sampler::{Chains, Energy, McmcConfig, normal, run_chains},
    score_matching::NoiseLevels,
};
use crate::{
    Error, Result,
    device::Device,
    model::{
        State,
        diffusion::prediction::{Scales, Standard, check_condition},
    },
    nn::init::seeded,
    train::{History, Run, TrainConfig},
};
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};
use std::{f64::consts::PI, path::Path};

/// A trained energy: minus the log density of vectors, with or without a condition, up to a constant.
///
/// Vectors and conditions are standardised inside, by the moments of the training rows; energies are in nats, of vectors in these
/// units. With the objective `dsm` the energy is that of the data with noise of the smallest level on them.
///
/// ```no_run
/// use genailab::{device::Device, model::ebm::{Ebm, EbmConfig, McmcConfig}, ndarray::Array2};
///
/// let x = Array2::from_shape_fn((1000, 2), |(row, column)| ((row * 7 + column * 3) % 11) as f32); // (rows, dims)
/// let mut ebm = Ebm::new(2, 0, &EbmConfig::default(), 0, Device::Cpu)?;
/// ebm.fit(&x, None, None, &EbmConfig::training(), &mut Default::default())?;
/// let energies = ebm.energy(&x, None)?; // (1000,)
/// let chains = ebm.sample(500, None, &McmcConfig::default(), 1)?; // chains.x is (500, 2)
/// # Ok::<(), genailab::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Ebm {
    config: EbmConfig,
    dims: usize,
    condition: usize,
    net: Placed,
    /// Known once it is trained.
    trained: Option<Trained>,
}

/// What a training leaves beside the weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Trained {
    scales: Scales,
    /// Of `dsm` alone.
    levels: Option<NoiseLevels>,
}

/// The description in `model.json`.
#[derive(Serialize, Deserialize)]
struct Description {
    config: EbmConfig,
    dims: usize,
    condition: usize,
    trained: Trained,
}

/// Training or validation rows: x `(rows, dims)`, and their conditions `(rows, condition)`.
pub type EbmData<'a> = (&'a Array2<f32>, Option<&'a Array2<f32>>);

impl Ebm {
    /// Its kind in `model.json`, as a part of a model of cells.
    pub const KIND: &'static str = "energy";

    /// An energy of rows of `dims` numbers, with conditions of `condition` numbers or 0 for none. The seed of the weights is
    /// `seed`.
    ///
    /// # Errors
    /// Settings out of range; no dimensions; a device that is not there.
    pub fn new(dims: usize, condition: usize, config: &EbmConfig, seed: u64, device: Device) -> Result<Self> {
        config.validate()?;
        if dims == 0 {
            return Err(Error::config("an energy of rows of 0 numbers was asked for; give at least 1"));
        }
        let net = Placed::new((dims, condition), *config, seed, device)?;
        Ok(Self { config: *config, dims, condition, net, trained: None })
    }

    /// The settings.
    pub fn config(&self) -> &EbmConfig {
        &self.config
    }

    /// Numbers of a row.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// Numbers of a condition; 0 of an unconditional energy.
    pub fn condition(&self) -> usize {
        self.condition
    }

    /// Number of trained weights; their moving average is not counted.
    ///
    /// # Errors
    /// Those of the walk over the model's parameters.
    pub fn n_params(&self) -> Result<usize> {
        self.net.n_params()
    }

    /// The noise levels that `dsm` was trained at; `None` of other objectives.
    ///
    /// # Errors
    /// An energy that is not trained.
    pub fn levels(&self) -> Result<Option<&NoiseLevels>> {
        Ok(self.trained()?.levels.as_ref())
    }

    /// Trains on the rows of x `(rows, dims)` with conditions `(rows, condition)`, and computes the loss of `validation` after each
    /// epoch, with the averaged weights.
    ///
    /// # Errors
    /// A value that is not finite, with its row and column; a dimension that never varies; a condition that is missing, not
    /// expected or of another shape; a loss that stops being finite, an interruption, a folder that cannot be written.
    pub fn fit(
        &mut self,
        x: &Array2<f32>,
        condition: Option<&Array2<f32>>,
        validation: Option<EbmData<'_>>,
        train: &TrainConfig,
        options: &mut Run<'_>,
    ) -> Result<History> {
        if x.ncols() != self.dims {
            let (found, dims) = (x.ncols(), self.dims);
            return Err(Error::config(format!("x has {found} columns, but the energy was made for {dims}")));
        }
        check_condition(condition, x.nrows(), self.condition)?;
        let scales =
            Scales { x: Standard::of_samples(x)?, condition: condition.map(Standard::of_conditions).transpose()? };
        let rows = |(x, condition): EbmData<'_>| -> Result<Rows> {
            check_condition(condition, x.nrows(), self.condition)?;
            Ok(Rows { x: scales.x.forward("x", x)?, condition: scales.condition(condition)? })
        };
        let train_rows = rows((x, condition))?;
        let validation = validation.map(rows).transpose()?;
        let levels = match self.config.objective {
            EnergyObjective::Dsm { sigma_min } => Some(NoiseLevels::choose(&train_rows.x, sigma_min, train.seed)?),
            _ => None,
        };
        self.net.set_levels(levels.as_ref());
        // Until the training has come to its end there is no energy.
        self.trained = None;
        let history = self.net.fit(&train_rows, validation.as_ref(), train, options)?;
        self.trained = Some(Trained { scales, levels });
        Ok(history)
    }

    /// The energy of each row of x `(rows, dims)`, `(rows,)`; a condition of one row stands for all.
    ///
    /// # Errors
    /// An energy that is not trained; x or a condition of another shape, or not finite.
    pub fn energy(&self, x: &Array2<f32>, condition: Option<&Array2<f32>>) -> Result<Array1<f64>> {
        let scales = &self.trained()?.scales;
        let x = scales.x.forward("x", x)?.mapv(f64::from);
        if x.nrows() == 0 {
            return Ok(Array1::zeros(0));
        }
        let condition = scales.conditions(x.nrows(), condition, self.condition)?;
        self.net.energy(&x, condition.as_ref(), self.sigma())
    }

    /// The log density of each row in nats, `(rows,)`: of `nce` alone, whose energy is normalised.
    ///
    /// # Errors
    /// Another objective; as [`Self::energy`].
    pub fn log_density(&self, x: &Array2<f32>, condition: Option<&Array2<f32>>) -> Result<Array1<f64>> {
        if !matches!(self.config.objective, EnergyObjective::Nce { .. }) {
            return Err(Error::inapplicable(format!(
                "an energy trained by {} is known up to a constant, so there is no log density; train by nce",
                self.config.objective.name()
            )));
        }
        let constant = 0.5 * self.dims as f64 * (2.0 * PI).ln() + self.trained()?.scales.x.log_volume();
        Ok(-self.energy(x, condition)? - constant)
    }

    /// Runs a chain from each of `chains` samples of N(0, I), in standardised units, and gives where they end in the units of the
    /// data; energies and step lengths are in standardised units. A condition of one row stands for all.
    ///
    /// # Errors
    /// As [`run_chains`]; a condition of another shape.
    pub fn sample(
        &self,
        chains: usize,
        condition: Option<&Array2<f32>>,
        config: &McmcConfig,
        seed: u64,
    ) -> Result<Chains> {
        let mut rng = seeded(seed);
        let start = normal((chains, self.dims), &mut rng);
        self.run_from(start, condition, config, seed)
    }

    /// As [`Self::sample`], from rows in the units of the data, `(rows, dims)`.
    ///
    /// # Errors
    /// As [`Self::sample`]; rows of another width.
    pub fn sample_from(
        &self,
        start: &Array2<f32>,
        condition: Option<&Array2<f32>>,
        config: &McmcConfig,
        seed: u64,
    ) -> Result<Chains> {
        let start = self.trained()?.scales.x.forward("the start", start)?.mapv(f64::from);
        self.run_from(start, condition, config, seed)
    }

    fn run_from(
        &self,
        start: Array2<f64>,
        condition: Option<&Array2<f32>>,
        config: &McmcConfig,
        seed: u64,
    ) -> Result<Chains> {
        let scales = &self.trained()?.scales;
        let energy = self.at_level(start.nrows(), condition, self.sigma())?;
        let mut chains = run_chains(&energy, start, config, &mut seeded(seed.wrapping_add(1)))?;
        chains.x = scales.x.back(chains.x).mapv(f64::from);
        Ok(chains)
    }

    /// The energy in standardised units as an [`Energy`], of as many rows as conditions; at a noise level of `dsm`.
    ///
    /// # Errors
    /// An energy that is not trained; a condition of another shape.
    pub fn at_level(
        &self,
        rows: usize,
        condition: Option<&Array2<f32>>,
        sigma: Option<f64>,
    ) -> Result<StandardEnergy<'_>> {
        let condition = self.trained()?.scales.conditions(rows, condition, self.condition)?;
        Ok(StandardEnergy { ebm: self, condition, sigma })
    }

    /// The noise level of the energy that users get.
    fn sigma(&self) -> Option<f64> {
        self.trained.as_ref().and_then(|trained| trained.levels.as_ref()).map(NoiseLevels::smallest)
    }

    fn trained(&self) -> Result<&Trained> {
        self.trained.as_ref().ok_or_else(|| Error::config("this energy is not trained; call fit first"))
    }

    /// The model as data.
    ///
    /// # Errors
    /// A model that is not trained.
    pub fn state(&self) -> Result<State> {
        let description = Description {
            config: self.config,
            dims: self.dims,
            condition: self.condition,
            trained: self.trained()?.clone(),
        };
        self.net.add_to(State::new(&description))
    }

    /// The model that [`Self::state`] described.
    ///
    /// # Errors
    /// Weights that do not fit the description.
    pub fn restore(state: &State, device: Device) -> Result<Self> {
        let saved: Description = state.description()?;
        saved.config.validate()?;
        saved.trained.scales.check(saved.dims, saved.condition)?;
        let is_dsm = matches!(saved.config.objective, EnergyObjective::Dsm { .. });
        if is_dsm != saved.trained.levels.is_some() {
            return Err(Error::data("model.json was edited: its noise levels do not fit its objective; train again"));
        }
        saved.trained.levels.as_ref().map(NoiseLevels::check_saved).transpose()?;
        let mut model = Self::new(saved.dims, saved.condition, &saved.config, 0, device)?;
        model.net.fill_from(state)?;
        model.net.set_levels(saved.trained.levels.as_ref());
        model.trained = Some(saved.trained);
        Ok(model)
    }

    /// Writes the model to a folder: `model.json` and `model.safetensors`.
    ///
    /// # Errors
    /// A model that is not trained; a folder that cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        self.state()?.write(dir, Self::KIND)
    }

    /// Reads a model back from its folder.
    ///
    /// # Errors
    /// No model there, one of another kind or version, weights that do not fit.
    pub fn load(dir: &Path, device: Device) -> Result<Self> {
        Self::restore(&State::read(dir, Self::KIND)?, device).map_err(|e| e.at(dir.display()))
    }
}

/// A trained energy in standardised units, with the conditions of its rows.
pub struct StandardEnergy<'a> {
    ebm: &'a Ebm,
    condition: Option<Array2<f32>>,
    sigma: Option<f64>,
}

impl Energy for StandardEnergy<'_> {
    fn dims(&self) -> usize {
        self.ebm.dims
    }

    fn energy(&self, x: &Array2<f64>) -> Result<Array1<f64>> {
        self.ebm.net.energy(x, self.condition.as_ref(), self.sigma)
    }

    fn gradient(&self, x: &Array2<f64>) -> Result<Array2<f64>> {
        self.ebm.net.gradient(x, self.condition.as_ref(), self.sigma)
    }
}
