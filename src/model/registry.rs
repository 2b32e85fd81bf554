//! The list of models: the one place that knows all of them by name.

use super::{
    HoldOut, Model, ModelConfig, SettingsFile, Trained, saved_kind,
    training_folder::{Beginning, begin, forget_beginning},
};
use crate::{
    Error, Result,
    data::{CourseColumns, DataKind, Dataset, FeatureSources, Split, TrainingData},
    device::Device,
    train::{HISTORY, History, Run},
};
use serde_json::Value;
use std::{marker::PhantomData, path::Path};

pub(crate) use super::state::check_renamed;

/// Every model, in the order of help texts and tables.
fn families() -> Vec<Box<dyn Family>> {
    vec![
        family_of::<super::CountVae>(),
        family_of::<super::combination::CombinationModel>(),
        family_of::<super::jepa::Jepa>(),
        family_of::<super::jepa_diffusion::JepaDiffusion>(),
        family_of::<super::latent_diffusion::DiffusionModel>(),
        family_of::<super::ebm::CellEbm>(),
        family_of::<super::world::WorldModel>(),
        family_of::<super::static_dynamic::StaticDynamic>(),
        family_of::<super::causal_vae::CausalVae>(),
        family_of::<super::mean_residual::MeanResidual>(),
        family_of::<super::expression_flow::ExpressionFlow>(),
    ]
}

/// The models that can be trained and loaded by name.
pub struct Registry(Vec<Box<dyn Family>>);

impl Default for Registry {
    /// All models of this library.
    fn default() -> Self {
        Self(families())
    }
}

impl Registry {
    /// The same with one more model.
    pub fn with<M: Model>(mut self) -> Self {
        self.0.push(family_of::<M>());
        self
    }

    /// All models, in the order of help texts and tables.
    pub fn families(&self) -> impl Iterator<Item = &dyn Family> {
        self.0.iter().map(Box::as_ref)
    }

    /// The model of this name.
    ///
    /// # Errors
    /// There is none; the message lists the names.
    pub fn family(&self, name: &str) -> Result<&dyn Family> {
        if let Some(family) = self.families().find(|family| family.kind() == name) {
            return Ok(family);
        }
        check_renamed(name)?;
        let names: Vec<&str> = self.families().map(Family::kind).collect();
        Err(Error::config(format!("there is no model {name:?}; there are {}", names.join(", "))))
    }

    /// Reads a saved model of any kind.
    ///
    /// # Errors
    /// No model there, one of another version, damaged files; a device that it cannot be computed on.
    pub fn load(&self, dir: &Path, device: Device) -> Result<Box<dyn Trained>> {
        let kind = saved_kind(dir)?;
        self.family(&kind).map_err(|e| e.at(dir.display()))?.load(dir, device)
    }
}

/// A model without its types.
pub fn family_of<M: Model>() -> Box<dyn Family> {
    Box::new(Of::<M>(PhantomData))
}

/// A kind of model: [`Model`] without its types.
pub trait Family: Send + Sync {
    /// [`Model::KIND`].
    fn kind(&self) -> &'static str;
    /// [`Model::ABOUT`].
    fn about(&self) -> &'static str;
    /// [`Model::LEARNS_FROM`].
    fn learns_from(&self) -> &'static [DataKind];
    /// [`Model::KNOWS_CONTEXTS`].
    fn knows_contexts(&self) -> bool;
    /// [`Model::COMBINES_CONTEXTS`].
    fn combines_contexts(&self) -> bool;
    /// [`Model::TAKES_DOSES`].
    fn takes_doses(&self) -> bool;
    /// [`Model::LEARNS_COURSES`].
    fn learns_courses(&self) -> bool;
    /// [`Model::TAKES_STATIC`].
    fn takes_static(&self) -> bool;
    /// [`Model::NEEDS_COUNTS`].
    fn needs_counts(&self) -> bool;
    /// [`Model::check_device`].
    ///
    /// # Errors
    /// The device is not there, or the model cannot be computed on it.
    fn check_device(&self, device: Device) -> Result<()>;
    /// The settings of a configuration file's tables over the defaults for a dataset of this kind, or the defaults.
    ///
    /// # Errors
    /// A key that is unknown, a value of a wrong type or out of its range.
    fn settings(&self, given: Option<&SettingsFile>, kind: DataKind) -> Result<Box<dyn Settings>>;
    /// [`Model::load`].
    ///
    /// # Errors
    /// As [`Model::load`].
    fn load(&self, dir: &Path, device: Device) -> Result<Box<dyn Trained>>;
}

