//! What the network is told of a condition (where its control cells are, where its own cells are, what its genes do), and
//! what draws points around the condition's mean: diffusion, or a flow from noise or from control cells.

use super::space::{mean_of, square};
use crate::{
    Error, Result,
    data::{Condition, Counts, EffectTable, Perturbation, in_context},
    device::Device,
    math::{directions, seeds::stream, sum_factor},
    model::{
        CellCovariates, State,
        combination::CombinationModel,
        diffusion::{Diffusion, DiffusionConfig, SampleConfig, denoiser::check_scale},
        flow::{Flow, FlowConfig, FlowData, FlowSource, TransportConfig},
    },
    train::{History, Run, TrainConfig},
};
use ndarray::{Array1, Array2, Axis, concatenate};
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Control cells of a context that predictions take lanes and library sizes from.
const CARRIERS: usize = 1024;
/// Fewer cells of a condition have no mean of their own in the latent space.
const FEWEST_CELLS: usize = 5;

/// Everything of the training fold that a prediction refers to.
#[derive(Debug, Clone)]
pub(super) struct Atlas {
    /// What predicts mean effects.
    pub combination: CombinationModel,
    pub homes: BTreeMap<Option<String>, Home>,
    pub trained: BTreeMap<Condition, Trained>,
    /// Factor on the sum of the shifts of a combination's genes.
    pub factor: f64,
    /// Directions of effects, `(directions, genes)`.
    pub basis: Array2<f64>,
    /// What scores on them are divided by.
    pub scale: f64,
}

/// What is known of a context: its control cells.
#[derive(Debug, Clone)]
pub(super) struct Home {
    /// Mean point of the control cells, `(dims,)`.
    pub point: Array1<f64>,
    /// Mean log-normalised expression of the control cells, `(genes,)`.
    pub profile: Array1<f64>,
    /// Lanes and library sizes of control cells.
    pub carriers: Vec<CellCovariates>,
}

/// What is known of a condition that was trained on.
#[derive(Debug, Clone)]
pub(super) struct Trained {
    /// Mean point less that of its control, `(dims,)`.
    pub shift: Array1<f64>,
    /// Mean log-normalised expression, `(genes,)`.
    pub profile: Array1<f64>,
    /// Number of cells.
    pub cells: usize,
}

