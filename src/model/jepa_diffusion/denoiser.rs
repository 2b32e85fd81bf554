//! A denoiser that starts at the optimal one of Gaussian data: its training, its samples, abduction. The equations are those of
//! the module.

use super::{config::AnchoredConfig, gaussian::Axes};
use crate::{
    Error, Result,
    device::Device,
    model::{
        State,
        diffusion::{
            Denoiser, OdeConfig, ProbabilityFlow, SampleConfig, Sde, Solver,
            learner::{Corruption, Examples, LearnerConfig, Placed, Rows, Source, normal, stratified_times},
            prediction::{Answers, Guide, Standard, check_condition},
            sampler::{SamplerConfig, prior, sample},
        },
    },
    train::{History, Run, TrainConfig},
};
use ndarray::{Array1, Array2, s};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// The part of a state that holds the weights of an [`AnchoredDiffusion`].
const PART: &str = "generator";
/// What [`State::with_part`] calls it.
const KIND: &str = "anchored-score-network";

/// How noised examples are made, in coordinates along the axes.
#[derive(Debug, Clone)]
struct Anchored {
    sde: Sde,
    t_min: f64,
    axes: Arc<Axes>,
}

/// What the Gaussian part says at one time.
struct Level {
    a: f64,
    s: f64,
    gains: Array1<f64>,
    deviations: Array1<f64>,
    /// c(t).
    scale: f64,
}

impl Level {
    fn at(sde: &Sde, t: f64, axes: &Axes) -> Self {
        let (a, s) = (sde.mean(t), sde.std(t));
        let (gains, deviations) = (axes.gains(a, s), axes.noised_deviations(a, s));
        Self { a, s, gains, deviations, scale: axes.expected_loss(a, s).sqrt() }
    }
}

/// What the network is shown and what it has to answer, `(input, target)`, `(rows, dims)` each, of residuals r in coordinates
/// along the axes, each row with a time and noise of its own.
#[doc(hidden)]
pub fn anchored_examples(
    r: &Array2<f32>,
    times: &[f64],
    epsilon: &Array2<f32>,
    sde: &Sde,
    axes: &Axes,
) -> (Array2<f32>, Array2<f32>) {
    let (mut input, mut target) = (Array2::zeros(r.dim()), Array2::zeros(r.dim()));
    for (row, &t) in times.iter().enumerate() {
        let level = Level::at(sde, t, axes);
        for axis in 0..r.ncols() {
            let clean = f64::from(r[[row, axis]]);
            let x = level.a * clean + level.s * f64::from(epsilon[[row, axis]]);
            input[[row, axis]] = (x / level.deviations[axis]) as f32;
            target[[row, axis]] = ((clean - level.gains[axis] * x) / level.scale) as f32;
        }
    }
    (input, target)
}

impl Corruption for Anchored {
    fn examples(&self, batch: &Rows, rng: &mut ChaCha8Rng) -> Result<Examples> {
        let times = stratified_times(batch.x.nrows(), self.t_min, rng);
        let epsilon = normal(batch.x.dim(), rng);
        let (x, target) = anchored_examples(&batch.x, &times, &epsilon, &self.sde, &self.axes);
        Ok(Examples { x, t: times.into_iter().map(|t| t as f32).collect(), target, weight: None })
    }
}

/// A diffusion of residuals around a Gaussian.
#[derive(Debug, Clone)]
pub(super) struct AnchoredDiffusion {
    config: AnchoredConfig,
    axes: Arc<Axes>,
    net: Placed,
    /// Units of the condition.
    condition: Standard,
}

/// Residuals `(rows, dims)` and what is known of each, `(rows, width)`.
pub(super) struct Points<'a> {
    pub r: &'a Array2<f32>,
    pub given: &'a Array2<f32>,
}

