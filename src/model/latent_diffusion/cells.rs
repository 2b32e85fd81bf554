//! The latent diffusion of cells: how it is fitted, and what it can be asked (cells of a condition, what a cell would be under
//! another, and how sure the answer is).

use super::{
    effects::EffectDiffusionConfig,
    generator::{Atlas, Generator, GeneratorConfig, Points, grouped},
    space::{Decoded, Space, SpaceKind},
    spread::{Novelty, Spread, applicable},
};
use crate::{
    Error, ErrorKind, Result,
    data::{Condition, Controls, Dataset, EffectTable, TrainingCells},
    math::seeds::stream,
    model::{CellCovariates, CountVae, Generated, combination::CombinationModel, diffusion::DiffusionConfig},
    train::{History, Run, TrainConfig},
};
use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate, s};
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

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

/// Cells by which the mean is matched to the wanted one.
const MATCHED: usize = 128;
/// Cells that are decoded at once.
const BLOCK: usize = 512;

/// Where the library sizes of drawn cells come from.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Library {
    /// Those of control cells of the context.
    #[default]
    Sampled,
    /// The same for every cell, in counts over all measured genes.
    Given(f32),
}

/// Which sources of uncertainty are sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Uncertain {
    /// Cells differ from each other; their mean is the predicted one (aleatoric).
    #[default]
    Cells,
    /// The mean is drawn, too, once for all cells (epistemic as well).
    CellsAndMean,
}

/// What to draw.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Draw {
    /// Number of cells.
    pub cells: usize,
    /// Where their library sizes come from.
    pub library: Library,
    /// What is drawn beside the cells.
    pub uncertain: Uncertain,
}

/// How sure a prediction is, gene by gene, in log-normalised units.
#[derive(Debug, Clone)]
pub struct Uncertainty {
    /// Variance between the cells of the condition, `(genes,)` (aleatoric).
    pub aleatoric: Array1<f64>,
    /// Variance of the predicted mean, `(genes,)` (epistemic); `None` where the mean was measured in training, or where
    /// too little was trained on to know.
    pub epistemic: Option<Array1<f64>>,
}

/// A condition, ready to be drawn from.
struct Ready {
    points: Array2<f32>,
    carriers: Vec<CellCovariates>,
    offset: Array1<f64>,
    wanted: Array1<f64>,
    /// The cells that the offset was found by.
    matched: Decoded,
}

