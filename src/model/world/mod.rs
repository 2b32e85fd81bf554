//! A world model of cells: how the state of a population moves under a perturbation, `z_t = f(z_{t-1}, a_t)`.
//!
//! The recurrent state-space model (Hafner et al. 2019, *Learning Latent Dynamics for Planning from Pixels*; with the KL balancing of
//! Hafner et al. 2021, *Mastering Atari with Discrete World Models*):
//!
//! ```text
//! h_t   = GRU(h_{t-1}, silu(W s_{t-1} + U a_t))           deterministic state
//! s_t   ~ p(s_t | h_t)          = N(mu_p, sigma_p)        prior: what is expected before anything is seen
//! s_t   ~ q(s_t | h_t, x_t)     = N(mu_q, sigma_q)        posterior: after the profile x_t
//! x^_t  = decoder(h_t, s_t)                               expected profile
//!
//! loss  = 1/2 |x_t - x^_t|^2 + 1/2 w |x_t - x~_t|^2 + beta [ alpha max(KL(sg(q) || p), f) + (1 - alpha) max(KL(q || sg(p)), f) ]
//! ```
//!
//! `x~` is the decoded roll-out of the prior from the start alone (overshooting, section 4 of Hafner et al. 2019): what a prediction
//! of an unseen perturbation uses. `f` are the free nats, `sg` stops the gradient.
//!
//! Cells are destroyed when they are sequenced, so the sequences are pseudo-bulk profiles of the cells of a condition at each time
//! ([`time_course`](crate::data::Course)), in principal components (`space`).
//!
//! | file | what |
//! |---|---|
//! | `space` | states and actions of courses, batches of sequences |
//! | `net` | the networks, the loss, the roll-out |
//! | `baselines` | persistence, linear dynamics, a JEPA along time; the comparison of all |
//! | `plan` | the cross-entropy method: the perturbation that leads to a target |
//! | `model` | the model in the contract of all models |

mod baselines;
mod model;
mod net;
mod plan;
mod space;

pub use baselines::{Dynamics, LinearDynamics, Persistence, TimeJepa, TimeJepaConfig, rollout_error};
pub use model::WorldModel;
pub use net::{Carry, Rssm};
pub use plan::{Plan, PlanConfig};
pub use space::{ObservedCourses, Sequence, SequenceBatch, Sequences, Space, SpaceFacts};

use crate::{
    Error, Result,
    data::{Conditions, CourseColumns, CourseLabels, DataKind, Dataset, Split},
    math::seeds::stream,
    model::ModelConfig,
    train::{LearningRateSchedule, TrainConfig},
};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Purpose of a random stream.
const HELD_OUT: u64 = 1;

/// The network of a world model, and its loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RssmConfig {
    /// Numbers of the deterministic state h. Default 128.
    pub deterministic: usize,
    /// Numbers of the stochastic state s. Default 8.
    pub stochastic: usize,
    /// Width of the hidden layers. Default 128.
    pub width: usize,
    /// beta, the weight of the divergence. Default 1.
    pub kl_weight: f64,
    /// alpha, the part of the divergence that trains the prior. Default 0.8 (Hafner et al. 2021).
    pub kl_balance: f64,
    /// Nats of divergence per step that cost nothing. Default 0.5.
    pub free_nats: f64,
    /// w, the weight of the roll-out from the start. Default 1.
    pub overshooting: f64,
    /// Smallest standard deviation of s. Default 0.1.
    pub min_std: f64,
}

impl Default for RssmConfig {
    fn default() -> Self {
        Self {
            deterministic: 128,
            stochastic: 8,
            width: 128,
            kl_weight: 1.0,
            kl_balance: 0.8,
            free_nats: 0.5,
            overshooting: 1.0,
            min_std: 0.1,
        }
    }
}

impl RssmConfig {
    /// # Errors
    /// A setting out of its range, by name.
    pub fn validate(&self) -> Result<()> {
        for (name, value) in
            [("deterministic", self.deterministic), ("stochastic", self.stochastic), ("width", self.width)]
        {
            if value == 0 {
                return Err(Error::config(format!("{name} = 0, but it must be at least 1")));
            }
        }
        for (name, value) in
            [("kl_weight", self.kl_weight), ("free_nats", self.free_nats), ("overshooting", self.overshooting)]
        {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::config(format!("{name} = {value}, but it must be a number of at least 0")));
            }
        }
        if !(0.0..=1.0).contains(&self.kl_balance) {
            return Err(Error::config(format!("kl_balance = {}, but it must be between 0 and 1", self.kl_balance)));
        }
        match self.min_std > 0.0 && self.min_std.is_finite() {
            true => Ok(()),
            false => Err(Error::config(format!("min_std = {}, but it must be above 0", self.min_std))),
        }
    }
}

/// Which sequences are made of a time course.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CourseSettings {
    /// The columns of cells.
    #[serde(flatten)]
    pub columns: CourseColumns,
    /// Principal components of a state, or as many as there can be. Default 10.
    pub components: usize,
    /// Training sequences per course, each of a random part of its cells (5 at least at each time). Default 4.
    pub replicates: usize,
}

