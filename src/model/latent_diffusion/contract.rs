//! The diffusion models in the contract of all models: settings, training, what they can be asked, files.
//!
//! # Files
//!
//! ```text
//! DIR/combination        what predicts the mean
//! DIR/spread             the diffusion of what the mean misses
//! DIR/vae, DIR/generator cells only: the latent space, and what draws points in it
//! ```

use super::{
    cells::{Draw, LatentDiffusion, LatentDiffusionConfig, Library, Uncertain},
    effects::{EffectDiffusion, EffectDiffusionConfig},
    generator::{Atlas, Generator, Home, Trained as TrainedCondition},
    space::{Expression, Space, SpaceKind},
    spread::{Size, Spread},
};
use crate::{
    Error, Result,
    data::{Condition, DataKind, TrainingCells, TrainingData},
    device::Device,
    model::{
        Abilities, CellCovariates, CountVae, Generated, Model, ModelConfig, Sampling, State, Trained, VaeConfig,
        VaeSettings,
        combination::CombinationModel,
        diffusion::{Diffusion, SampleConfig},
    },
    train::{History, Run, TrainConfig},
};
use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Seed of the cells behind a mean effect.
const EFFECT_SEED: u64 = 0x6566_6665_6374;

/// The tables of a configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiffusionSettings {
    /// Effects datasets.
    pub effects: EffectDiffusionConfig,
    /// Cells datasets: the diffusion, with its own training.
    pub cells: LatentDiffusionConfig,
    /// Cells datasets: the VAE in whose latent space points are drawn.
    pub vae: VaeConfig,
    /// Its training.
    pub train: TrainConfig,
}

impl Default for DiffusionSettings {
    fn default() -> Self {
        Self {
            effects: EffectDiffusionConfig::default(),
            cells: LatentDiffusionConfig::default(),
            vae: VaeConfig::default(),
            train: TrainConfig {
                epochs: 60,
                early_stopping: Some(8),
                clip_norm: Some(100.0),
                ..TrainConfig::default()
            },
        }
    }
}

impl ModelConfig for DiffusionSettings {
    fn default_for(_: DataKind) -> Self {
        Self::default()
    }

    fn validate(&self) -> Result<()> {
        self.vae.validate()?;
        if !self.vae.covariates.is_empty() {
            return Err(Error::config(
                "[vae] covariates: cells drawn by a diffusion cannot be asked for by them; leave the key out, or train a vae",
            ));
        }
        self.train.validate()?;
        self.effects.combination.validate()?;
        self.effects.spread.validate()?;
        self.cells.validate()
    }

    fn set_epochs(&mut self, epochs: usize) {
        self.train.epochs = epochs;
        self.cells.training.epochs = epochs;
        self.effects.spread.training.epochs = epochs;
    }

    fn set_gene_sets(&mut self, file: &Path) {
        for effects in [&mut self.effects, &mut self.cells.effects] {
            effects.combination.gene_sets = Some(file.to_owned());
        }
    }

    fn seed(&self) -> u64 {
        self.train.seed
    }
}

/// Diffusion around the combination model's mean: of mean effects, or of cells.
#[derive(Debug, Clone)]
pub enum DiffusionModel {
    /// Trained on an effects dataset.
    Effects(Box<EffectDiffusion>),
    /// Trained on cells.
    Cells(Box<LatentDiffusion>),
}

impl Trained for DiffusionModel {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn abilities(&self) -> Abilities {
        match self {
            Self::Effects(_) => Abilities { effects: true, effect_draws: true, ..Abilities::default() },
            Self::Cells(model) => Abilities {
                effects: true,
                effect_draws: model.spread().is_ok(),
                cells: true,
                sampler: true,
                ..Abilities::default()
            },
        }
    }

    fn genes(&self) -> &[String] {
        self.mean().genes()
    }

    fn perturbs(&self, gene: &str) -> bool {
        self.mean().represents(gene)
    }

    fn effects(&self, conditions: &[Condition]) -> Result<Array2<f64>> {
        match self {
            Self::Effects(model) => model.mean().effects(conditions),
            Self::Cells(model) => {
                let mut effects = Array2::zeros((0, self.genes().len()));
                for condition in conditions {
                    let effect = model.effect(condition, EFFECT_SEED)?;
                    effects.push_row(effect.view()).expect("an effect has one value per gene");
                }
                Ok(effects)
            }
        }
    }

