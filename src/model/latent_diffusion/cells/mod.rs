//! The latent diffusion of cells: its settings, and how it is fitted. What it can be asked is in `query`.

mod query;

pub use query::{Draw, Library, Uncertain, Uncertainty};

use super::{
    effects::EffectDiffusionConfig,
    generator::{Atlas, Generator, GeneratorConfig, Points, grouped},
    space::{Space, SpaceKind},
    spread::{Spread, applicable},
};
use crate::{
    Error, ErrorKind, Result,
    data::{Condition, Controls, EffectTable, TrainingCells},
    math::seeds::stream,
    model::{CountVae, combination::CombinationModel, diffusion::DiffusionConfig},
    train::{History, Run, TrainConfig},
};
use ndarray::{Array1, Array2, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Purpose of the random stream that draws the points of validation cells.
const VALIDATION_POINTS: u64 = 1;

/// Settings of a [`LatentDiffusion`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LatentDiffusionConfig {
    /// The space that points are drawn in.
    pub space: SpaceKind,
    /// What draws them.
    pub generator: GeneratorConfig,
    /// Its training; the seed is that of the task.
    pub training: TrainConfig,
    /// Most rows that its training goes through: over many cells there are fewer passes.
    pub most_rows: usize,
    /// Directions on which the network sees the predicted effect of a condition.
    pub directions: usize,
    /// Cells at which the observed mean of a trained condition weighs as much as the decoder's: `w = n / (n + trust)`.
    pub trust: f64,
    /// What predicts mean effects, and how far they are off.
    pub effects: EffectDiffusionConfig,
}

impl Default for LatentDiffusionConfig {
    fn default() -> Self {
        Self {
            space: SpaceKind::default(),
            generator: GeneratorConfig::default(),
            training: TrainConfig { epochs: 60, ..DiffusionConfig::training() },
            most_rows: 500_000,
            directions: 16,
            trust: 100.0,
            effects: EffectDiffusionConfig::default(),
        }
    }
}

impl LatentDiffusionConfig {
    /// Refuses settings that cannot train.
    ///
    /// # Errors
    /// The broken rule.
    pub fn validate(&self) -> Result<()> {
        if self.directions == 0 || !self.trust.is_finite() || self.trust < 0.0 {
            return Err(Error::config(
                "latent diffusion configuration: directions must be at least 1 and trust 0 or more",
            ));
        }
        self.generator.validate()?;
        self.training.validate()?;
        self.effects.combination.validate()?;
        self.effects.spread.validate()
    }
}

/// Predicts the cells of a perturbation: see the equations of its module.
#[derive(Debug, Clone)]
pub struct LatentDiffusion {
    pub(super) config: LatentDiffusionConfig,
    pub(super) space: Space,
    pub(super) atlas: Atlas,
    pub(super) generator: Generator,
    /// How far the mean is off, or why that is not known.
    pub(super) spread: Result<Spread, String>,
}

impl LatentDiffusion {
    /// Fits to training cells, in the latent space of `vae`, which was trained on the same cells. The trainings are parts of
    /// `run`: `spread`, and `generator`, whose history is returned and whose progress is shown.
    ///
    /// # Errors
    /// Settings that cannot train; no control or no perturbed cell; latents that have collapsed or are not finite; a
    /// loss that is not finite; an interruption.
    pub fn around(
        vae: CountVae,
        cells: &TrainingCells,
        config: &LatentDiffusionConfig,
        run: &mut Run<'_>,
    ) -> Result<(Self, History)> {
        config.validate()?;
        let (data, conditions, split) = (cells.data.as_ref(), &cells.conditions, &cells.split);
        let expression = cells.expression()?;
        let controls = Controls::of_cells(expression, conditions, &split.train);
        let table = EffectTable::of_cells(data.gene_names(), expression, conditions, &split.train, &controls)?;
        let combination = config.effects.fit_mean(&table, run)?;
        let spread = match config.effects.fit_spread(&table, run) {
            Ok((spread, _)) => Ok(spread),
            Err(error) if error.kind() == ErrorKind::Inapplicable => Err(error.to_string()),
            Err(error) => return Err(error),
        };

        let mut rng = ChaCha8Rng::seed_from_u64(run.seed);
        let space = Space::new(config.space, vae, data, &split.train)?;
        let (z, carriers) = space.points(data, &split.train, &mut rng)?;
        let place: BTreeMap<usize, usize> = split.train.iter().copied().zip(0..).collect();
        let rows_of = grouped(&split.train, conditions);
        let seen = (&rows_of, expression.as_ref());
        let atlas = Atlas::new(combination, &table, config.directions, seen, (&z, &place, &carriers))?;
        let (generator, history) = trained(cells, (&space, &atlas), (&z, &place), config, run)?;
        Ok((Self { config: config.clone(), space, atlas, generator, spread }, history))
    }

