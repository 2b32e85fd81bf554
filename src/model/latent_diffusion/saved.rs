//! Saved latent diffusions: a description, arrays, and the models they are made of in folders of their own.
//!
//! ```text
//! DIR/model.json, model.safetensors    what it is; its arrays
//! DIR/jepa                             what predicts the mean
//! DIR/spread                           the diffusion of what the mean misses
//! DIR/vae, DIR/generator               cells only: the latent space, and what draws points in it
//! ```

use super::{
    atlas::{Atlas, Home, Trained},
    cells::{LatentDiffusion, LatentDiffusionConfig},
    effects::EffectDiffusion,
    generator::Generator,
    space::{Expression, Space, SpaceKind},
    spread::{Size, Spread},
};
use crate::model::{Model, Trained as _};
use crate::{
    Error, Result,
    data::Condition,
    device::Device,
    model::{
        CellCovariates, CountVae,
        arrays::{array, host, host_row, host_rows, row},
        combination::CombinationModel,
        diffusion::{Diffusion, SampleConfig},
        folder::{self, Header},
    },
    nn::{Checkpoint, Snapshot},
};
use serde::{Deserialize, Serialize};
use std::path::Path;

const EFFECTS: &str = "effect-diffusion";
const CELLS: &str = "latent-diffusion";

/// What is described of a spread.
#[derive(Serialize, Deserialize)]
struct SavedSpread {
    size: Size,
    seen: usize,
    sampling: SampleConfig,
}

/// `model.json` of an [`EffectDiffusion`].
#[derive(Serialize, Deserialize)]
struct SavedEffects {
    #[serde(flatten)]
    header: Header,
    spread: SavedSpread,
}

/// `model.json` of a [`LatentDiffusion`].
#[derive(Serialize, Deserialize)]
struct SavedCells {
    #[serde(flatten)]
    header: Header,
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

    fn write(&self, dir: &Path, arrays: &mut Snapshot) -> Result<()> {
        arrays.insert("spread.basis", host(&self.basis));
        arrays.insert("spread.rest", host(&self.rest));
        arrays.insert("spread.correction", host_row(&self.correction));
        arrays.insert("spread.deviation", host_row(&self.deviation));
        self.net.save(&dir.join("spread"))
    }

    fn read(dir: &Path, saved: SavedSpread, arrays: &Snapshot, genes: usize) -> Result<Self> {
        let basis = array(arrays, "spread.basis", Some(genes))?;
        Ok(Self {
            size: saved.size,
            rest: array(arrays, "spread.rest", Some(genes))?,
            correction: row(arrays, "spread.correction", basis.nrows())?,
            deviation: row(arrays, "spread.deviation", genes)?,
            basis,
            net: Diffusion::load(&dir.join("spread"), Device::Cpu)?,
            seen: saved.seen,
            sampling: saved.sampling,
        })
    }
}

impl EffectDiffusion {
    /// Writes the model to a folder, made if it is not there.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        self.jepa.save(&dir.join("jepa"))?;
        let mut arrays = Snapshot::default();
        self.spread.write(dir, &mut arrays)?;
        let saved = SavedEffects { header: Header::of(EFFECTS), spread: self.spread.described() };
        folder::write_description(dir, &saved)?;
        write_arrays(dir, arrays)
    }

    /// Reads a model back from its folder.
    ///
    /// # Errors
    /// No model there, one of another kind or version, arrays that do not fit.
    pub fn load(dir: &Path) -> Result<Self> {
        let saved: SavedEffects = folder::read_description(dir, EFFECTS)?;
        let arrays = read_arrays(dir)?;
        let jepa = CombinationModel::load(&dir.join("jepa"), Device::Cpu)?;
        let spread = Spread::read(dir, saved.spread, &arrays, jepa.genes().len())?;
        Ok(Self { jepa, spread })
    }
}

