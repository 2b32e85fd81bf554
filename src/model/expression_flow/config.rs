//! The settings.

use crate::{
    Error, Result,
    data::DataKind,
    model::{
        ModelConfig,
        diffusion::{
            DiffusionConfig, Parameterization, Sampler, Solver,
            config::check_shares,
            net::{GeneTokensConfig, ScoreNetConfig, Tokenization},
        },
        jepa::Grouping,
    },
    train::TrainConfig,
};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What the network learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpressionObjective {
    /// The velocity along straight lines from noise to cells.
    #[default]
    RectifiedFlow,
    /// The noise in cells, at a linear schedule.
    Ddpm,
}

impl ExpressionObjective {
    /// The name: `rectified-flow` or `ddpm`.
    pub fn name(self) -> &'static str {
        match self {
            Self::RectifiedFlow => "rectified-flow",
            Self::Ddpm => "ddpm",
        }
    }
}

/// The model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExpressionFlowConfig {
    /// What the network learns. Default: rectified flow.
    pub objective: ExpressionObjective,
    /// What a DDPM predicts; default epsilon, as Ho et al. 2020.
    pub parameterization: Parameterization,
    /// Whether uniform noise makes a density of the counts; default true.
    pub dequantize: bool,
    /// Probability that a training cell's condition is dropped, which is what guidance needs; default 0.1.
    pub condition_dropout: f64,
    /// Largest momentum of the moving average of the weights; default 0.99.
    pub ema: f64,
    /// The network.
    pub net: GeneTokensConfig,
}

impl Default for ExpressionFlowConfig {
    fn default() -> Self {
        Self {
            objective: ExpressionObjective::default(),
            parameterization: Parameterization::Epsilon,
            dequantize: true,
            condition_dropout: 0.1,
            ema: 0.99,
            net: GeneTokensConfig::default(),
        }
    }
}

/// How cells are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExpressionSampling {
    /// Steps from noise to a cell; default 8, beyond which drawn cells came no nearer to held-out ones. One evaluation of the network each, two with the solver heun.
    pub steps: usize,
    /// Scale of classifier-free guidance; 1, the default, is the conditional model. Any other but 0 doubles the evaluations.
    pub guidance: f64,
    /// Solver of a rectified flow: euler (the default), heun or rk4.
    pub solver: Solver,
    /// Sampler of a DDPM; default ddim, which draws better cells in few steps than ddpm.
    pub sampler: Sampler,
}

impl Default for ExpressionSampling {
    fn default() -> Self {
        Self { steps: 8, guidance: 1.0, solver: Solver::Euler, sampler: Sampler::Ddim }
    }
}

impl ExpressionSampling {
    /// So many steps, and the defaults for the rest.
    pub fn steps(steps: usize) -> Self {
        Self { steps, ..Self::default() }
    }
}

/// The tables of a configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExpressionFlowSettings {
    /// The model.
    pub model: ExpressionFlowConfig,
    /// How genes are divided for the tokenisation `modules`: by their correlation over training cells, at random, or by gene sets.
    pub modules: Grouping,
    /// How cells are drawn.
    pub sampling: ExpressionSampling,
    /// The training.
    pub train: TrainConfig,
}

impl Default for ExpressionFlowSettings {
    fn default() -> Self {
        Self {
            model: ExpressionFlowConfig::default(),
            modules: Grouping::default(),
            sampling: ExpressionSampling::default(),
            train: TrainConfig { batch_size: 128, ..DiffusionConfig::training() },
        }
    }
}

impl ExpressionFlowSettings {
    /// Refuses settings that another tokenisation or objective would need.
    fn refuse_settings_of_others(&self) -> Result<()> {
        let usual = Self::default();
        let tokens = self.model.net.tokens.name();
        let (objective, flow) =
            (self.model.objective.name(), self.model.objective == ExpressionObjective::RectifiedFlow);
        let what = if self.modules != usual.modules && !matches!(self.model.net.tokens, Tokenization::Modules { .. }) {
            format!(
                "modules: gene sets and groups are for tokens of the kind \"modules\", and these are of the kind {tokens:?}"
            )
        } else if flow && self.model.parameterization != usual.model.parameterization {
            format!("parameterization is for the objective \"ddpm\", and this one is {objective:?}")
        } else if flow && self.sampling.sampler != usual.sampling.sampler {
            format!("sampler is for the objective \"ddpm\", and this one is {objective:?}: it takes a solver")
        } else if !flow && self.sampling.solver != usual.sampling.solver {
            format!("solver is for the objective \"rectified-flow\", and this one is {objective:?}: it takes a sampler")
        } else {
            return Ok(());
        };
        Err(Error::config(format!("{what}; leave it out")))
    }
}

impl ModelConfig for ExpressionFlowSettings {
    fn default_for(_: DataKind) -> Self {
        Self::default()
    }

    fn validate(&self) -> Result<()> {
        ScoreNetConfig::GeneTokens(self.model.net).validate()?;
        self.refuse_settings_of_others()?;
        check_shares(self.model.condition_dropout, self.model.ema)?;
        if self.sampling.steps == 0 {
            return Err(Error::config("sampling: steps = 0, but it must be at least 1"));
        }
        if self.sampling.solver == Solver::DormandPrince {
            return Err(Error::config("sampling: the solver must have fixed steps: euler, heun or rk4"));
        }
        if !(self.sampling.guidance >= 0.0 && self.sampling.guidance.is_finite()) {
            let guidance = self.sampling.guidance;
            return Err(Error::config(format!("sampling: guidance = {guidance}, but it must be a number from 0")));
        }
        self.train.validate()
    }

    fn set_epochs(&mut self, epochs: usize) {
        self.train.epochs = epochs;
    }

    /// Of use to tokens that are modules alone.
    fn set_gene_sets(&mut self, file: &Path) {
        if matches!(self.model.net.tokens, Tokenization::Modules { .. }) {
            self.modules = Grouping::GeneSets { file: file.to_owned() };
        }
    }

    fn seed(&self) -> u64 {
        self.train.seed
    }
}
