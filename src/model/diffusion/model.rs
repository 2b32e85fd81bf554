//! A diffusion model as users meet it: its training, its samples, its files.

use super::{
    Denoiser, DiffusionConfig, Divergence, OdeConfig, ProbabilityFlow, SampleConfig, Solver,
    learner::{Denoising, LearnedDenoiser, LearnerConfig, Placed, Rows, Source},
    net::ScoreNetConfig,
    prediction::{Guide, Scales, Standard, check_condition},
    sampler::{SamplerConfig, prior, sample},
};
use crate::{
    Error, Result,
    device::Device,
    model::State,
    train::{History, Run, TrainConfig},
};
use ndarray::{Array1, Array2, Axis, s};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::{ops::Range, path::Path, sync::Arc};

/// A diffusion model of vectors, with or without a condition.
///
/// Samples and conditions are standardised inside, by the moments of the training rows. What the equations are:
/// [`Sde`](super::Sde), [`Parameterization`](super::Parameterization), [`sampler`](super::sampler).
///
/// ```no_run
/// use genailab::{device::Device, model::diffusion::{Diffusion, DiffusionConfig, SampleConfig}, ndarray::Array2};
///
/// let x = Array2::from_shape_fn((1000, 2), |(row, column)| ((row * 7 + column * 3) % 11) as f32); // (rows, dims)
/// let mut diffusion = Diffusion::new(2, 0, &DiffusionConfig::default(), 0, Device::Cpu)?;
/// diffusion.fit(&x, None, None, &DiffusionConfig::training(), &mut Default::default())?;
/// let new = diffusion.sample(500, None, &SampleConfig::ddim(50), 1)?; // (500, 2)
/// # Ok::<(), genailab::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Diffusion {
    config: DiffusionConfig,
    dims: usize,
    condition: usize,
    net: Placed,
    /// Known once it is trained.
    scales: Option<Scales>,
}

impl Diffusion {
    /// A model of rows of `dims` numbers, with conditions of `condition` numbers or 0 for none. The seed of the weights is
    /// `seed`.
    ///
    /// # Errors
    /// Settings out of range; no dimensions; a device that is not there.
    pub fn new(dims: usize, condition: usize, config: &DiffusionConfig, seed: u64, device: Device) -> Result<Self> {
        config.validate()?;
        let DiffusionConfig { sde, parameterization, weight, t_min, net, condition_dropout, condition_kept: kept, ema } =
            *config;
        let corruption = Arc::new(Denoising { sde, parameterization, weight, t_min });
        let learner = LearnerConfig { dims, condition, net, condition_dropout, kept, ema, corruption };
        Ok(Self { config: *config, dims, condition, net: Placed::new(learner, seed, device)?, scales: None })
    }

    /// The settings.
    pub fn config(&self) -> &DiffusionConfig {
        &self.config
    }

    /// Numbers of a row.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// Numbers of a condition; 0 of an unconditional model.
    pub fn condition(&self) -> usize {
        self.condition
    }

    /// Takes the group of each gene `(genes,)` for a network of gene tokens, before the training: which genes share a token.
    ///
    /// # Errors
    /// A network without such tokens; another number of genes; a group that has no token.
    pub fn set_gene_groups(&mut self, group_of: &[u32]) -> Result<()> {
        self.net.set_gene_groups(group_of)
    }

    /// Number of trained weights; their moving average is not counted.
    ///
    /// # Errors
    /// Those of the walk over the model's parameters.
    pub fn n_params(&self) -> Result<usize> {
        self.net.n_params()
    }

