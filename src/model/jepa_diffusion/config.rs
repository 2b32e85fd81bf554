//! Settings of the diffusion in the JEPA's embedding space.

use crate::{
    Error, Result,
    data::DataKind,
    model::{
        ModelConfig,
        diffusion::{DiffusionConfig, SampleConfig, Schedule, Sde, config::check_shares, net::ScoreNetConfig},
        flow::{FlowConfig, TransportConfig},
        jepa::{JepaSettings, Phase},
    },
    train::TrainConfig,
};
use serde::{Deserialize, Serialize};

/// The diffusion whose network starts at the optimal denoiser of Gaussian data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnchoredConfig {
    /// How the noise grows. Default: variance preserving, with the cosine schedule.
    pub sde: Sde,
    /// The earliest time, in training and in sampling; default 1e-3.
    pub t_min: f64,
    /// The network. Default: a FiLM MLP of 3 blocks of 128 features, about twice the width of z.
    pub net: ScoreNetConfig,
    /// Probability that a training row's condition is dropped, which is what guidance needs; default 0.1 (Ho and Salimans
    /// 2022).
    pub condition_dropout: f64,
    /// Largest momentum of the moving average of the weights; default 0.999.
    pub ema: f64,
}

impl Default for AnchoredConfig {
    fn default() -> Self {
        Self {
            sde: Sde::Vp(Schedule::cosine()),
            t_min: 1e-3,
            net: ScoreNetConfig::film_mlp(128, 3),
            condition_dropout: 0.1,
            ema: 0.999,
        }
    }
}

/// What draws the residuals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum GeneratorKind {
    /// Diffusion.
    Diffusion {
        /// The network and its noise.
        #[serde(default)]
        model: AnchoredConfig,
        /// Sampler, steps, guidance.
        #[serde(default)]
        sampling: SampleConfig,
    },
    /// A flow from noise.
    Flow {
        /// The network and its path.
        #[serde(default)]
        model: FlowConfig,
        /// Solver, steps, guidance.
        #[serde(default)]
        transport: TransportConfig,
    },
}

impl Default for GeneratorKind {
    fn default() -> Self {
        Self::Diffusion { model: AnchoredConfig::default(), sampling: SampleConfig::default() }
    }
}

impl GeneratorKind {
    fn validate(&self) -> Result<()> {
        match self {
            Self::Diffusion { model, sampling } => {
                model.sde.validate()?;
                model.net.validate()?;
                if !(model.t_min > 0.0 && model.t_min < 0.5) {
                    let t_min = model.t_min;
                    return Err(Error::config(format!("t_min = {t_min}, but it must be above 0 and below 0.5")));
                }
                check_shares(model.condition_dropout, model.ema)?;
                sampling.sampler.validate()
            }
            Self::Flow { model, transport } => {
                model.validate()?;
                transport.ode.validate()
            }
        }
    }
}

/// The tables of a configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JepaDiffusionSettings {
    /// The JEPA whose embedding space it is; both of its phases are trained.
    pub jepa: JepaSettings,
    /// What draws the residuals.
    pub generator: GeneratorKind,
    /// Its training; the seed is that of the task. Stopped early by the validation cells where there are some.
    pub training: TrainConfig,
    /// Control cells that each training cell is given in an epoch; fewer where `most_rows` would be exceeded.
    pub control_cells: usize,
    /// Most rows of an epoch.
    pub most_rows: usize,
}

impl Default for JepaDiffusionSettings {
    fn default() -> Self {
        Self {
            jepa: JepaSettings::default(),
            generator: GeneratorKind::default(),
            training: TrainConfig { epochs: 40, early_stopping: Some(8), ..DiffusionConfig::training() },
            control_cells: 4,
            most_rows: 100_000,
        }
    }
}

impl ModelConfig for JepaDiffusionSettings {
    fn default_for(_: DataKind) -> Self {
        Self::default()
    }

    fn validate(&self) -> Result<()> {
        self.jepa.validate()?;
        if self.jepa.phase == Phase::A {
            return Err(Error::config(
                "jepa.phase = \"a\": a diffusion in the jepa's space needs its predictor and its decoder; leave phase out",
            ));
        }
        if self.control_cells == 0 || self.most_rows == 0 {
            return Err(Error::config("control_cells and most_rows must be at least 1"));
        }
        self.generator.validate()?;
        self.training.validate()
    }

    fn set_epochs(&mut self, epochs: usize) {
        self.jepa.set_epochs(epochs);
        self.training.epochs = epochs;
    }

    fn seed(&self) -> u64 {
        self.training.seed
    }

    fn of_size(size: &str) -> Option<Self> {
        Some(Self { jepa: JepaSettings::of_size(size)?, ..Self::default() })
    }

    fn size_for(cells: usize) -> Option<&'static str> {
        JepaSettings::size_for(cells)
    }

    fn set_phase(&mut self, phase: &str) -> Result<()> {
        match phase {
            "ab" => Ok(()),
            "a" => Err(Error::config(
                "--phase a: a diffusion in the jepa's space needs its predictor and its decoder, which phase b trains; \
                 leave the option out, or train --model jepa --phase a",
            )),
            _ => Err(Error::config(format!("--phase {phase}: there is ab"))),
        }
    }
}
