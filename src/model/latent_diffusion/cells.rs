//! The latent diffusion of cells, fitted.

use super::{
    atlas::{Atlas, grouped, prototypes},
    effects::EffectDiffusionConfig,
    generator::{Generator, GeneratorConfig, Points},
    residuals::{applicable, leave_out},
    space::{Space, SpaceKind},
    spread::Spread,
};
use crate::data::EffectTable;
use crate::{
    Error, ErrorKind, Result,
    data::{Condition, Dataset, Split, TargetSum, normalize::log_normalize},
    model::{CountVae, NORMALISED_TOTAL, combination::CombinationModel, diffusion::DiffusionConfig},
    train::{History, Progress, Run, TrainConfig},
};
use ndarray::{Array1, Array2, Axis};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
        self.effects.jepa.validate()?;
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

/// The cells of a training fold.
#[derive(Debug, Clone, Copy)]
pub struct FoldCells<'a> {
    /// All cells.
    pub data: &'a Dataset,
    /// The condition of each.
    pub conditions: &'a [Condition],
    /// Which of them are trained on, and which watched.
    pub split: &'a Split,
}

impl LatentDiffusion {
    /// Fits to the training cells of a split, in the latent space of `vae`, which was trained on the same cells.
    ///
    /// # Errors
    /// Settings that cannot train; no control or no perturbed cell; latents that have collapsed or are not finite; a
    /// loss that is not finite; an interruption.
    pub fn fit(
        cells: FoldCells<'_>,
        vae: CountVae,
        config: &LatentDiffusionConfig,
        seed: u64,
        options: &mut Run<'_>,
    ) -> Result<(Self, History)> {
        config.validate()?;
        let FoldCells { data, conditions, split } = cells;
        if conditions.len() != data.n_cells() {
            let (given, cells) = (conditions.len(), data.n_cells());
            return Err(Error::data(format!("{given} conditions were given for {cells} cells; give one for each")));
        }
        split.refuse_test_cells("the training of a latent diffusion", &split.train)?;
        let expression = log_normalize(data, TargetSum::Fixed(NORMALISED_TOTAL))?;
        let rows_of = grouped(&split.train, conditions);
        let prototypes = prototypes(data, &expression, &rows_of)?;
        let jepa = CombinationModel::fit_table(&prototypes, &config.effects.jepa, &Run::quiet(seed))?;
        let fit = |fold: &EffectTable| CombinationModel::fit_table(fold, &config.effects.jepa, &Run::quiet(seed));
        let left = leave_out(&prototypes, config.effects.spread.folds, seed, fit)?;
        let mut quiet = Run { interrupt: options.interrupt.clone(), progress: Progress::Silent, ..Run::default() };
        let spread = match Spread::fit(&left, &config.effects.spread, seed, &mut quiet) {
            Ok(spread) => Ok(spread),
            Err(error) if error.kind() == ErrorKind::Inapplicable => Err(error.to_string()),
            Err(error) => return Err(error),
        };

        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let space = Space::new(config.space, vae, data, &split.train)?;
        let (z, carriers) = space.points(data, &split.train, &mut rng)?;
        let place: BTreeMap<usize, usize> = split.train.iter().copied().zip(0..).collect();
        let seen = (&rows_of, &expression);
        let atlas = Atlas::new(jepa, &prototypes, config.directions, seen, (&z, &place, &carriers))?;
        let (generator, history) = trained(cells, (&space, &atlas), (&z, &place), config, options, seed)?;
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
        &self.atlas.jepa
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
    cells: FoldCells<'_>,
    (space, atlas): (&Space, &Atlas),
    (z, place): (&Array2<f32>, &BTreeMap<usize, usize>),
    config: &LatentDiffusionConfig,
    options: &mut Run<'_>,
    seed: u64,
) -> Result<(Generator, History)> {
    let FoldCells { data, conditions, split } = cells;
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
            let (z, _) = space.points(data, &split.validation, &mut ChaCha8Rng::seed_from_u64(seed ^ 1))?;
            Some(around(&split.validation, &z)?).filter(|(x, _)| x.nrows() > 0)
        }
    };
    let watched = watched.as_ref().map(|(x, told)| Points { x, condition: told });
    let passes = (config.most_rows / x.nrows().max(1)).max(1);
    let training = TrainConfig { seed, epochs: config.training.epochs.min(passes), ..config.training.clone() };
    let points = Points { x: &x, condition: &told };
    Generator::fit(&config.generator, &points, watched.as_ref(), &controls, &training, options)
}

/// Rows of one width as a matrix.
fn stacked(rows: Vec<Vec<f32>>) -> Array2<f32> {
    let (n, width) = (rows.len(), rows.first().map_or(0, Vec::len));
    Array2::from_shape_vec((n, width), rows.concat()).expect("rows are of one width")
}
