//! The settings of a [`Flow`](super::Flow).

use super::{FlowPath, Pairing};
use crate::{
    Result,
    model::diffusion::{OdeConfig, Solver, config::check_shares, net::ScoreNetConfig},
};
use serde::{Deserialize, Serialize};

/// Along which paths, between which pairs, and by which network.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlowConfig {
    /// From a source sample to its data sample. Default: a straight line.
    pub path: FlowPath,
    /// Which go together in a batch. Default: those of the cheapest assignment.
    pub pairing: Pairing,
    /// The network.
    pub net: ScoreNetConfig,
    /// Probability that a training row's condition is dropped, which is what guidance needs; default 0.1 (Ho and Salimans
    /// 2022). Of no effect without conditions.
    pub condition_dropout: f64,
    /// Largest momentum of the moving average of the weights; default 0.999.
    pub ema: f64,
}

impl Default for FlowConfig {
    fn default() -> Self {
        Self {
            path: FlowPath::default(),
            pairing: Pairing::default(),
            net: ScoreNetConfig::default(),
            condition_dropout: 0.1,
            ema: 0.999,
        }
    }
}

impl FlowConfig {
    /// Checks that the settings make sense.
    ///
    /// # Errors
    /// A setting out of its range, with its name.
    pub fn validate(&self) -> Result<()> {
        self.pairing.validate()?;
        self.net.validate()?;
        check_shares(self.condition_dropout, self.ema)
    }
}

/// How a trained [`Flow`](super::Flow) carries its samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransportConfig {
    /// The solver and its steps. Default: 25 steps of Heun's method.
    pub ode: OdeConfig,
    /// Scale of classifier-free guidance, of the velocity; 1, the default, is the conditional model.
    pub guidance: f64,
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self::new(Solver::Heun, 25)
    }
}

impl TransportConfig {
    /// So many steps of a solver, without guidance.
    pub fn new(solver: Solver, steps: usize) -> Self {
        Self { ode: OdeConfig::fixed(solver, steps), guidance: 1.0 }
    }

    /// The same with this guidance.
    #[must_use]
    pub fn guided(self, guidance: f64) -> Self {
        Self { guidance, ..self }
    }
}