impl LatentDiffusion {
    /// Writes the model to a folder, made if it is not there.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let Atlas { jepa, homes, trained, factor, basis, scale } = &self.atlas;
        jepa.save(&dir.join("jepa"))?;
        self.vae().save(&dir.join("vae"))?;
        let mut arrays = Snapshot::default();
        match &self.generator {
            Generator::Diffusion(net, _) => net.save(&dir.join("generator"))?,
            Generator::Flow(net, _) => net.save(&dir.join("generator"))?,
            Generator::FromControl(net, _, controls) => {
                net.save(&dir.join("generator"))?;
                arrays.insert("controls", host(&controls.mapv(f64::from)));
            }
        }
        if let Ok(spread) = &self.spread {
            spread.write(dir, &mut arrays)?;
        }
        if let Space::Expression(space) = &self.space {
            arrays.insert("space.mean", host_row(&space.mean));
            arrays.insert("space.components", host(&space.components));
            arrays.insert("space.rest", host_row(&space.rest));
        }
        arrays.insert("basis", host(basis));
        arrays.insert("homes.point", host_rows(homes.values().map(|home| &home.point)));
        arrays.insert("homes.profile", host_rows(homes.values().map(|home| &home.profile)));
        arrays.insert("trained.shift", host_rows(trained.values().map(|known| &known.shift)));
        arrays.insert("trained.profile", host_rows(trained.values().map(|known| &known.profile)));
        let saved = SavedCells {
            header: Header::of(CELLS),
            config: self.config.clone(),
            spread: self.spread.as_ref().map(Spread::described).map_err(Clone::clone),
            homes: homes.iter().map(|(context, home)| (context.clone(), home.carriers.clone())).collect(),
            trained: trained.iter().map(|(condition, known)| (condition.clone(), known.cells)).collect(),
            factor: *factor,
            scale: *scale,
        };
        folder::write_description(dir, &saved)?;
        write_arrays(dir, arrays)
    }

    /// Reads a model back from its folder.
    ///
    /// # Errors
    /// No model there, one of another kind or version, arrays that do not fit.
    pub fn load(dir: &Path) -> Result<Self> {
        let saved: SavedCells = folder::read_description(dir, CELLS)?;
        let arrays = read_arrays(dir)?;
        let (jepa, vae) =
            (CombinationModel::load(&dir.join("jepa"), Device::Cpu)?, CountVae::load(&dir.join("vae"), Device::Cpu)?);
        let genes = jepa.genes().len();
        let space = match saved.config.space {
            SpaceKind::Latent => Space::Latent(vae),
            SpaceKind::Expression { .. } => Space::Expression(Expression {
                mean: row(&arrays, "space.mean", genes)?,
                components: array(&arrays, "space.components", Some(genes))?,
                rest: row(&arrays, "space.rest", genes)?,
                vae,
            }),
        };
        let (points, profiles) = (array(&arrays, "homes.point", None)?, array(&arrays, "homes.profile", Some(genes))?);
        let dims = points.ncols();
        let (shifts, means) =
            (array(&arrays, "trained.shift", Some(dims))?, array(&arrays, "trained.profile", Some(genes))?);
        let rows = [points.nrows(), profiles.nrows(), shifts.nrows(), means.nrows()];
        if rows != [saved.homes.len(), saved.homes.len(), saved.trained.len(), saved.trained.len()] {
            return Err(Error::data("the arrays have other numbers of rows than the description says; train again")
                .at(folder::weights(dir).display()));
        }
        let homes = saved.homes.into_iter().enumerate().map(|(i, (context, carriers))| {
            (context, Home { point: points.row(i).to_owned(), profile: profiles.row(i).to_owned(), carriers })
        });
        let trained = saved.trained.into_iter().enumerate().map(|(i, (condition, cells))| {
            (condition, Trained { shift: shifts.row(i).to_owned(), profile: means.row(i).to_owned(), cells })
        });
        let atlas = Atlas {
            homes: homes.collect(),
            trained: trained.collect(),
            factor: saved.factor,
            basis: array(&arrays, "basis", Some(genes))?,
            scale: saved.scale,
            jepa,
        };
        let spread = match saved.spread {
            Ok(spread) => Ok(Spread::read(dir, spread, &arrays, genes)?),
            Err(reason) => Err(reason),
        };
        let controls = || array(&arrays, "controls", Some(dims)).map(|points| points.mapv(|value| value as f32));
        let generator = Generator::load(&saved.config.generator, &dir.join("generator"), controls)?;
        Ok(Self { config: saved.config, space, atlas, generator, spread })
    }
}

fn write_arrays(dir: &Path, arrays: Snapshot) -> Result<()> {
    let mut file = Checkpoint::default();
    file.add("arrays", arrays);
    file.write(&folder::weights(dir))
}

fn read_arrays(dir: &Path) -> Result<Snapshot> {
    Ok(Checkpoint::read(&folder::finished_weights(dir)?)?.take("arrays"))
}
