//! What draws residuals: the diffusion around a Gaussian, or a flow from noise.

use super::{
    config::GeneratorKind,
    denoiser::{AnchoredDiffusion, Points},
    gaussian::Axes,
};
use crate::{
    Error, Result,
    device::Device,
    model::{
        State,
        diffusion::{SampleConfig, denoiser::check_scale},
        flow::{Flow, FlowData, FlowSource, TransportConfig},
    },
    train::{History, Run, TrainConfig},
};
use ndarray::Array2;

/// A trained generator, and how it draws.
#[derive(Debug, Clone)]
pub(super) enum Generator {
    Diffusion(Box<AnchoredDiffusion>, SampleConfig),
    Flow(Box<Flow>, TransportConfig),
}

impl Generator {
    /// Trains on residuals whose pooled covariance has these axes.
    ///
    /// # Errors
    /// A loss that is not finite; an interruption; a folder that cannot be written.
    pub fn fit(
        config: &GeneratorKind,
        axes: &Axes,
        (train, validation): (&Points<'_>, Option<&Points<'_>>),
        training: &TrainConfig,
        run: &mut Run<'_>,
    ) -> Result<(Self, History)> {
        match config {
            GeneratorKind::Diffusion { model, sampling } => {
                let (net, history) = AnchoredDiffusion::fit(model, axes, (train, validation), training, run)?;
                Ok((Self::Diffusion(Box::new(net), *sampling), history))
            }
            GeneratorKind::Flow { model, transport } => {
                let (dims, width) = (train.r.ncols(), train.given.ncols());
                let mut net = Flow::new(dims, width, model, training.seed, Device::Cpu)?;
                let data = FlowData { source: None, x: train.r, condition: Some(train.given) };
                let validation =
                    validation.map(|points| FlowData { source: None, x: points.r, condition: Some(points.given) });
                let history = net.fit_with(data, validation, training, run)?;
                Ok((Self::Flow(Box::new(net), *transport), history))
            }
        }
    }

    /// The same with other steps of the sampler or solver, and another scale of the guidance.
    ///
    /// # Errors
    /// No steps; a guidance that is negative or not finite.
    pub fn with_sampling(&self, steps: Option<usize>, guidance: Option<f64>) -> Result<Self> {
        guidance.map_or(Ok(()), check_scale)?;
        let mut changed = self.clone();
        match &mut changed {
            Self::Diffusion(_, sampling) => {
                sampling.sampler.steps = steps.unwrap_or(sampling.sampler.steps);
                sampling.guidance = guidance.unwrap_or(sampling.guidance);
                sampling.sampler.validate()?;
            }
            Self::Flow(_, transport) => {
                transport.ode.steps = steps.unwrap_or(transport.ode.steps);
                transport.guidance = guidance.unwrap_or(transport.guidance);
                transport.ode.validate()?;
            }
        }
        Ok(changed)
    }

    /// One residual for each row of `given`, `(rows, dims)`.
    ///
    /// # Errors
    /// Another width.
    pub fn draw(&self, given: &Array2<f32>, seed: u64) -> Result<Array2<f32>> {
        match self {
            Self::Diffusion(net, sampling) => net.draw(given, sampling, seed),
            Self::Flow(net, transport) => net.sample(given.nrows(), Some(given), transport, seed),
        }
    }

    /// The residuals r of cells that were given `from` as they would be given `to`: taken back to the noise that they came
    /// from, and forward again (abduction, action, prediction; Pearl 2009).
    ///
    /// # Errors
    /// Other widths.
    pub fn counterfactual(&self, r: &Array2<f32>, from: &Array2<f32>, to: &Array2<f32>) -> Result<Array2<f32>> {
        match self {
            Self::Diffusion(net, sampling) => {
                let steps = sampling.sampler.steps;
                net.decode(&net.encode(r, from, steps)?, to, steps)
            }
            Self::Flow(net, transport) => {
                let noise = net.encode(r, Some(from), transport)?;
                net.transport(&noise, Some(to), transport)
            }
        }
    }

    /// Adds it to a state.
    ///
    /// # Errors
    /// Those of the network.
    pub fn add_to(&self, state: State) -> Result<State> {
        match self {
            Self::Diffusion(net, _) => net.add_to(state),
            Self::Flow(net, _) => Ok(state.with_part("generator", Flow::KIND, net.state()?)),
        }
    }

    /// The generator of a state, of residuals of `dims` numbers with conditions of `width`.
    ///
    /// # Errors
    /// A part that is missing, or does not fit the settings or these sizes.
    pub fn take_from(state: &mut State, config: &GeneratorKind, dims: usize, width: usize) -> Result<Self> {
        match config {
            GeneratorKind::Diffusion { model, sampling } => {
                let net = AnchoredDiffusion::take_from(state, model, dims, width)?;
                Ok(Self::Diffusion(Box::new(net), *sampling))
            }
            GeneratorKind::Flow { transport, .. } => {
                let net = Flow::restore(&state.part("generator", Flow::KIND)?, Device::Cpu)?;
                if (net.dims(), net.condition(), net.origin()?) != (dims, width, FlowSource::Noise) {
                    return Err(Error::data("the flow is of another width than the embeddings; train again"));
                }
                Ok(Self::Flow(Box::new(net), *transport))
            }
        }
    }
}