impl Atlas {
    /// Of training cells: the rows of each condition, their points `z` (`place` says where a row's stands) and what else
    /// each has; `effects` `(conditions, genes)` are the mean effects that the network is told of by their directions.
    ///
    /// # Errors
    /// Effects that are all zero: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn new(
        combination: CombinationModel,
        prototypes: &EffectTable,
        most_directions: usize,
        (rows_of, expression): (&BTreeMap<Condition, Vec<usize>>, &Counts),
        (z, place, carriers): (&Array2<f32>, &BTreeMap<usize, usize>, &[CellCovariates]),
    ) -> Result<Self> {
        let mean_point = |rows: &[usize]| -> Array1<f64> {
            let places: Vec<usize> = rows.iter().map(|row| place[row]).collect();
            z.select(Axis(0), &places).mapv(f64::from).mean_axis(Axis(0)).expect("a condition has a cell")
        };
        let (mut homes, mut trained) = (BTreeMap::new(), BTreeMap::new());
        for (condition, rows) in rows_of.iter().filter(|(condition, _)| condition.perturbation.is_control()) {
            let carriers = rows.iter().map(|row| carriers[place[row]].clone()).take(CARRIERS).collect();
            let home = Home { point: mean_point(rows), profile: mean_of(expression, rows), carriers };
            homes.insert(condition.context.clone(), home);
        }
        for (condition, rows) in rows_of {
            let Some(home) = homes.get(&condition.context).filter(|_| rows.len() >= FEWEST_CELLS) else { continue };
            let (shift, profile) = (mean_point(rows) - &home.point, mean_of(expression, rows));
            trained.insert(condition.clone(), Trained { shift, profile, cells: rows.len() });
        }
        let effects = prototypes.effects.mapv(f64::from);
        let basis = directions(&effects, most_directions)?;
        let scale = effects.dot(&basis.t()).mapv(|score| score * score).mean().unwrap_or(1.0).sqrt();
        Ok(Self { combination, factor: factor(&trained), homes, trained, basis, scale })
    }

    /// Numbers that the network is told of a condition.
    pub fn width(&self) -> usize {
        let dims = self.homes.values().next().map_or(0, |home| home.point.len());
        self.basis.nrows() + if self.homes.len() == 1 { 0 } else { dims }
    }

    /// What the network is told of a condition: the scores of its predicted effect, and where its control cells are.
    ///
    /// # Errors
    /// Genes that nothing is known of; no control cell of its context: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn told(&self, condition: &Condition) -> Result<Array1<f32>> {
        let home = self.home(condition)?;
        let effect = match condition.perturbation.is_control() {
            true => Array1::zeros(self.basis.ncols()),
            false => self.combination.effect(condition)?,
        };
        let scores = self.basis.dot(&effect) / self.scale;
        let told = match self.homes.len() {
            1 => scores,
            _ => concatenate![Axis(0), scores, home.point],
        };
        Ok(told.mapv(|value| value as f32))
    }

    /// The context of a condition.
    ///
    /// # Errors
    /// No control cell of it was trained on: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn home(&self, condition: &Condition) -> Result<&Home> {
        let none = || Error::inapplicable(format!("{condition}: no control cell of its context was trained on"));
        self.homes.get(&condition.context).ok_or_else(none)
    }

    /// The mean point of a condition, `(dims,)`: as it was trained, or from its genes.
    pub fn center(&self, condition: &Condition) -> Result<Array1<f64>> {
        let home = self.home(condition)?;
        if let Some(trained) = self.trained.get(condition) {
            return Ok(&home.point + &trained.shift);
        }
        let genes = condition.perturbation.genes();
        let factor = if genes.len() > 1 { self.factor } else { 1.0 };
        let mut center = home.point.clone();
        for gene in genes {
            // A gene that was never perturbed alone shifts the mean expression, not the latents.
            if let Some(shift) = shift_of(&self.trained, gene, condition.context.as_ref()) {
                center.scaled_add(factor, &shift);
            }
        }
        Ok(center)
    }
}

/// The rows of each condition.
pub(super) fn grouped(rows: &[usize], conditions: &[Condition]) -> BTreeMap<Condition, Vec<usize>> {
    let mut rows_of: BTreeMap<Condition, Vec<usize>> = BTreeMap::new();
    rows.iter().for_each(|&row| rows_of.entry(conditions[row].clone()).or_default().push(row));
    rows_of
}

/// The shift of a gene that was perturbed alone: in the context, else the mean over the others.
fn shift_of(trained: &BTreeMap<Condition, Trained>, gene: &str, context: Option<&String>) -> Option<Array1<f64>> {
    in_context(trained, &Perturbation::of([gene]), context, |known| &known.shift)
}

/// The factor on the sum of shifts that serves the training combinations best, within 0 to 1.5; 1 where there is none.
fn factor(trained: &BTreeMap<Condition, Trained>) -> f64 {
    let (mut along, mut size) = (0.0, 0.0);
    for (condition, known) in trained.iter().filter(|(condition, _)| condition.perturbation.genes().len() > 1) {
        let genes = condition.perturbation.genes();
        let parts: Option<Vec<Array1<f64>>> =
            genes.iter().map(|gene| shift_of(trained, gene, condition.context.as_ref())).collect();
        let Some(parts) = parts else { continue };
        let sum = parts.iter().fold(Array1::zeros(known.shift.len()), |sum, part| sum + part);
        along += sum.dot(&known.shift);
        size += square(sum.view());
    }
    sum_factor(along, size)
}

/// Purpose of the random stream that chooses the control points to begin at.
const CONTROL_POINTS: u64 = 1;

