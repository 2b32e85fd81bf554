//! The files of the diffusion models.
//!
//! ```text
//! DIR/combination        what predicts the mean
//! DIR/spread             the diffusion of what the mean misses
//! DIR/vae, DIR/generator cells only: the latent space, and what draws points in it
//! ```

use super::{
    cells::{LatentDiffusion, LatentDiffusionConfig},
    effects::EffectDiffusion,
    generator::{Atlas, Generator, Home, Trained as TrainedCondition},
    space::{Expression, Space, SpaceKind},
    spread::{Size, Spread},
};
use crate::{
    Error, Result,
    data::Condition,
    device::Device,
    model::{
        CellCovariates, CountVae, Model, State, Trained,
        combination::CombinationModel,
        diffusion::{Diffusion, SampleConfig},
    },
};
use serde::{Deserialize, Serialize};

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
    pub(super) fn state(&self) -> Result<State> {
        let state = State::new(&self.spread.described());
        let state = state.with_part("combination", CombinationModel::KIND, self.combination.state()?);
        self.spread.add_to(state)
    }

    pub(super) fn restore(mut state: State) -> Result<Self> {
        let saved: SavedSpread = state.description()?;
        let part = state.part("combination", CombinationModel::KIND)?;
        let combination = CombinationModel::restore(part, Device::Cpu)?;
        let spread = Spread::take_from(&mut state, saved, combination.genes().len())?;
        Ok(Self { combination, spread })
    }
}

impl LatentDiffusion {
    pub(super) fn state(&self) -> Result<State> {
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

    pub(super) fn restore(mut state: State) -> Result<Self> {
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