    /// Trains on samples x `(rows, dims)` with conditions `(rows, condition)`, and computes the loss of `validation`, of the
    /// same form, after each epoch. The loss is the mean squared error of the network's output per dimension; the validation
    /// loss is that of the averaged weights, at times and noises that are the same in every epoch.
    ///
    /// # Errors
    /// A value that is not finite, with its row and column; a dimension that never varies; a condition that is missing, not
    /// expected or of another shape; a loss that stops being finite, an interruption, a folder that cannot be written.
    pub fn fit(
        &mut self,
        x: &Array2<f32>,
        condition: Option<&Array2<f32>>,
        validation: Option<(&Array2<f32>, Option<&Array2<f32>>)>,
        train: &TrainConfig,
        options: &mut Run<'_>,
    ) -> Result<History> {
        check_condition(condition, x.nrows(), self.condition)?;
        if x.ncols() != self.dims {
            let (found, dims) = (x.ncols(), self.dims);
            return Err(Error::config(format!("x has {found} columns, but the model was made for {dims}")));
        }
        let x_scale = Standard::of_samples(x)?;
        let scales = Scales { x: x_scale, condition: condition.map(Standard::of_conditions).transpose()? };
        let rows = |x: &Array2<f32>, condition: Option<&Array2<f32>>| -> Result<Rows> {
            check_condition(condition, x.nrows(), self.condition)?;
            Ok(Rows { x: scales.x.forward("x", x)?, source: Source::Noise, condition: scales.condition(condition)? })
        };
        let train_rows = rows(x, condition)?;
        let validation = validation.map(|(x, condition)| rows(x, condition)).transpose()?;
        // Until the training has come to its end there is nothing to sample with.
        self.scales = None;
        let history = self.net.fit(&train_rows, validation.as_ref(), train, options)?;
        self.scales = Some(scales);
        Ok(history)
    }

    fn scales(&self) -> Result<&Scales> {
        self.scales.as_ref().ok_or_else(|| Error::config("this diffusion model is not trained; call fit first"))
    }

    /// What guides `rows` rows: a condition of as many rows, or one row for all of them.
    fn guide(&self, rows: usize, condition: Option<&Array2<f32>>, guidance: f64) -> Result<Guide> {
        Guide::new(self.scales()?.conditions(rows, condition, self.condition)?, guidance)
    }

    /// The trained network as a denoiser for the samplers and solvers of this library, of rows in the model's own units
    /// (mean 0 and standard deviation 1 in each dimension), with a condition of `rows` rows or of one for all of them.
    ///
    /// # Errors
    /// A model that is not trained; a condition that is missing, not expected or of another shape; a guidance that is
    /// negative, or other than 1 on an unconditional model.
    pub fn denoiser(&self, rows: usize, condition: Option<&Array2<f32>>, guidance: f64) -> Result<impl Denoiser + '_> {
        let guide = self.guide(rows, condition, guidance)?;
        Ok(LearnedDenoiser { net: &self.net, dims: self.dims, training: self.denoising(), guide })
    }

    /// New samples, `(n, dims)`, with a condition of `n` rows or of one for all of them. The same seed gives the same samples,
    /// whatever the number of threads.
    ///
    /// # Errors
    /// As [`Self::denoiser`]; no sample asked for; settings that make no sampler.
    pub fn sample(
        &self,
        n: usize,
        condition: Option<&Array2<f32>>,
        how: &SampleConfig,
        seed: u64,
    ) -> Result<Array2<f32>> {
        let guide = self.guide(n, condition, how.guidance)?;
        let (dims, training) = (self.dims, self.denoising());
        let sampler = SamplerConfig { t_min: how.sampler.t_min.max(training.t_min), ..how.sampler };
        sampler.validate()?;
        let z = self.net.in_blocks(n, &|net, block, rows| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(block as u64);
            let start = prior(&training.sde, rows.len(), dims, &mut rng);
            let denoiser = LearnedDenoiser { net, dims, training, guide: guide.rows(rows) };
            sample(&denoiser, &training.sde, &sampler, start, &mut rng)
        })?;
        Ok(self.scales()?.x.back(z))
    }

    /// The noise that deterministic sampling would make each row of x from, `(rows, dims)`, by the probability-flow ODE in
    /// `steps` steps of Heun's method: the abduction of a counterfactual.
    ///
    /// # Errors
    /// As [`Self::denoiser`], without guidance; no steps; x of another width or not finite.
    pub fn encode(&self, x: &Array2<f32>, condition: Option<&Array2<f32>>, steps: usize) -> Result<Array2<f32>> {
        let z = self.scales()?.x.forward("x", x)?.mapv(f64::from);
        let ode = OdeConfig::fixed(Solver::Heun, steps);
        let noise = self.along_flow(z.nrows(), condition, &|flow, rows| {
            Ok(flow.encode(&z.slice(s![rows, ..]).to_owned(), &ode)?.x)
        })?;
        Ok(noise.mapv(|v| v as f32))
    }

    /// The samples that noise `(rows, dims)` is made into by the probability-flow ODE in `steps` steps of Heun's method,
    /// `(rows, dims)`: of the same condition, what [`Self::encode`] began with; of another one, its counterfactual.
    ///
    /// # Errors
    /// As [`Self::denoiser`], without guidance; no steps; noise of another width or not finite.
    pub fn decode(&self, noise: &Array2<f32>, condition: Option<&Array2<f32>>, steps: usize) -> Result<Array2<f32>> {
        let noise = noise.mapv(f64::from);
        let ode = OdeConfig::fixed(Solver::Heun, steps);
        let z = self.along_flow(noise.nrows(), condition, &|flow, rows| {
            Ok(flow.decode(&noise.slice(s![rows, ..]).to_owned(), &ode)?.x)
        })?;
        Ok(self.scales()?.x.back(z))
    }

    /// Log density of the rows of x in nats, in the units of the data, `(rows,)`, by the change of variables along the
    /// probability-flow ODE in `steps` steps of Heun's method. The exact divergence takes 2 x dims evaluations of the network
    /// at each of them; see [`Divergence`].
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn log_likelihood(
        &self,
        x: &Array2<f32>,
        condition: Option<&Array2<f32>>,
        divergence: Divergence,
        steps: usize,
    ) -> Result<Array1<f64>> {
        let scale = &self.scales()?.x;
        let z = scale.forward("x", x)?.mapv(f64::from);
        let ode = OdeConfig::fixed(Solver::Heun, steps);
        let density = self.along_flow(z.nrows(), condition, &|flow, rows| {
            let of = flow.log_likelihood(&z.slice(s![rows, ..]).to_owned(), divergence, &ode)?;
            Ok(of.log_density.insert_axis(Axis(1)))
        })?;
        Ok(density.remove_axis(Axis(1)) - scale.log_volume())
    }

    /// Runs `f` with the probability flow of each block of rows.
    fn along_flow(&self, rows: usize, condition: Option<&Array2<f32>>, f: FlowTask<'_>) -> Result<Array2<f64>> {
        let guide = self.guide(rows, condition, 1.0)?;
        let (dims, training) = (self.dims, self.denoising());
        self.net.in_blocks(rows, &|net, _, rows| {
            let denoiser = LearnedDenoiser { net, dims, training, guide: guide.rows(rows.clone()) };
            f(&ProbabilityFlow::new(&denoiser, training.sde)?.ending_at(training.t_min)?, rows)
        })
    }

    fn denoising(&self) -> Denoising {
        let DiffusionConfig { sde, parameterization, weight, t_min, .. } = self.config;
        Denoising { sde, parameterization, weight, t_min }
    }
}