/// The settings of a model, ready to train one: [`ModelConfig`] without its type.
pub trait Settings: Send + Sync {
    /// [`Model::KIND`].
    fn kind(&self) -> &'static str;
    /// The settings as JSON.
    fn to_json(&self) -> Value;
    /// [`ModelConfig::set_epochs`].
    fn set_epochs(&mut self, epochs: usize);
    /// [`ModelConfig::set_gene_sets`].
    fn set_gene_sets(&mut self, file: &Path);
    /// [`ModelConfig::set_features`].
    fn set_features(&mut self, sources: &FeatureSources);
    /// [`ModelConfig::seed`].
    fn seed(&self) -> u64;
    /// Takes the settings of a size in place of the defaults.
    ///
    /// # Errors
    /// A size that the model does not come in.
    fn set_size(&mut self, size: &str) -> Result<()>;
    /// [`ModelConfig::size_for`].
    fn size_for(&self, cells: usize) -> Option<&'static str>;
    /// [`ModelConfig::set_phase`].
    ///
    /// # Errors
    /// As there.
    fn set_phase(&mut self, phase: &str) -> Result<()>;
    /// [`ModelConfig::set_from`].
    ///
    /// # Errors
    /// As there.
    fn set_from(&mut self, dir: &Path) -> Result<()>;
    /// [`ModelConfig::set_course_columns`].
    ///
    /// # Errors
    /// As there.
    fn set_course_columns(&mut self, columns: &CourseColumns) -> Result<()>;
    /// [`ModelConfig::set_metadata`].
    ///
    /// # Errors
    /// As there.
    fn set_metadata(&mut self, columns: &[String], hold_out: Option<HoldOut>) -> Result<()>;
    /// [`ModelConfig::set_covariates`].
    ///
    /// # Errors
    /// As there.
    fn set_covariates(&mut self, columns: &[String]) -> Result<()>;
    /// [`ModelConfig::needs_labels`].
    fn needs_labels(&self) -> bool;
    /// [`ModelConfig::divide`].
    ///
    /// # Errors
    /// As there.
    fn divide(&self, data: &Dataset, held_out: [f64; 2], seed: u64) -> Result<Option<Split>>;
    /// [`ModelConfig::encoder_alone`].
    fn encoder_alone(&self) -> bool;
    /// Lays the settings of a file over these; what the file leaves out stays as it is.
    ///
    /// # Errors
    /// A setting that is unknown, of a wrong type or out of its range, with its line.
    fn configure(&mut self, file: &SettingsFile) -> Result<()>;
    /// [`Model::check_device`].
    ///
    /// # Errors
    /// As [`Model::check_device`].
    fn check_device(&self, device: Device) -> Result<()>;
    /// [`ModelConfig::validate`].
    ///
    /// # Errors
    /// A setting out of its range, by name.
    fn validate(&self) -> Result<()>;
    /// [`Model::fit`]. With a folder in `run`, the settings and the data are noted there before the training begins, a
    /// resumed training is checked against that note, and the finished model and its history are written.
    ///
    /// # Errors
    /// As [`Model::fit`]; a training that is resumed with other settings or other data.
    fn train(&self, data: &TrainingData, run: &mut Run<'_>) -> Result<(Box<dyn Trained>, History)>;
}

struct Of<M>(PhantomData<fn() -> M>);

impl<M: Model> Family for Of<M> {
    fn kind(&self) -> &'static str {
        M::KIND
    }
    fn about(&self) -> &'static str {
        M::ABOUT
    }
    fn learns_from(&self) -> &'static [DataKind] {
        M::LEARNS_FROM
    }
    fn knows_contexts(&self) -> bool {
        M::KNOWS_CONTEXTS
    }
    fn combines_contexts(&self) -> bool {
        M::COMBINES_CONTEXTS
    }
    fn takes_doses(&self) -> bool {
        M::TAKES_DOSES
    }
    fn learns_courses(&self) -> bool {
        M::LEARNS_COURSES
    }

    fn takes_static(&self) -> bool {
        M::TAKES_STATIC
    }

    fn needs_counts(&self) -> bool {
        M::NEEDS_COUNTS
    }
    fn check_device(&self, device: Device) -> Result<()> {
        M::check_device(device)
    }
    fn settings(&self, given: Option<&SettingsFile>, kind: DataKind) -> Result<Box<dyn Settings>> {
        let config = M::Config::default_for(kind);
        let config = match given {
            None => config,
            Some(file) => file.over(&config, M::Config::validate)?,
        };
        Ok(Box::new(Configured::<M> { config }))
    }
    fn load(&self, dir: &Path, device: Device) -> Result<Box<dyn Trained>> {
        Ok(Box::new(M::load(dir, device)?))
    }
}

/// Settings of a model whose type is known.
pub struct Configured<M: Model> {
    /// The settings.
    pub config: M::Config,
}

