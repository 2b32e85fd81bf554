//! Static and dynamic profiles in one latent space, and rectified flow over sequences of them.
//!
//! Bulk samples and conditions that were measured once are to time courses what images are to videos: sequences of length 1, or of 2
//! where the control of their context is known and put before them. One
//! encoder maps every mean profile to a latent, and one velocity field draws sequences of any length, as Goku does with images and
//! videos (Chen et al. 2025, *Goku: Flow Based Video Generative Foundation Models*).
//!
//! ```text
//! z_i  = encoder(profile i)                       the same for static profiles, control and every time of a course
//! x_t  = (1 - t) x_0 + t x_1                      x_0 ~ N(0, I); x_1: latents of a sequence, relative to their anchors
//! loss = E |v(x_t, t, context) - (x_1 - x_0)|^2   over the generated tokens (rectified flow: Liu et al. 2023)
//! v    = transformer over the tokens of a sequence: full attention, adaptive norms of
//!        silu(T(t_i) + W_2 silu(W_1 [given_i, time known_i, doses_i, waves(time_i)]))
//! t_i  = t of a generated token, 1 of a given one
//! ```
//!
//! The anchor of a generated token is the latent of the nearest given token before it (else after it, else 0): the network learns the
//! change from what is known. Masks are drawn in training, so that one network generates a course from nothing, continues it from
//! control or from its first points, fills in missing times, and draws static profiles.
//!
//! | file | what |
//! |---|---|
//! | `coder` | the autoencoder of profiles |
//! | `sequences` | tokens, tasks, packed batches |
//! | `net` | the velocity, its loss, draws |
//! | `query` | predictions: courses, completions, held-out courses beside other dynamics |
//! | `model` | training, files, the contract of all models |

mod coder;
mod model;
mod net;
mod query;
mod sequences;

pub use coder::{ProfileCoder, ProfileScores};
pub use model::StaticDynamic;
pub use net::{VelocityNet, noise};
pub use query::{Completion, Part, course_error};
pub use sequences::{Packed, SequenceSet, Shown, TokenSequence, lengths};

use crate::{
    Error, Result,
    data::{CourseColumns, DataKind, Dataset, Split},
    model::{
        ModelConfig,
        world::{self, CourseSettings},
    },
    train::{LearningRateSchedule, TrainConfig},
};
use serde::{Deserialize, Serialize};

/// Which sequences are trained on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kinds {
    /// Courses and static profiles.
    #[default]
    Both,
    /// Courses of at least two times after the start.
    Dynamic,
    /// Profiles without a time, and conditions that were measured at one time.
    Static,
}

/// The autoencoder of profiles.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CoderConfig {
    /// Numbers of a latent. Default 16, or as many as there are components.
    pub latent: usize,
    /// Principal components that the encoder reads, or as many as there can be. Default 24.
    pub components: usize,
    /// Width of the hidden layers. Default 64.
    pub hidden: usize,
    /// beta, the weight of the divergence. Default 0.01.
    pub beta: f64,
}

impl Default for CoderConfig {
    fn default() -> Self {
        Self { latent: 16, components: 24, hidden: 64, beta: 0.01 }
    }
}

/// The method that integrates the flow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Integrator {
    /// One velocity per step.
    Euler,
    /// Two velocities per step, second order.
    #[default]
    Heun,
}

/// The velocity network, and how it is drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SequenceFlowConfig {
    /// Which sequences are trained on. Default both.
    pub kinds: Kinds,
    /// Whether a profile without a time follows the control of its context, where that is known; else it is alone. Default true.
    pub static_after_control: bool,
    /// Features of a token. Default 64.
    pub width: usize,
    /// Blocks. Default 3.
    pub depth: usize,
    /// Attention heads, which divide the width. Default 4.
    pub heads: usize,
    /// Rows of an epoch per sequence, each with a task, a flow time and noise of its own. Default 4.
    pub repeats: usize,
    /// What integrates the flow for a draw. Default Heun.
    pub method: Integrator,
    /// Steps from noise to a sequence. Default 8.
    pub steps: usize,
    /// Draws behind a mean course. Default 32.
    pub draws: usize,
}

impl Default for SequenceFlowConfig {
    fn default() -> Self {
        Self {
            kinds: Kinds::Both,
            static_after_control: true,
            width: 64,
            depth: 3,
            heads: 4,
            repeats: 4,
            method: Integrator::Heun,
            steps: 8,
            draws: 32,
        }
    }
}

/// The tables of a configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StaticDynamicSettings {
    /// The sequences, as those of the world model; its components are those of the space that held-out courses are judged in.
    pub courses: CourseSettings,
    /// The autoencoder.
    pub profiles: CoderConfig,
    /// The flow.
    pub flow: SequenceFlowConfig,
    /// Training of the autoencoder.
    pub profiles_train: TrainConfig,
    /// Training of the flow.
    pub train: TrainConfig,
}

impl Default for StaticDynamicSettings {
    fn default() -> Self {
        let schedule = LearningRateSchedule::WarmupCosine { warmup_steps: 20, final_fraction: 0.01 };
        let train = TrainConfig {
            batch_size: 32,
            learning_rate: 2e-3,
            schedule,
            clip_norm: Some(10.0),
            ..TrainConfig::default()
        };
        Self {
            courses: CourseSettings::default(),
            profiles: CoderConfig::default(),
            flow: SequenceFlowConfig::default(),
            profiles_train: TrainConfig { epochs: 60, early_stopping: Some(20), ..train.clone() },
            train: TrainConfig { epochs: 60, early_stopping: Some(20), ..train },
        }
    }
}

impl ModelConfig for StaticDynamicSettings {
    fn default_for(_: DataKind) -> Self {
        Self::default()
    }

    fn validate(&self) -> Result<()> {
        let CoderConfig { latent, components, hidden, beta } = self.profiles;
        let SequenceFlowConfig { width, depth, heads, repeats, steps, draws, .. } = self.flow;
        for (name, value) in [
            ("courses.components", self.courses.components),
            ("replicates", self.courses.replicates),
            ("latent", latent),
            ("profiles.components", components),
            ("hidden", hidden),
            ("width", width),
            ("depth", depth),
            ("heads", heads),
            ("repeats", repeats),
            ("steps", steps),
            ("draws", draws),
        ] {
            if value == 0 {
                return Err(Error::config(format!("{name} = 0, but it must be at least 1")));
            }
        }
        if !width.is_multiple_of(heads) {
            return Err(Error::config(format!("heads = {heads}, but it must divide the width of {width}")));
        }
        if !(beta >= 0.0 && beta.is_finite()) {
            return Err(Error::config(format!("beta = {beta}, but it must be a number of at least 0")));
        }
        self.profiles_train.validate()?;
        self.train.validate()
    }

    /// Of the flow alone: a training that is resumed with more epochs must find the latents that it began with.
    fn set_epochs(&mut self, epochs: usize) {
        self.train.epochs = epochs;
    }

    fn seed(&self) -> u64 {
        self.train.seed
    }

    fn set_course_columns(&mut self, columns: &CourseColumns) -> Result<()> {
        self.courses.columns.lay(columns);
        Ok(())
    }

    fn divide(&self, data: &Dataset, held_out: [f64; 2], seed: u64) -> Result<Option<Split>> {
        world::divide(data, &self.courses.columns, held_out, seed).map(Some)
    }
}
