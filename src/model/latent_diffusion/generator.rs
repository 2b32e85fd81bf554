//! What draws points around a condition's mean: diffusion, or a flow from noise or from control cells.

use crate::{
    Error, Result,
    device::Device,
    math::seeds::stream,
    model::{
        State,
        diffusion::{Diffusion, DiffusionConfig, SampleConfig},
        flow::{Flow, FlowConfig, FlowData, Origin, TransportConfig},
    },
    train::{History, Run, TrainConfig},
};
use ndarray::{Array2, Axis};
use rand::Rng;
use serde::{Deserialize, Serialize};

/// Purpose of the random stream that chooses the control points to begin at.
const CONTROL_POINTS: u64 = 1;

/// Which generator, and how it draws.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
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

/// A trained one.
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
                    (false, Origin::Noise) => Ok(Self::Flow(net, *transport)),
                    (true, Origin::Samples) => {
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
        if let Some(scale) = guidance.filter(|scale| !scale.is_finite() || *scale < 0.0) {
            return Err(Error::config(format!(
                "the guidance scale is {scale}; it must be 0 (no condition), 1 (the condition) or any larger number"
            )));
        }
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