impl<M: Model> Settings for Configured<M> {
    fn kind(&self) -> &'static str {
        M::KIND
    }
    fn to_json(&self) -> Value {
        serde_json::to_value(&self.config).expect("names and numbers always serialise")
    }
    fn set_epochs(&mut self, epochs: usize) {
        self.config.set_epochs(epochs);
    }
    fn set_gene_sets(&mut self, file: &Path) {
        self.config.set_gene_sets(file);
    }
    fn set_features(&mut self, sources: &FeatureSources) {
        self.config.set_features(sources);
    }
    fn seed(&self) -> u64 {
        self.config.seed()
    }
    fn set_size(&mut self, size: &str) -> Result<()> {
        self.config = M::Config::of_size(size).ok_or_else(|| {
            Error::config(match M::Config::size_for(1) {
                Some(_) => format!("--preset {size}: {} comes as tiny, small, medium or large", M::KIND),
                None => format!("--preset {size}: {} comes in one size; leave the option out", M::KIND),
            })
        })?;
        Ok(())
    }
    fn size_for(&self, cells: usize) -> Option<&'static str> {
        M::Config::size_for(cells)
    }
    fn set_phase(&mut self, phase: &str) -> Result<()> {
        self.config.set_phase(phase)
    }
    fn set_from(&mut self, dir: &Path) -> Result<()> {
        self.config.set_from(dir)
    }
    fn set_course_columns(&mut self, columns: &CourseColumns) -> Result<()> {
        self.config.set_course_columns(columns)
    }
    fn set_metadata(&mut self, columns: &[String], hold_out: Option<HoldOut>) -> Result<()> {
        self.config.set_metadata(columns, hold_out)
    }
    fn set_covariates(&mut self, columns: &[String]) -> Result<()> {
        self.config.set_covariates(columns)
    }
    fn needs_labels(&self) -> bool {
        self.config.needs_labels()
    }
    fn divide(&self, data: &Dataset, held_out: [f64; 2], seed: u64) -> Result<Option<Split>> {
        self.config.divide(data, held_out, seed)
    }
    fn encoder_alone(&self) -> bool {
        self.config.encoder_alone()
    }
    fn configure(&mut self, file: &SettingsFile) -> Result<()> {
        self.config = file.over(&self.config, M::Config::validate)?;
        Ok(())
    }
    fn check_device(&self, device: Device) -> Result<()> {
        M::check_device(device)
    }
    fn validate(&self) -> Result<()> {
        self.config.validate()
    }
    fn train(&self, data: &TrainingData, run: &mut Run<'_>) -> Result<(Box<dyn Trained>, History)> {
        let (model, history) = train::<M>(data, &self.config, run)?;
        Ok((Box::new(model), history))
    }
}

/// Trains a model: [`Settings::train`] for a model whose type is known.
///
/// # Errors
/// As [`Settings::train`].
pub fn train<M: Model>(data: &TrainingData, config: &M::Config, run: &mut Run<'_>) -> Result<(M, History)> {
    M::check_device(run.device)?;
    refuse_kind::<M>(data.kind())?;
    if config.needs_labels() {
        refuse_doses::<M>(data)?;
    }
    let run_folder = run.dir.clone();
    if let Some(dir) = &run_folder {
        let settings = serde_json::to_value(config).expect("names and numbers always serialise");
        begin(dir, &Beginning::of(M::KIND, settings, data, run.seed)?, run.resume)?;
    }
    let resumed = run.resume;
    let (model, history) = M::fit(data, config, run).inspect_err(|_| {
        if let Some(dir) = run_folder.as_deref().filter(|_| !resumed) {
            forget_beginning(dir);
        }
    })?;
    if let Some(dir) = &run.dir {
        model.save(dir)?;
        history.write(&dir.join(HISTORY))?;
    }
    Ok((model, history))
}

/// Refuses names with doses for a model that would take each for another perturbation.
///
/// # Errors
/// [`ErrorKind::Inapplicable`](crate::ErrorKind): the message names the models that take doses.
fn refuse_doses<M: Model>(data: &TrainingData) -> Result<()> {
    let Some(dosed) = data.dosed().filter(|_| !M::TAKES_DOSES) else { return Ok(()) };
    let with: Vec<&str> = families().iter().filter(|family| family.takes_doses()).map(|family| family.kind()).collect();
    Err(Error::inapplicable(format!(
        "{} takes no doses, and names have some ({dosed}); train {}, or give names without doses",
        M::KIND,
        with.join(" or ")
    )))
}

/// Refuses data that the model does not learn from.
///
/// # Errors
/// [`ErrorKind::Inapplicable`](crate::ErrorKind): the message says what it needs.
fn refuse_kind<M: Model>(kind: DataKind) -> Result<()> {
    let (has, needs) = match kind {
        DataKind::Cells => ("single cells", "an effects dataset"),
        DataKind::Effects => ("mean effects", "a dataset of cells"),
    };
    match M::LEARNS_FROM.contains(&kind) {
        true => Ok(()),
        false => Err(Error::inapplicable(format!("{} learns from {needs}, and this dataset holds {has}", M::KIND))),
    }
}
