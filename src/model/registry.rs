//! The list of models: the one place that knows all of them by name.

use super::{Model, ModelConfig, SettingsFile, Trained, WEIGHTS, saved_kind};
use crate::{
    Error, Result,
    data::{DataKind, TrainingData},
    device::Device,
    files::write_atomically,
    train::{CHECKPOINT, History, Run, has_checkpoint},
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{marker::PhantomData, path::Path};

/// Every model, in the order of help texts and tables.
fn families() -> Vec<Box<dyn Family>> {
    vec![
        family_of::<super::CountVae>(),
        family_of::<super::combination::CombinationModel>(),
        family_of::<super::jepa::JepaSets>(),
        family_of::<super::jepa::JepaPairs>(),
        family_of::<super::jepa::CellJepa>(),
        family_of::<super::latent_diffusion::DiffusionModel>(),
    ]
}

/// Names of earlier versions, and what to use in their place.
const RENAMED: [(&str, &str); 2] = [
    ("count-vae", "it is called vae"),
    (
        "jepa",
        "the model of mean effects that was called jepa is called combination, after what carries its predictions",
    ),
];

/// Refuses the name that a model had in earlier versions.
///
/// # Errors
/// The name was one; the message says what to use.
pub(crate) fn check_renamed(name: &str) -> Result<()> {
    match RENAMED.iter().find(|(old, _)| *old == name) {
        Some((_, instead)) => Err(Error::config(format!("there is no model {name:?} any more: {instead}"))),
        None => Ok(()),
    }
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
    /// [`Model::IS_ENCODER`].
    fn is_encoder(&self) -> bool;
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
    /// [`ModelConfig::seed`].
    fn seed(&self) -> u64;
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
    fn is_encoder(&self) -> bool {
        M::IS_ENCODER
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
    fn seed(&self) -> u64 {
        self.config.seed()
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
    if let Some(dir) = run.dir.clone() {
        let settings = serde_json::to_value(config).expect("names and numbers always serialise");
        begin(&dir, &Beginning::of(M::KIND, settings, data, run.seed)?, run.resume)?;
    }
    let (model, history) = M::fit(data, config, run)?;
    if let Some(dir) = &run.dir {
        model.save(dir)?;
        history.write(&dir.join("history.jsonl"))?;
    }
    Ok((model, history))
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

/// The note of what is trained, beside the checkpoint.
const BEGINNING: &str = "training.json";

/// Whether a training was begun in a folder.
pub(super) fn has_begun(dir: &Path) -> bool {
    dir.join(BEGINNING).exists()
}

/// What a training depends on: a resumed one must agree in all of it, but for the number of epochs.
#[derive(serde::Serialize, serde::Deserialize)]
struct Beginning {
    model: String,
    seed: u64,
    settings: Value,
    /// SHA-256 of genes, conditions and the split.
    data: String,
}

impl Beginning {
    fn of(kind: &str, settings: Value, data: &TrainingData, seed: u64) -> Result<Self> {
        Ok(Self { model: kind.to_owned(), seed, settings, data: fingerprint(data)? })
    }

    /// What differs, in words.
    fn differences(&self, now: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if self.model != now.model {
            found.push(format!("the model was {} and is now {}", self.model, now.model));
        }
        if self.seed != now.seed {
            found.push(format!("seed was {} and is now {}", self.seed, now.seed));
        }
        changed("", &self.settings, &now.settings, &mut found);
        if self.data != now.data {
            found.push("the data or the split differ".to_owned());
        }
        found
    }
}

/// Lists the settings that differ, by the name of the innermost key.
fn changed(name: &str, then: &Value, now: &Value, found: &mut Vec<String>) {
    match (then, now) {
        (Value::Object(then), Value::Object(now)) => {
            for (key, value) in then {
                changed(key, value, now.get(key).unwrap_or(&Value::Null), found);
            }
        }
        _ if then == now || name == "epochs" => {}
        _ => found.push(format!("{name} was {then} and is now {now}")),
    }
}

fn fingerprint(data: &TrainingData) -> Result<String> {
    let mut hash = Sha256::new();
    let mut add = |text: &str| hash.update([text.as_bytes(), b"\n"].concat());
    data.genes.iter().for_each(|gene| add(gene));
    match &data.cells {
        Some(cells) => {
            cells.conditions.iter().for_each(|condition| add(&condition.to_string()));
            add(&serde_json::to_string(&cells.split).expect("numbers always serialise"));
            cells.data.library_size.iter().for_each(|size| add(&size.to_bits().to_string()));
        }
        None => {
            for table in [data.effects()?, data.validation()?] {
                table.conditions.iter().for_each(|condition| add(&condition.to_string()));
                table.effects.iter().for_each(|value| add(&value.to_bits().to_string()));
            }
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Notes what is trained in `dir`; what an earlier training left there goes, so that its weights are never taken for
/// those of this one. A resumed training must be the one that was noted.
fn begin(dir: &Path, now: &Beginning, resume: bool) -> Result<()> {
    let path = dir.join(BEGINNING);
    if resume {
        let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
        let then: Beginning = serde_json::from_str(&text)
            .map_err(|e| Error::data(format!("{} is damaged: {e}; train anew in another folder", path.display())))?;
        let differences = then.differences(now);
        return match differences.is_empty() {
            true => Ok(()),
            false => Err(Error::config(format!(
                "cannot resume with another model than that of {}: {}; give the same data and settings, or train anew in \
                 another folder",
                path.display(),
                differences.join(", ")
            ))),
        };
    }
    std::fs::create_dir_all(dir).map_err(|e| Error::io("create the folder", dir, e))?;
    for name in ["model.json", WEIGHTS, "metrics.json", "report.html", "split.json"] {
        let file = dir.join(name);
        match std::fs::remove_file(&file) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("remove", &file, e)),
            _ => {}
        }
    }
    forget_checkpoints(dir)?;
    let text = serde_json::to_string_pretty(now).expect("names and numbers always serialise");
    write_atomically(&path, text.as_bytes())
}

/// Removes the checkpoints of an earlier training and of its parts: a part that is resumed must not find an old one.
///
/// # Errors
/// A folder that cannot be read, a file that cannot be removed.
pub fn forget_checkpoints(dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir).map_err(|e| Error::io("read the folder", dir, e))? {
        let path = entry.map_err(|e| Error::io("read the folder", dir, e))?.path();
        if path.is_dir() {
            forget_checkpoints(&path)?;
        } else if path.file_name().is_some_and(|name| name == CHECKPOINT) {
            std::fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))?;
        }
    }
    Ok(())
}

/// Whether a training may begin in `dir`, or be resumed there.
///
/// # Errors
/// Nothing to resume; the checkpoint of a training that was stopped, without `resume`.
pub fn check_folder(dir: &Path, resume: bool) -> Result<()> {
    let done = dir.join(WEIGHTS).exists();
    match resume {
        true if !has_begun(dir) => Err(Error::config(format!(
            "nothing to resume: there is no {}; give the folder of the training that was stopped, or leave out --resume",
            dir.join(CHECKPOINT).display()
        ))),
        false if !done && holds_checkpoint(dir) => Err(Error::config(format!(
            "{} holds the checkpoint of a training that was stopped: add --resume to go on with it, or give another --out",
            dir.display()
        ))),
        _ => Ok(()),
    }
}

/// Whether the folder, or that of a part of the model, holds a checkpoint.
fn holds_checkpoint(dir: &Path) -> bool {
    has_checkpoint(dir)
        || std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .any(|entry| entry.path().is_dir() && holds_checkpoint(&entry.path()))
}