impl Default for CourseSettings {
    fn default() -> Self {
        Self { columns: CourseColumns::default(), components: 10, replicates: 4 }
    }
}

/// The tables of a configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorldSettings {
    /// The sequences.
    pub courses: CourseSettings,
    /// The network.
    pub model: RssmConfig,
    /// Its training.
    pub train: TrainConfig,
}

impl Default for WorldSettings {
    fn default() -> Self {
        Self {
            courses: CourseSettings::default(),
            model: RssmConfig::default(),
            train: TrainConfig {
                epochs: 150,
                batch_size: 32,
                learning_rate: 3e-3,
                early_stopping: Some(40),
                schedule: LearningRateSchedule::WarmupCosine { warmup_steps: 20, final_fraction: 0.01 },
                clip_norm: Some(10.0),
                ..TrainConfig::default()
            },
        }
    }
}

impl ModelConfig for WorldSettings {
    fn default_for(_: DataKind) -> Self {
        Self::default()
    }

    fn validate(&self) -> Result<()> {
        if self.courses.components == 0 || self.courses.replicates == 0 {
            return Err(Error::config("components and replicates must be at least 1"));
        }
        self.model.validate()?;
        self.train.validate()
    }

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
        divide(data, &self.courses.columns, held_out, seed).map(Some)
    }
}

/// Holds out whole courses that can be predicted from the others: those of doubles whose genes are in other perturbations; where there
/// are none, courses of perturbations that have another course (a dose, a context, a schedule). What was measured at one time, or at
/// an unknown one, is trained on where there are courses of several times.
pub(in crate::model) fn divide(
    data: &Dataset,
    columns: &CourseColumns,
    held_out: [f64; 2],
    seed: u64,
) -> Result<Split> {
    let conditions = Conditions::of(data, columns.context.as_deref())?;
    let of_cell: Vec<_> = (0..data.n_cells()).map(|cell| conditions.of_row(cell).clone()).collect();
    let labels = CourseLabels::of(data, &of_cell, columns)?;
    let along_time = measured_along_time(&labels);
    let singles: BTreeSet<&String> =
        data.perturbations.iter().filter(|p| p.genes().len() == 1).flat_map(|p| p.genes()).collect();
    let doubles: Vec<usize> = (0..data.perturbations.len())
        .filter(|&p| {
            let genes = data.perturbations[p].genes();
            genes.len() > 1 && genes.iter().all(|gene| singles.contains(gene))
        })
        .filter(|&p| (0..data.n_cells()).any(|cell| data.labels[cell] as usize == p && along_time[labels.course[cell]]))
        .collect();
    // A unit is all cells of a double, or those of one course.
    let unit = |cell: usize| if doubles.is_empty() { labels.course[cell] } else { data.labels[cell] as usize };
    let mut units: Vec<usize> = match doubles.is_empty() {
        false => doubles.clone(),
        true => {
            let perturbed = (0..data.n_cells())
                .filter(|&cell| !data.perturbation_of(cell).is_control() && along_time[labels.course[cell]]);
            perturbed.map(|cell| labels.course[cell]).collect::<BTreeSet<_>>().into_iter().collect()
        }
    };
    units.shuffle(&mut stream(seed, HELD_OUT, 0));
    let mut left: BTreeMap<u32, BTreeSet<usize>> = BTreeMap::new();
    (0..data.n_cells()).for_each(|cell| {
        left.entry(data.labels[cell]).or_default().insert(labels.course[cell]);
    });
    let perturbation_of: BTreeMap<usize, u32> =
        (0..data.n_cells()).map(|cell| (unit(cell), data.labels[cell])).collect();
    let wanted = held_out.map(|share| (share * units.len() as f64).round() as usize);
    let mut chosen = Vec::new();
    for unit in units {
        let others = left.get_mut(&perturbation_of[&unit]).expect("a unit has cells");
        if chosen.len() == wanted[0] + wanted[1] {
            break;
        }
        if !doubles.is_empty() || others.len() > 1 {
            others.remove(&unit);
            chosen.push(unit);
        }
    }
    // The test comes first: where few can be held out, they are for it.
    let (test, validation) = chosen.split_at(wanted[1].min(chosen.len()));
    let mut split = Split { train: Vec::new(), validation: Vec::new(), test: Vec::new() };
    for cell in 0..data.n_cells() {
        let own = (!data.perturbation_of(cell).is_control()).then(|| unit(cell));
        match own {
            Some(unit) if test.contains(&unit) => split.test.push(cell),
            Some(unit) if validation.contains(&unit) => split.validation.push(cell),
            _ => split.train.push(cell),
        }
    }
    Ok(split)
}

/// Whether each course has two times or more after the start; if none has, whether it has one.
fn measured_along_time(labels: &CourseLabels) -> Vec<bool> {
    let mut times = vec![BTreeSet::new(); labels.names.len()];
    for (course, time) in labels.course.iter().zip(&labels.time).filter(|(_, time)| **time > 0.0) {
        times[*course].insert(time.to_bits());
    }
    let least = if times.iter().any(|times| times.len() > 1) { 2 } else { 1 };
    times.iter().map(|times| times.len() >= least).collect()
}