/// What is done with the probability flow of a block of rows, and their range.
type FlowTask<'a> = &'a (dyn Fn(&ProbabilityFlow<'_>, Range<usize>) -> Result<Array2<f64>> + Sync);

/// The description in `model.json`.
#[derive(Serialize, Deserialize)]
struct Description {
    config: DiffusionConfig,
    dims: usize,
    condition: usize,
    scales: Scales,
}

impl Diffusion {
    /// Its kind in `model.json`.
    pub const KIND: &'static str = "score-network";

    /// The model as data.
    ///
    /// # Errors
    /// A model that is not trained.
    pub fn state(&self) -> Result<State> {
        let description = Description {
            config: self.config,
            dims: self.dims,
            condition: self.condition,
            scales: self.scales()?.clone(),
        };
        self.net.add_to(State::new(&description))
    }

    /// The model that [`Self::state`] described.
    ///
    /// # Errors
    /// Weights that do not fit the description.
    pub fn restore(state: &State, device: Device) -> Result<Self> {
        let saved: Description = state.description()?;
        check_saved(&saved.config.net, (saved.dims, saved.condition), &saved.scales, state)?;
        let mut model = Self::new(saved.dims, saved.condition, &saved.config, 0, device)?;
        model.net.fill_from(state)?;
        model.scales = Some(saved.scales);
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

/// Checks the description of a diffusion or of a flow, of rows of `dims` numbers with conditions of `condition`, before its
/// network is made.
///
/// # Errors
/// A network that is larger than the arrays of the state; scales of other widths.
pub(crate) fn check_saved(
    net: &ScoreNetConfig,
    (dims, condition): (usize, usize),
    scales: &Scales,
    state: &State,
) -> Result<()> {
    scales.check(dims, condition)?;
    match net.n_main_weights(dims, condition) {
        Some(weights) if weights <= state.n_values() => Ok(()),
        _ => Err(Error::data(
            "model.json was edited: the network that it describes is larger than its arrays; train again",
        )),
    }
}