/// Which generator, and how it draws.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum GeneratorConfig {
    /// Diffusion from noise.
    Diffusion {
        /// The network and its noise.
        #[serde(default)]
        model: DiffusionConfig,
        /// Sampler, steps, guidance.
        #[serde(default)]
        sampling: SampleConfig,
    },
    /// A flow.
    Flow {
        /// The network and its path.
        #[serde(default)]
        model: FlowConfig,
        /// Solver and steps.
        #[serde(default)]
        transport: TransportConfig,
        /// Whether it begins at control cells, rather than at noise: the map from control to perturbed cells.
        #[serde(default)]
        from_control: bool,
    },
}

impl Default for GeneratorConfig {
    fn default() -> Self {
        Self::Diffusion { model: DiffusionConfig::default(), sampling: SampleConfig::default() }
    }
}

impl GeneratorConfig {
    /// Refuses settings that cannot train.
    ///
    /// # Errors
    /// A setting out of its range, with its name.
    pub fn validate(&self) -> Result<()> {
        match self {
            Self::Diffusion { model, sampling } => {
                model.validate()?;
                sampling.sampler.validate()
            }
            Self::Flow { model, transport, .. } => {
                model.validate()?;
                transport.ode.validate()
            }
        }
    }
}

/// A trained generator.
#[derive(Debug, Clone)]
pub(super) enum Generator {
    Diffusion(Diffusion, SampleConfig),
    Flow(Flow, TransportConfig),
    /// With the points of control cells that it may begin at, `(cells, dims)`.
    FromControl(Flow, TransportConfig, Array2<f32>),
}

/// Points and what is known of each.
pub(super) struct Points<'a> {
    /// `(rows, dims)`.
    pub x: &'a Array2<f32>,
    /// `(rows, width)`.
    pub condition: &'a Array2<f32>,
}

impl Generator {
    /// Trains on `train`, with `watched` as validation; `controls` are points of control cells, `(cells, dims)`.
    ///
    /// # Errors
    /// A loss that is not finite; an interruption.
    pub fn fit(
        config: &GeneratorConfig,
        train: &Points<'_>,
        watched: Option<&Points<'_>>,
        controls: &Array2<f32>,
        training: &TrainConfig,
        options: &mut Run<'_>,
    ) -> Result<(Self, History)> {
        let (dims, width, seed) = (train.x.ncols(), train.condition.ncols(), training.seed);
        match config {
            GeneratorConfig::Diffusion { model, sampling } => {
                let mut net = Diffusion::new(dims, width, model, seed, Device::Cpu)?;
                let watched = watched.map(|points| (points.x, Some(points.condition)));
                let history = net.fit(train.x, Some(train.condition), watched, training, options)?;
                Ok((Self::Diffusion(net, *sampling), history))
            }
            GeneratorConfig::Flow { model, transport, from_control } => {
                let mut net = Flow::new(dims, width, model, seed, Device::Cpu)?;
                let source = from_control.then_some(controls);
                let data = FlowData { source, x: train.x, condition: Some(train.condition) };
                let watched = watched.map(|points| FlowData { source, x: points.x, condition: Some(points.condition) });
                let history = net.fit_with(data, watched, training, options)?;
                let net = match from_control {
                    true => Self::FromControl(net, *transport, controls.clone()),
                    false => Self::Flow(net, *transport),
                };
                Ok((net, history))
            }
        }
    }

    /// Adds the generator to the state of a model, as its part `generator`.
    ///
    /// # Errors
    /// Those of the network.
    pub fn add_to(&self, state: State) -> Result<State> {
        Ok(match self {
            Self::Diffusion(net, _) => state.with_part("generator", Diffusion::KIND, net.state()?),
            Self::Flow(net, _) => state.with_part("generator", Flow::KIND, net.state()?),
            Self::FromControl(net, _, controls) => {
                state.with_part("generator", Flow::KIND, net.state()?).with_array("controls", &controls.mapv(f64::from))
            }
        })
    }

