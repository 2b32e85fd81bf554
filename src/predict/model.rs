//! A predictor of effects made of any model: the one adapter between the registry of models and benchmarks.

use super::{Fitted, Predictor, control_starts::ControlStarts};
use crate::{
    Error, Result,
    data::{Condition, DataKind, FeatureSources, TrainingCells, TrainingData},
    device::Device,
    model::{
        Model, ModelConfig, Sampling, SettingsFile, Trained,
        registry::{Configured, Registry, Settings},
    },
    train::Run,
};
use ndarray::{Array1, Array2};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

/// Seed of the draws behind an effect, so that control and perturbed cells start from the same random numbers.
const EFFECT_SEED: u64 = 0x6566_6665_6374;

/// A model as a predictor.
///
/// Where the model can start from given control cells, an effect is the mean of the training control cells of the
/// condition's context under the perturbation less their mean as control, so that what the model gets wrong of control is
/// not taken for an effect. Else it is the model's own effect.
pub struct ModelPredictor {
    name: String,
    description: String,
    on: &'static [DataKind],
    settings: Box<dyn Settings>,
    device: Device,
    interrupt: Option<Arc<AtomicBool>>,
}

impl ModelPredictor {
    /// A model with its default settings under a name of its own in tables, for datasets of the kinds `on`.
    pub fn new<M: Model>(name: &str, on: &'static [DataKind]) -> Self {
        let first = on.first().copied().unwrap_or(DataKind::Effects);
        let settings = Box::new(Configured::<M> { config: M::Config::default_for(first) });
        let (name, description) = (name.to_owned(), capitalised(M::ABOUT));
        Self { name, description, on, settings, device: Device::default(), interrupt: None }
    }

    /// The same with these settings.
    pub fn with_config<M: Model>(self, config: M::Config) -> Self {
        Self { settings: Box::new(Configured::<M> { config }), ..self }
    }

    /// The trained model.
    ///
    /// # Errors
    /// A dataset of a kind that this predictor is not for ([`ErrorKind::Inapplicable`](crate::ErrorKind)); those of the
    /// training.
    pub fn train(&self, data: &TrainingData) -> Result<Box<dyn Trained>> {
        if !self.on.contains(&data.kind()) {
            return Err(Error::inapplicable(match data.kind() {
                DataKind::Cells => "it is for effects datasets",
                DataKind::Effects => "an effects dataset has no cells to train a model of cells on",
            }));
        }
        let mut run = Run { device: self.device, interrupt: self.interrupt.clone(), ..Run::quiet(data.seed) };
        Ok(self.settings.train(data, &mut run)?.0)
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().collect::<String>() + letters.as_str())
}

impl Predictor for ModelPredictor {
    fn name(&self) -> &str {
        &self.name
    }

    fn description(&self) -> &str {
        &self.description
    }

    fn settings(&self) -> Value {
        json!({ "model": self.settings.kind(), "settings": self.settings.to_json() })
    }

    fn set_gene_sets(&mut self, file: &Path) {
        self.settings.set_gene_sets(file);
    }

    fn set_features(&mut self, sources: &FeatureSources) {
        self.settings.set_features(sources);
    }

    fn configure(&mut self, file: &SettingsFile) -> Result<()> {
        self.settings.configure(file)
    }

    fn set_device(&mut self, device: Device) -> Result<()> {
        self.settings.check_device(device)?;
        self.device = device;
        Ok(())
    }

    fn set_interrupt(&mut self, flag: &Arc<AtomicBool>) {
        self.interrupt = Some(Arc::clone(flag));
    }

    fn fit(&self, data: &TrainingData) -> Result<Box<dyn Fitted>> {
        fitted(self.train(data)?, data)
    }
}

/// A trained model as a fitted predictor; see [`ModelPredictor`] for what its effects are.
///
/// # Errors
/// Training cells that it cannot start from.
pub fn fitted(model: Box<dyn Trained>, data: &TrainingData) -> Result<Box<dyn Fitted>> {
    match &data.cells {
        Some(cells) if model.abilities().cells_from => {
            Ok(Box::new(FromControls::new(model, Arc::clone(cells), data.seed)?))
        }
        _ => Ok(Box::new(Own(model))),
    }
}

/// A model that was trained before, from its folder: it is judged as it stands. That the conditions or cells that judge it
/// took no part in its training is for the caller to see to.
pub struct SavedModel {
    name: String,
    folder: PathBuf,
}

impl SavedModel {
    /// The model in a folder, under a name of its own in tables.
    pub fn new(name: &str, folder: impl Into<PathBuf>) -> Self {
        Self { name: name.to_owned(), folder: folder.into() }
    }
}

impl Predictor for SavedModel {
    fn name(&self) -> &str {
        &self.name
    }

    fn description(&self) -> &str {
        "A model that was trained before"
    }

    fn settings(&self) -> Value {
        json!({ "folder": self.folder })
    }

    fn fit(&self, data: &TrainingData) -> Result<Box<dyn Fitted>> {
        fitted(Registry::default().load(&self.folder, Device::default())?, data)
    }
}

/// A model that says itself what the effect of a condition is.
struct Own(Box<dyn Trained>);

impl Fitted for Own {
    fn effect(&self, condition: &Condition) -> Result<Array1<f32>> {
        let effects = self.0.effects(std::slice::from_ref(condition))?;
        Ok(effects.row(0).mapv(|value| value as f32))
    }

    fn cells(&self, condition: &Condition, n: usize, seed: u64) -> Option<Result<Array2<f32>>> {
        if !self.0.abilities().cells {
            return None;
        }
        Some(self.0.cells(condition, &Sampling::new(n, seed)).map(|cells| cells.log_normalised()))
    }

    fn model(&self) -> Option<&dyn Trained> {
        Some(self.0.as_ref())
    }
}

/// A model that is given the training control cells of the condition's context.
struct FromControls {
    model: Box<dyn Trained>,
    cells: Arc<TrainingCells>,
    /// With the mean log-normalised expression of the chosen control cells as the model sees them, `(genes,)`.
    starts: ControlStarts<Array1<f64>>,
}

impl FromControls {
    fn new(model: Box<dyn Trained>, cells: Arc<TrainingCells>, seed: u64) -> Result<Self> {
        let mean = |control: &Condition, chosen: &[usize]| model.mean_from(&cells.data, chosen, control, EFFECT_SEED);
        let starts = ControlStarts::new(&cells, &cells.split.train, seed, mean)?;
        Ok(Self { model, cells, starts })
    }
}

impl Fitted for FromControls {
    fn effect(&self, condition: &Condition) -> Result<Array1<f32>> {
        self.model.check(std::slice::from_ref(condition))?;
        let start = self.starts.of(condition)?;
        let mean = self.model.mean_from(&self.cells.data, &start.chosen, condition, EFFECT_SEED)?;
        Ok((mean - &start.of_chosen).mapv(|value| value as f32))
    }

    fn cells(&self, condition: &Condition, n: usize, seed: u64) -> Option<Result<Array2<f32>>> {
        let cells = || {
            self.model.check(std::slice::from_ref(condition))?;
            let (rows, seed) = self.starts.of(condition)?.draw(n, seed);
            Ok(self.model.cells_from(&self.cells.data, &rows, condition, seed)?.log_normalised())
        };
        Some(cells())
    }

    fn model(&self) -> Option<&dyn Trained> {
        Some(self.model.as_ref())
    }
}