impl LatentDiffusion {
    /// Draws cells of a condition.
    ///
    /// # Errors
    /// Genes that nothing is known of, all named; a context without training control cells; a library size that is not
    /// positive; a draw of the mean where its spread is not known.
    pub fn sample(&self, condition: &Condition, draw: Draw, seed: u64) -> Result<Generated> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let ready = self.ready(condition, draw.cells, draw.library, &mut rng)?;
        let mut offset = ready.offset.clone();
        if draw.uncertain == Uncertain::CellsAndMean {
            let drawn = self.mean_draws(condition, 1, rng.next_u64())?;
            let home = self.atlas.home(condition)?;
            let other = (&drawn.row(0) + &home.profile).mapv(|mean| mean.max(0.0));
            offset = offset + ready.matched.offset_between(&ready.wanted, &other);
        }
        let mut blocks = Vec::new();
        let mut library_size = Vec::new();
        let mut are_counts = true;
        for start in (0..draw.cells).step_by(BLOCK) {
            let end = (start + BLOCK).min(draw.cells);
            let carriers = &ready.carriers[start..end];
            let points = ready.points.slice(s![start..end, ..]).to_owned();
            let decoded = self.space.decode(&points, &condition.perturbation, carriers)?;
            let drawn = decoded.draw(&offset, carriers, &mut rng);
            are_counts = drawn.are_counts;
            library_size.extend(drawn.library_size);
            blocks.push(drawn.values);
        }
        let views: Vec<ArrayView2<'_, f32>> = blocks.iter().map(|block| block.view()).collect();
        let values = match views.is_empty() {
            true => Array2::zeros((0, ready.wanted.len())),
            false => concatenate(Axis(0), &views).expect("every block has the model's genes"),
        };
        Ok(Generated { values, library_size, are_counts })
    }

    /// Points of a condition and the offset with which their mean is the wanted one. At least [`MATCHED`] points are
    /// drawn, so that few cells do not take their chance deviation for the mean's.
    fn ready(&self, condition: &Condition, cells: usize, library: Library, rng: &mut ChaCha8Rng) -> Result<Ready> {
        self.check(condition)?;
        if let Library::Given(size) = library
            && (!size.is_finite() || size <= 0.0)
        {
            return Err(Error::config(format!("the library size is {size}; it must be a positive number of counts")));
        }
        let home = self.atlas.home(condition)?;
        let n = cells.max(MATCHED);
        let told = self.atlas.told(condition)?;
        let told = told.insert_axis(Axis(0)).select(Axis(0), &vec![0; n]);
        let center = self.atlas.center(condition)?;
        let points = (self.generator.draw(&told, rng.next_u64())?.mapv(f64::from) + &center).mapv(|z| z as f32);
        let mut carriers: Vec<CellCovariates> =
            (0..n).map(|_| home.carriers[rng.random_range(0..home.carriers.len())].clone()).collect();
        if let Library::Given(size) = library {
            for carrier in &mut carriers {
                carrier.size_factor *= size / carrier.library_size;
                carrier.library_size = size;
            }
        }
        let first = points.slice(s![..MATCHED, ..]).to_owned();
        let matched = self.space.decode(&first, &condition.perturbation, &carriers[..MATCHED])?;
        let wanted = self.wanted(condition, &matched, &carriers[..MATCHED])?;
        let offset = matched.offset_to(&wanted, &carriers[..MATCHED]);
        Ok(Ready { points, carriers, offset, wanted, matched })
    }

    /// The mean that cells of a condition shall have, `(genes,)`: for one that was trained on between what was observed
    /// and what the decoder says of it (means of few cells are noisy), else that of control and the predicted effect.
    fn wanted(&self, condition: &Condition, decoded: &Decoded, carriers: &[CellCovariates]) -> Result<Array1<f64>> {
        if let Some(trained) = self.atlas.trained.get(condition) {
            let share = trained.cells as f64 / (trained.cells as f64 + self.config.trust);
            let said = decoded.expected(&Array1::zeros(trained.profile.len()), carriers);
            return Ok(&said + &((&trained.profile - &said) * share));
        }
        let home = self.atlas.home(condition)?;
        Ok((&home.profile + &self.atlas.combination.effect(condition)?).mapv(|mean| mean.max(0.0)))
    }

    /// The predicted mean effect of a condition, `(genes,)`: of the cells that would be drawn, less control's.
    ///
    /// # Errors
    /// As [`Self::sample`].
    pub fn effect(&self, condition: &Condition, seed: u64) -> Result<Array1<f64>> {
        let ready = self.ready(condition, 0, Library::Sampled, &mut ChaCha8Rng::seed_from_u64(seed))?;
        let mean = ready.matched.expected(&ready.offset, &ready.carriers[..MATCHED]);
        Ok(mean - &self.atlas.home(condition)?.profile)
    }

    /// Draws of the mean effect of a condition, `(n, genes)`: how far the prediction of the mean may be off.
    ///
    /// # Errors
    /// A condition whose mean was measured in training; a spread that is not known:
    /// [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn mean_draws(&self, condition: &Condition, n: usize, seed: u64) -> Result<Array2<f64>> {
        self.check(condition)?;
        let Some(novelty) = self.novelty(condition) else {
            return Err(Error::inapplicable(format!("{condition} was trained on: its mean is the measured one")));
        };
        let spread = self.spread.as_ref().map_err(|reason| Error::inapplicable(reason.clone()))?;
        spread.draws(self.atlas.combination.effect(condition)?.view(), novelty, n, seed)
    }

    /// How sure the prediction of a condition is, from `cells` drawn cells and as many draws of the mean.
    ///
    /// # Errors
    /// As [`Self::sample`].
    pub fn uncertainty(&self, condition: &Condition, cells: usize, seed: u64) -> Result<Uncertainty> {
        let draw = Draw { cells: cells.max(2), ..Draw::default() };
        let drawn = self.sample(condition, draw, seed)?.log_normalised().mapv(f64::from);
        let epistemic = match self.novelty(condition).is_some() && self.spread.is_ok() {
            true => Some(self.mean_draws(condition, cells.max(2), seed)?.var_axis(Axis(0), 1.0)),
            false => None,
        };
        Ok(Uncertainty { aleatoric: drawn.var_axis(Axis(0), 1.0), epistemic })
    }

    /// What each of the cells `rows`, of condition `from`, would be under `to`: its point is taken back to the noise that
    /// it came from and drawn again from there, its lane and library size are kept. Expected values, `(rows, genes)`:
    /// counts (or log-normalised expression in expression space).
    ///
    /// # Errors
    /// As [`Self::sample`]; no cells, or genes that are not the model's.
    pub fn counterfactual(
        &self,
        data: &Dataset,
        rows: &[usize],
        (from, to): (&Condition, &Condition),
        seed: u64,
    ) -> Result<Array2<f32>> {
        self.check(from)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let ready = self.ready(to, 0, Library::Sampled, &mut rng)?;
        let (z, carriers) = self.space.points(data, rows, &mut rng)?;
        let repeated = |told: Array1<f32>| told.insert_axis(Axis(0)).select(Axis(0), &vec![0; rows.len()]);
        let (told_from, told_to) = (repeated(self.atlas.told(from)?), repeated(self.atlas.told(to)?));
        let around = (z.mapv(f64::from) - &self.atlas.center(from)?).mapv(|z| z as f32);
        let moved = self.generator.counterfactual(&around, &told_from, &told_to)?;
        let points = (moved.mapv(f64::from) + &self.atlas.center(to)?).mapv(|z| z as f32);
        Ok(self.space.decode(&points, &to.perturbation, &carriers)?.mean(&ready.offset, &carriers))
    }

    /// Refuses a condition that nothing is known of.
    fn check(&self, condition: &Condition) -> Result<()> {
        if !condition.perturbation.is_control() && !self.atlas.trained.contains_key(condition) {
            self.atlas.combination.check(std::slice::from_ref(condition))?;
        }
        self.atlas.home(condition).map(|_| ())
    }

    /// Why the mean of a condition has to be predicted; `None` where it was measured.
    pub fn novelty(&self, condition: &Condition) -> Option<Novelty> {
        if condition.perturbation.is_control() || self.atlas.trained.contains_key(condition) {
            return None;
        }
        let perturbed: BTreeSet<&String> = self.atlas.combination.perturbed().collect();
        let unseen = condition.perturbation.genes().iter().any(|gene| !perturbed.contains(gene));
        Some(if unseen { Novelty::UnseenGene } else { Novelty::Combination })
    }
}