    fn effect_draws(&self, condition: &Condition, n: usize, seed: u64) -> Result<Array2<f64>> {
        let novelty = match self {
            Self::Effects(model) => model.novelty(condition)?,
            Self::Cells(model) => model.novelty(condition),
        };
        match (novelty, self) {
            // Its effect was measured: every draw is the measured one.
            (None, _) => Ok(self.effects(std::slice::from_ref(condition))?.select(Axis(0), &vec![0; n])),
            (Some(_), Self::Effects(model)) => model.draws(condition, n, seed),
            (Some(_), Self::Cells(model)) => model.mean_draws(condition, n, seed),
        }
    }

    fn cells(&self, condition: &Condition, sampling: &Sampling) -> Result<Generated> {
        let Self::Cells(model) = self else {
            return Err(Error::inapplicable("a diffusion of mean effects draws no cells"));
        };
        let known = self.why_mean_is_fixed(condition).is_some() || model.novelty(condition).is_none();
        let uncertain = if sampling.draw_mean && !known { Uncertain::CellsAndMean } else { Uncertain::Cells };
        let library = sampling.library_size.map_or(Library::Sampled, Library::Given);
        let draw = Draw { cells: sampling.cells, library, uncertain };
        if sampling.steps.is_none() && sampling.guidance.is_none() {
            return model.sample(condition, draw, sampling.seed);
        }
        let mut model = model.clone();
        model.set_sampling(sampling.steps, sampling.guidance)?;
        model.sample(condition, draw, sampling.seed)
    }

    fn why_mean_is_fixed(&self, condition: &Condition) -> Option<String> {
        match self {
            Self::Cells(model) if model.novelty(condition).is_some() => model.spread().err().map(str::to_owned),
            _ => None,
        }
    }

    fn notes(&self) -> Vec<String> {
        match self {
            Self::Cells(model) => {
                let reason = model.spread().err();
                reason.map(|reason| format!("note: how far predicted means are off is not known: {reason}")).into_iter()
            }
            .collect(),
            Self::Effects(_) => Vec::new(),
        }
    }

    fn state(&self) -> Result<State> {
        match self {
            Self::Effects(model) => model.state(),
            Self::Cells(model) => model.state(),
        }
    }
}

impl DiffusionModel {
    fn mean(&self) -> &CombinationModel {
        match self {
            Self::Effects(model) => model.mean(),
            Self::Cells(model) => model.mean(),
        }
    }
}

impl Model for DiffusionModel {
    const KIND: &'static str = "diffusion";
    const ABOUT: &'static str = "diffusion around the combination model's mean: how far it may be off (effects), how cells \
                                 differ (cells)";
    const LEARNS_FROM: &'static [DataKind] = &[DataKind::Cells, DataKind::Effects];
    const TRAINS_ON_GPU: bool = true;
    const TRAINS_ON_CUDA: bool = true;
    type Config = DiffusionSettings;

    fn fit(data: &TrainingData, config: &DiffusionSettings, run: &mut Run<'_>) -> Result<(Self, History)> {
        data.require_counts(Self::KIND)?;
        if data.cells.is_none() {
            let table = data.effects_with_validation()?;
            let combination = config.effects.fit_mean(&table, run)?;
            let (model, history) = EffectDiffusion::around(combination, &table, &config.effects, run)?;
            return Ok((Self::Effects(Box::new(model)), history));
        }
        let (model, history) = LatentDiffusion::fit(data, config, run)?;
        Ok((Self::Cells(Box::new(model)), history))
    }

    fn restore(state: State, _: Device) -> Result<Self> {
        match state.has_part("vae") {
            true => LatentDiffusion::restore(state).map(|model| Self::Cells(Box::new(model))),
            false => EffectDiffusion::restore(state).map(|model| Self::Effects(Box::new(model))),
        }
    }
}

