//! Rectified flow or DDPM behind one type.

use super::{ExpressionFlowConfig, ExpressionObjective, ExpressionSampling};
use crate::{
    Result,
    device::Device,
    model::{
        State,
        diffusion::{Diffusion, DiffusionConfig, SampleConfig, SamplerConfig, Schedule, Sde, net::ScoreNetConfig},
        flow::{Flow, FlowConfig, FlowData, FlowPath, Pairing, TransportConfig},
    },
    train::{History, Run, TrainConfig},
};
use ndarray::Array2;

/// Values of cells and their conditions: `(cells, genes)` and `(cells, condition)`.
pub(super) type Points = (Array2<f32>, Array2<f32>);

/// What carries noise to cells.
#[derive(Debug, Clone)]
pub(super) enum Generator {
    Flow(Flow),
    Ddpm(Diffusion),
}

impl Generator {
    /// # Errors
    /// Settings out of range; a device that is not there.
    pub fn new(
        (genes, condition): (usize, usize),
        config: &ExpressionFlowConfig,
        seed: u64,
        device: Device,
    ) -> Result<Self> {
        let net = ScoreNetConfig::GeneTokens(config.net);
        let ExpressionFlowConfig { condition_dropout, ema, parameterization, .. } = *config;
        // The library size, so that guidance is by the perturbation alone.
        let condition_kept = 1;
        Ok(match config.objective {
            ExpressionObjective::RectifiedFlow => {
                // In a hundred dimensions the nearest of a batch is hardly nearer than any other, so pairs are left to chance.
                let (path, pairing) = (FlowPath::Linear, Pairing::Independent);
                let config = FlowConfig { path, pairing, net, condition_dropout, condition_kept, ema };
                Self::Flow(Flow::new(genes, condition, &config, seed, device)?)
            }
            ExpressionObjective::Ddpm => {
                let sde = Sde::Vp(Schedule::linear());
                let usual = DiffusionConfig::default();
                let config =
                    DiffusionConfig { sde, parameterization, net, condition_dropout, condition_kept, ema, ..usual };
                Self::Ddpm(Diffusion::new(genes, condition, &config, seed, device)?)
            }
        })
    }

    /// See [`Flow::set_gene_groups`].
    pub fn set_gene_groups(&mut self, group_of: &[u32]) -> Result<()> {
        match self {
            Self::Flow(flow) => flow.set_gene_groups(group_of),
            Self::Ddpm(diffusion) => diffusion.set_gene_groups(group_of),
        }
    }

    pub fn n_params(&self) -> Result<usize> {
        match self {
            Self::Flow(flow) => flow.n_params(),
            Self::Ddpm(diffusion) => diffusion.n_params(),
        }
    }

    /// Genes and numbers of a condition.
    pub fn sizes(&self) -> (usize, usize) {
        match self {
            Self::Flow(flow) => (flow.dims(), flow.condition()),
            Self::Ddpm(diffusion) => (diffusion.dims(), diffusion.condition()),
        }
    }

    /// # Errors
    /// A loss that stops being finite, an interruption, a folder that cannot be written.
    pub fn fit(
        &mut self,
        (x, given): &Points,
        validation: Option<&Points>,
        train: &TrainConfig,
        run: &mut Run<'_>,
    ) -> Result<History> {
        match self {
            Self::Flow(flow) => {
                let watched = validation.map(|(x, given)| FlowData { source: None, x, condition: Some(given) });
                flow.fit_with(FlowData { source: None, x, condition: Some(given) }, watched, train, run)
            }
            Self::Ddpm(diffusion) => {
                let watched = validation.map(|(x, given)| (x, Some(given)));
                diffusion.fit(x, Some(given), watched, train, run)
            }
        }
    }

    /// One draw for each row of `given`, `(cells, genes)`.
    ///
    /// # Errors
    /// Settings that make no sampler.
    pub fn draw(&self, given: &Array2<f32>, how: &ExpressionSampling, seed: u64) -> Result<Array2<f32>> {
        let ExpressionSampling { steps, guidance, solver, sampler } = *how;
        match self {
            Self::Flow(flow) => {
                flow.sample(given.nrows(), Some(given), &TransportConfig::new(solver, steps).guided(guidance), seed)
            }
            Self::Ddpm(diffusion) => {
                // The times 1, 1 - 1/n, .., 1/n, as those of Euler's method: a last evaluation at nearly no noise would be one
                // that changes nothing, which few steps cannot afford.
                let usual = SamplerConfig::new(sampler, steps);
                let t_min = if steps > 1 { usual.t_min.max(1.0 / steps as f64) } else { usual.t_min };
                let config = SampleConfig { sampler: SamplerConfig { t_min, ..usual }, guidance };
                diffusion.sample(given.nrows(), Some(given), &config, seed)
            }
        }
    }

    /// Adds itself to a state.
    pub fn add_to(&self, state: State) -> Result<State> {
        Ok(match self {
            Self::Flow(flow) => state.with_part("flow", Flow::KIND, flow.state()?),
            Self::Ddpm(diffusion) => state.with_part("ddpm", Diffusion::KIND, diffusion.state()?),
        })
    }

    /// What [`Self::add_to`] added.
    pub fn restore(state: &mut State, objective: ExpressionObjective, device: Device) -> Result<Self> {
        Ok(match objective {
            ExpressionObjective::RectifiedFlow => Self::Flow(Flow::restore(&state.part("flow", Flow::KIND)?, device)?),
            ExpressionObjective::Ddpm => Self::Ddpm(Diffusion::restore(&state.part("ddpm", Diffusion::KIND)?, device)?),
        })
    }
}