    /// Changes how points are drawn: steps of the sampler or solver, scale of the guidance.
    ///
    /// # Errors
    /// No steps; a guidance that is negative or not finite.
    pub fn set_sampling(&mut self, steps: Option<usize>, guidance: Option<f64>) -> Result<()> {
        self.generator.set_sampling(steps, guidance)
    }

    /// The settings.
    pub fn config(&self) -> &LatentDiffusionConfig {
        &self.config
    }

    /// What predicts the mean.
    pub fn mean(&self) -> &CombinationModel {
        &self.atlas.combination
    }

    /// How far the mean is off, or why that is not known.
    ///
    /// # Errors
    /// The reason.
    pub fn spread(&self) -> Result<&Spread, &str> {
        self.spread.as_ref().map_err(String::as_str)
    }

    /// The model whose latents are drawn.
    pub fn vae(&self) -> &CountVae {
        self.space.vae()
    }
}

/// Trains what draws the points.
fn trained(
    cells: &TrainingCells,
    (space, atlas): (&Space, &Atlas),
    (z, place): (&Array2<f32>, &BTreeMap<usize, usize>),
    config: &LatentDiffusionConfig,
    run: &mut Run<'_>,
) -> Result<(Generator, History)> {
    let (data, conditions, split, seed) = (cells.data.as_ref(), &cells.conditions, &cells.split, run.seed);
    let mut known: BTreeMap<&Condition, (Array1<f64>, Array1<f32>)> = BTreeMap::new();
    // Points less the mean of their condition, and what the network is told of it.
    let mut around = |rows: &[usize], z: &Array2<f32>| -> Result<(Array2<f32>, Array2<f32>)> {
        let (mut x, mut told) = (Vec::new(), Vec::new());
        for (&row, z) in rows.iter().zip(z.rows()) {
            let condition = &conditions[row];
            if !known.contains_key(condition) {
                let Some(told) = applicable(atlas.told(condition))? else { continue };
                known.insert(condition, (atlas.center(condition)?, told));
            }
            let (center, about) = &known[condition];
            x.push(z.iter().zip(center).map(|(&z, center)| (f64::from(z) - center) as f32).collect::<Vec<f32>>());
            told.push(about.to_vec());
        }
        Ok((stacked(x), stacked(told)))
    };
    let (x, told) = around(&split.train, z)?;
    let controls: Vec<usize> =
        split.train.iter().copied().filter(|&row| conditions[row].perturbation.is_control()).collect();
    let control_z = z.select(Axis(0), &controls.iter().map(|row| place[row]).collect::<Vec<_>>());
    let (controls, _) = around(&controls, &control_z)?;
    let watched = match split.validation.is_empty() {
        true => None,
        false => {
            let (z, _) = space.points(data, &split.validation, &mut stream(seed, VALIDATION_POINTS, 0))?;
            Some(around(&split.validation, &z)?).filter(|(x, _)| x.nrows() > 0)
        }
    };
    let watched = watched.as_ref().map(|(x, told)| Points { x, condition: told });
    let passes = (config.most_rows / x.nrows().max(1)).max(1);
    let training = TrainConfig { seed, epochs: config.training.epochs.min(passes), ..config.training.clone() };
    let points = Points { x: &x, condition: &told };
    let mut part = Run { progress: run.progress, ..run.part("generator") };
    Generator::fit(&config.generator, &points, watched.as_ref(), &controls, &training, &mut part)
}

/// Rows of one width as a matrix.
fn stacked(rows: Vec<Vec<f32>>) -> Array2<f32> {
    let (n, width) = (rows.len(), rows.first().map_or(0, Vec::len));
    Array2::from_shape_vec((n, width), rows.concat()).expect("rows are of one width")
}