impl AnchoredDiffusion {
    fn untrained(config: &AnchoredConfig, axes: Axes, condition: Standard, width: usize, seed: u64) -> Result<Self> {
        let AnchoredConfig { sde, t_min, net, condition_dropout, ema } = *config;
        let axes = Arc::new(axes);
        let dims = axes.variances.len();
        let corruption = Arc::new(Anchored { sde, t_min, axes: Arc::clone(&axes) });
        let learner = LearnerConfig { dims, condition: width, net, condition_dropout, kept: 0, ema, corruption };
        Ok(Self { config: *config, axes, net: Placed::new(learner, seed, Device::Cpu)?, condition })
    }

    /// Trains on residuals whose pooled covariance has these axes.
    ///
    /// # Errors
    /// A value that is not finite; a loss that stops being finite; an interruption; a folder that cannot be written.
    pub fn fit(
        config: &AnchoredConfig,
        axes: &Axes,
        (train, validation): (&Points<'_>, Option<&Points<'_>>),
        training: &TrainConfig,
        run: &mut Run<'_>,
    ) -> Result<(Self, History)> {
        let condition = Standard::of_conditions(train.given)?;
        let width = train.given.ncols();
        let mut fitted = Self::untrained(config, axes.clone(), condition, width, training.seed)?;
        let train = fitted.rows(train)?;
        let validation = validation.map(|points| fitted.rows(points)).transpose()?;
        let history = fitted.net.fit(&train, validation.as_ref(), training, run)?;
        Ok((fitted, history))
    }

    fn rows(&self, points: &Points<'_>) -> Result<Rows> {
        let x = self.axes.along(&points.r.mapv(f64::from)).mapv(|v| v as f32);
        Ok(Rows { x, source: Source::Noise, condition: Some(self.known(points.given)?) })
    }

    fn known(&self, given: &Array2<f32>) -> Result<Array2<f32>> {
        self.condition.forward("the condition", given)
    }

    /// How the noise grows.
    pub fn sde(&self) -> &Sde {
        &self.config.sde
    }