impl LatentDiffusion {
    /// Trains a VAE on the cells, as the part `vae` of `run`, and the diffusion in its latent space.
    ///
    /// # Errors
    /// An effects dataset ([`ErrorKind::Inapplicable`](crate::ErrorKind)); those of the two trainings.
    pub fn fit(data: &TrainingData, config: &DiffusionSettings, run: &mut Run<'_>) -> Result<(Self, History)> {
        let Some(cells) = &data.cells else {
            return Err(Error::inapplicable("an effects dataset has no cells to train a model of cells on"));
        };
        let vae = VaeSettings { model: config.vae.clone(), train: config.train.clone(), ..VaeSettings::default() };
        // The diffusion must not be trained on the cells that the VAE's training is stopped by.
        let split = vae.divide_cells(cells, run.seed)?;
        let mut cells = TrainingCells::clone(cells);
        cells.split = split;
        let data = TrainingData::of_cells(cells.clone(), run.seed);
        let mut part = Run { progress: run.progress, ..run.part("vae") };
        let (vae, _) = CountVae::fit(&data, &vae, &mut part)?;
        Self::around(vae, &cells, &config.cells, run)
    }
}

/// What is described of a spread.
#[derive(Serialize, Deserialize)]
struct SavedSpread {
    size: Size,
    seen: usize,
    sampling: SampleConfig,
}

/// The description of a [`LatentDiffusion`].
#[derive(Serialize, Deserialize)]
struct SavedCells {
    config: LatentDiffusionConfig,
    spread: Result<SavedSpread, String>,
    /// Contexts, and what control cells are like there.
    homes: Vec<(Option<String>, Vec<CellCovariates>)>,
    /// Conditions that were trained on, and their numbers of cells.
    trained: Vec<(Condition, usize)>,
    factor: f64,
    scale: f64,
}

impl Spread {
    fn described(&self) -> SavedSpread {
        SavedSpread { size: self.size.clone(), seen: self.seen, sampling: self.sampling }
    }

    fn add_to(&self, state: State) -> Result<State> {
        Ok(state
            .with_array("spread.basis", &self.basis)
            .with_array("spread.rest", &self.rest)
            .with_vector("spread.correction", &self.correction)
            .with_vector("spread.deviation", &self.deviation)
            .with_part("spread", Diffusion::KIND, self.net.state()?))
    }

    fn take_from(state: &mut State, saved: SavedSpread, genes: usize) -> Result<Self> {
        let basis = state.array("spread.basis", None, Some(genes))?;
        let rest = state.array("spread.rest", None, Some(genes))?;
        let net = Diffusion::restore(&state.part("spread", Diffusion::KIND)?, Device::Cpu)?;
        // As many conditions as `Spread::fit` gives: the leading directions, and whether a gene is unseen.
        let width = saved.seen.min(basis.nrows()) + 1;
        if rest.nrows() == 0 || (net.dims(), net.condition()) != (basis.nrows(), width) {
            return Err(Error::data("the network of the spread does not fit its arrays; train again"));
        }
        Ok(Self {
            size: saved.size,
            rest,
            correction: state.vector("spread.correction", basis.nrows())?,
            deviation: state.vector("spread.deviation", genes)?,
            basis,
            net,
            seen: saved.seen,
            sampling: saved.sampling,
        })
    }
}

impl EffectDiffusion {
    fn state(&self) -> Result<State> {
        let state = State::new(&self.spread.described());
        let state = state.with_part("combination", CombinationModel::KIND, self.combination.state()?);
        self.spread.add_to(state)
    }

    fn restore(mut state: State) -> Result<Self> {
        let saved: SavedSpread = state.description()?;
        let part = state.part("combination", CombinationModel::KIND)?;
        let combination = CombinationModel::restore(part, Device::Cpu)?;
        let spread = Spread::take_from(&mut state, saved, combination.genes().len())?;
        Ok(Self { combination, spread })
    }
}