    /// The generator that is the part `generator` of a state, of points `(dims,)` with conditions `(width,)`.
    ///
    /// # Errors
    /// A part that is missing, or does not fit the settings or these sizes.
    pub fn restore(config: &GeneratorConfig, state: &mut State, dims: usize, width: usize) -> Result<Self> {
        let check = |found: (usize, usize)| match found == (dims, width) {
            true => Ok(()),
            false => Err(Error::data("the generator is of another width than the points; train again")),
        };
        match config {
            GeneratorConfig::Diffusion { sampling, .. } => {
                let net = Diffusion::restore(&state.part("generator", Diffusion::KIND)?, Device::Cpu)?;
                check((net.dims(), net.condition()))?;
                Ok(Self::Diffusion(net, *sampling))
            }
            GeneratorConfig::Flow { transport, from_control, .. } => {
                let net = Flow::restore(&state.part("generator", Flow::KIND)?, Device::Cpu)?;
                check((net.dims(), net.condition()))?;
                match (from_control, net.origin()?) {
                    (false, FlowSource::Noise) => Ok(Self::Flow(net, *transport)),
                    (true, FlowSource::Samples) => {
                        let controls = state.array("controls", None, Some(dims))?;
                        if controls.is_empty() {
                            return Err(Error::data("the array `controls` is empty; train again"));
                        }
                        Ok(Self::FromControl(net, *transport, controls.mapv(|value| value as f32)))
                    }
                    _ => Err(Error::data("the flow does not begin where the settings say; train again")),
                }
            }
        }
    }

    /// Changes the steps of the sampler or solver, and the scale of the guidance.
    ///
    /// # Errors
    /// No steps; a guidance that is negative or not finite.
    pub fn set_sampling(&mut self, steps: Option<usize>, guidance: Option<f64>) -> Result<()> {
        guidance.map_or(Ok(()), check_scale)?;
        match self {
            Self::Diffusion(_, sampling) => {
                sampling.sampler.steps = steps.unwrap_or(sampling.sampler.steps);
                sampling.guidance = guidance.unwrap_or(sampling.guidance);
                sampling.sampler.validate()
            }
            Self::Flow(_, transport) | Self::FromControl(_, transport, _) => {
                transport.ode.steps = steps.unwrap_or(transport.ode.steps);
                transport.guidance = guidance.unwrap_or(transport.guidance);
                transport.ode.validate()
            }
        }
    }

    /// One point for each row of `condition`, `(rows, dims)`.
    ///
    /// # Errors
    /// A condition of another width; a network that gives what is not finite.
    pub fn draw(&self, condition: &Array2<f32>, seed: u64) -> Result<Array2<f32>> {
        match self {
            Self::Diffusion(net, sampling) => net.sample(condition.nrows(), Some(condition), sampling, seed),
            Self::Flow(net, transport) => net.sample(condition.nrows(), Some(condition), transport, seed),
            Self::FromControl(net, transport, controls) => {
                net.transport(&begun(controls, condition.nrows(), seed), Some(condition), transport)
            }
        }
    }

    /// The points `x` of cells under the condition `from` as they would be under `to`: taken to the noise (or control)
    /// that they came from, and back (abduction, action, prediction; Pearl 2009).
    ///
    /// # Errors
    /// As [`Self::draw`].
    pub fn counterfactual(&self, x: &Array2<f32>, from: &Array2<f32>, to: &Array2<f32>) -> Result<Array2<f32>> {
        match self {
            Self::Diffusion(net, sampling) => {
                let noise = net.encode(x, Some(from), sampling.sampler.steps)?;
                net.decode(&noise, Some(to), sampling.sampler.steps)
            }
            Self::Flow(net, transport) | Self::FromControl(net, transport, _) => {
                let source = net.encode(x, Some(from), transport)?;
                net.transport(&source, Some(to), transport)
            }
        }
    }
}

/// `n` rows of `controls`, drawn with replacement.
fn begun(controls: &Array2<f32>, n: usize, seed: u64) -> Array2<f32> {
    let mut rng = stream(seed, CONTROL_POINTS, 0);
    let chosen: Vec<usize> = (0..n).map(|_| rng.random_range(0..controls.nrows())).collect();
    controls.select(Axis(0), &chosen)
}