    /// One residual for each row of `given`, `(rows, dims)`.
    ///
    /// # Errors
    /// Another width; no rows; settings that make no sampler.
    pub fn draw(&self, given: &Array2<f32>, how: &SampleConfig, seed: u64) -> Result<Array2<f32>> {
        let guide = Guide::new(Some(self.known(given)?), how.guidance)?;
        let (sde, dims) = (self.config.sde, self.axes.variances.len());
        let sampler = SamplerConfig { t_min: how.sampler.t_min.max(self.config.t_min), ..how.sampler };
        sampler.validate()?;
        let axes = &*self.axes;
        let drawn = self.net.in_blocks(given.nrows(), &|net, block, rows| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(block as u64);
            let start = prior(&sde, rows.len(), dims, &mut rng);
            sample(&Guided { net, sde: &sde, axes, guide: guide.rows(rows) }, &sde, &sampler, start, &mut rng)
        })?;
        Ok(self.axes.back(&drawn).mapv(|v| v as f32))
    }

    /// `E[r | x_t]`, `(rows, dims)`, of noised residuals x at one time.
    ///
    /// # Errors
    /// Other widths.
    pub fn denoised(&self, x: &Array2<f64>, given: &Array2<f32>, t: f64) -> Result<Array2<f64>> {
        check_condition(Some(given), x.nrows(), given.ncols())?;
        let guide = Guide::new(Some(self.known(given)?), 1.0)?;
        let denoiser = Guided { net: &self.net, sde: &self.config.sde, axes: &self.axes, guide };
        Ok(self.axes.back(&denoiser.clean(&self.axes.along(x), t)?))
    }

    /// The noise that residuals r come from, `(rows, dims)`, by the probability-flow ODE in `steps` steps of Heun's method.
    ///
    /// # Errors
    /// Other widths; no steps.
    pub fn encode(&self, r: &Array2<f32>, given: &Array2<f32>, steps: usize) -> Result<Array2<f32>> {
        let x = self.axes.along(&r.mapv(f64::from));
        let noise =
            self.carried(&x, given, &|flow, x| Ok(flow.encode(x, &OdeConfig::fixed(Solver::Heun, steps))?.x))?;
        Ok(noise.mapv(|v| v as f32))
    }

    /// The residuals that noise is made into; the inverse of [`Self::encode`].
    ///
    /// # Errors
    /// As there.
    pub fn decode(&self, noise: &Array2<f32>, given: &Array2<f32>, steps: usize) -> Result<Array2<f32>> {
        let noise = noise.mapv(f64::from);
        let decode =
            |flow: &ProbabilityFlow<'_>, x: &Array2<f64>| Ok(flow.decode(x, &OdeConfig::fixed(Solver::Heun, steps))?.x);
        Ok(self.axes.back(&self.carried(&noise, given, &decode)?).mapv(|v| v as f32))
    }

    fn carried(&self, x: &Array2<f64>, given: &Array2<f32>, along: Along<'_>) -> Result<Array2<f64>> {
        check_condition(Some(given), x.nrows(), given.ncols())?;
        let guide = Guide::new(Some(self.known(given)?), 1.0)?;
        // The network of a GPU stays on its thread, so that only the other parts are shared.
        let (AnchoredConfig { sde, t_min, .. }, axes) = (self.config, &*self.axes);
        self.net.in_blocks(x.nrows(), &|net, _, rows| {
            let denoiser = Guided { net, sde: &sde, axes, guide: guide.rows(rows.clone()) };
            let flow = ProbabilityFlow::new(&denoiser, sde)?.ending_at(t_min)?;
            along(&flow, &x.slice(s![rows, ..]).to_owned())
        })
    }

    /// Adds the network and the units of its condition to a state.
    ///
    /// # Errors
    /// Those of the network's walk.
    pub fn add_to(&self, state: State) -> Result<State> {
        let part = self.net.add_to(State::new(&self.condition))?;
        Ok(state
            .with_part(PART, KIND, part)
            .with_vector("axes.variances", &self.axes.variances)
            .with_array("axes.directions", &self.axes.directions))
    }

    /// Takes what [`Self::add_to`] added, of residuals of `dims` numbers with conditions of `width`.
    ///
    /// # Errors
    /// Arrays that are missing or have other shapes.
    pub fn take_from(state: &mut State, config: &AnchoredConfig, dims: usize, width: usize) -> Result<Self> {
        let part = state.part(PART, KIND)?;
        let condition: Standard = part.description()?;
        condition.check_saved(width)?;
        match config.net.n_main_weights(dims, width) {
            Some(weights) if weights <= part.n_values() => {}
            _ => {
                return Err(Error::data(
                    "model.json was edited: the network that it describes is larger than its arrays; train again",
                ));
            }
        }
        let variances = state.vector("axes.variances", dims)?;
        if !variances.iter().all(|v| *v > 0.0 && v.is_finite()) {
            return Err(Error::data("the array `axes.variances` holds a variance that is not above 0; train again"));
        }
        let directions = state.array("axes.directions", Some(dims), Some(dims))?;
        let mut restored = Self::untrained(config, Axes { variances, directions }, condition, width, 0)?;
        restored.net.fill_from(&part)?;
        Ok(restored)
    }
}

/// What is done with the probability flow of some rows.
type Along<'a> = &'a (dyn Fn(&ProbabilityFlow<'_>, &Array2<f64>) -> Result<Array2<f64>> + Sync);

/// The network with its Gaussian part and a condition, in coordinates along the axes.
struct Guided<'a> {
    net: &'a dyn Answers,
    sde: &'a Sde,
    axes: &'a Axes,
    guide: Guide,
}

impl Guided<'_> {
    /// `E[r | x_t]`.
    fn clean(&self, x: &Array2<f64>, t: f64) -> Result<Array2<f64>> {
        let level = Level::at(self.sde, t, self.axes);
        let seen = (x / &level.deviations).mapv(|v| v as f32);
        Ok(x * &level.gains + self.guide.output(self.net, &seen, t)? * level.scale)
    }
}

impl Denoiser for Guided<'_> {
    fn dims(&self) -> usize {
        self.axes.variances.len()
    }

    fn noise(&self, x: &Array2<f64>, t: f64) -> Result<Array2<f64>> {
        let (a, s) = (self.sde.mean(t), self.sde.std(t));
        Ok((x - &(self.clean(x, t)? * a)) / s)
    }
}