impl LatentDiffusion {
    fn state(&self) -> Result<State> {
        let Atlas { combination, homes, trained, factor, basis, scale } = &self.atlas;
        let saved = SavedCells {
            config: self.config.clone(),
            spread: self.spread.as_ref().map(Spread::described).map_err(Clone::clone),
            homes: homes.iter().map(|(context, home)| (context.clone(), home.carriers.clone())).collect(),
            trained: trained.iter().map(|(condition, known)| (condition.clone(), known.cells)).collect(),
            factor: *factor,
            scale: *scale,
        };
        let dims = homes.values().next().map_or(0, |home| home.point.len());
        let genes = combination.genes().len();
        let mut state = State::new(&saved)
            .with_part("combination", CombinationModel::KIND, combination.state()?)
            .with_part("vae", CountVae::KIND, self.vae().state()?)
            .with_array("basis", basis)
            .with_rows("homes.point", dims, homes.values().map(|home| &home.point))
            .with_rows("homes.profile", genes, homes.values().map(|home| &home.profile))
            .with_rows("trained.shift", dims, trained.values().map(|known| &known.shift))
            .with_rows("trained.profile", genes, trained.values().map(|known| &known.profile));
        state = self.generator.add_to(state)?;
        if let Ok(spread) = &self.spread {
            state = spread.add_to(state)?;
        }
        if let Space::Expression(space) = &self.space {
            state = state
                .with_vector("space.mean", &space.mean)
                .with_array("space.components", &space.components)
                .with_vector("space.rest", &space.rest);
        }
        Ok(state)
    }

    fn restore(mut state: State) -> Result<Self> {
        let saved: SavedCells = state.description()?;
        saved.config.validate()?;
        let combination = CombinationModel::restore(state.part("combination", CombinationModel::KIND)?, Device::Cpu)?;
        let vae = CountVae::restore(state.part("vae", CountVae::KIND)?, Device::Cpu)?;
        let genes = combination.genes().len();
        if vae.genes() != combination.genes() {
            return Err(Error::data("its parts are of different genes; train again"));
        }
        let space = match saved.config.space {
            SpaceKind::Latent => Space::Latent(vae),
            SpaceKind::Expression { .. } => Space::Expression(Expression {
                mean: state.vector("space.mean", genes)?,
                components: state.array("space.components", None, Some(genes))?,
                rest: state.vector("space.rest", genes)?,
                vae,
            }),
        };
        let (n_homes, n_trained) = (saved.homes.len(), saved.trained.len());
        let points = state.array("homes.point", Some(n_homes), Some(space.dims()))?;
        let profiles = state.array("homes.profile", Some(n_homes), Some(genes))?;
        let shifts = state.array("trained.shift", Some(n_trained), Some(space.dims()))?;
        let means = state.array("trained.profile", Some(n_trained), Some(genes))?;
        // A vocabulary without lanes has all its cells in lane 0.
        let lanes = space.vae().vocabulary().lanes.len().max(1);
        let others = space.vae().vocabulary().covariates.width();
        let positive = |size: f32| size.is_finite() && size > 0.0;
        let fits = |cell: &CellCovariates| {
            (cell.lane as usize) < lanes
                && positive(cell.size_factor)
                && positive(cell.library_size)
                && cell.others.len() == others
        };
        if let Some((context, _)) = saved.homes.iter().find(|(_, cells)| cells.is_empty() || !cells.iter().all(fits)) {
            return Err(Error::data(format!(
                "the control cells of the context {context:?} are missing, or have a lane or a library size that no cell \
                 has; train again"
            )));
        }
        let homes = saved.homes.into_iter().enumerate().map(|(i, (context, carriers))| {
            (context, Home { point: points.row(i).to_owned(), profile: profiles.row(i).to_owned(), carriers })
        });
        let trained = saved.trained.into_iter().enumerate().map(|(i, (condition, cells))| {
            let (shift, profile) = (shifts.row(i).to_owned(), means.row(i).to_owned());
            (condition, TrainedCondition { shift, profile, cells })
        });
        let atlas = Atlas {
            homes: homes.collect(),
            trained: trained.collect(),
            factor: saved.factor,
            basis: state.array("basis", None, Some(genes))?,
            scale: saved.scale,
            combination,
        };
        let spread = match saved.spread {
            Ok(spread) => Ok(Spread::take_from(&mut state, spread, genes)?),
            Err(reason) => Err(reason),
        };
        let generator = Generator::restore(&saved.config.generator, &mut state, space.dims(), atlas.width())?;
        Ok(Self { config: saved.config, space, atlas, generator, spread })
    }
}
