//! Cell-level pretraining in the contract of all models: settings, training, saving, restoring.

use super::{
    cell_jepa::{CellJepa, on_device},
    config::CellJepaConfig,
};
use crate::{
    Error, ErrorKind, Result,
    data::{DataKind, Dataset, TrainingData},
    device::Device,
    model::{Abilities, Model, ModelConfig, State, Trained, forget_checkpoints},
    train::{History, LearningRateSchedule, Run, TrainConfig, has_checkpoint},
};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

/// The tables of a configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CellJepaSettings {
    /// The network.
    pub model: CellJepaConfig,
    /// Its training.
    pub train: TrainConfig,
}

impl Default for CellJepaSettings {
    fn default() -> Self {
        Self {
            model: CellJepaConfig::default(),
            // As in `benches/embeddings.rs`, where the model's settings were chosen.
            train: TrainConfig {
                epochs: 20,
                schedule: LearningRateSchedule::WarmupCosine { warmup_steps: 100, final_fraction: 0.01 },
                ..TrainConfig::default()
            },
        }
    }
}

impl ModelConfig for CellJepaSettings {
    fn default_for(_: DataKind) -> Self {
        Self::default()
    }

    fn validate(&self) -> Result<()> {
        self.train.validate()?;
        self.model.validate()
    }

    fn set_epochs(&mut self, epochs: usize) {
        self.train.epochs = epochs;
    }

    fn seed(&self) -> u64 {
        self.train.seed
    }
}

/// The description in `model.json`.
#[derive(Serialize, Deserialize)]
struct Description {
    config: CellJepaConfig,
    genes: Vec<String>,
    target_sum: f32,
}

impl Trained for CellJepa {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn abilities(&self) -> Abilities {
        Abilities { embeddings: Some("X_jepa"), ..Abilities::default() }
    }

    fn genes(&self) -> &[String] {
        &self.genes
    }

    fn perturbs(&self, _gene: &str) -> bool {
        false
    }

    /// By the encoder of [`CellJepa::reader`], with every gene visible.
    fn embed(&self, data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
        self.embed_rows(data, rows, self.reader())
    }

    fn notes(&self) -> Vec<String> {
        vec!["no label is used in this training".to_owned()]
    }

    fn state(&self) -> Result<State> {
        if let Some(failure) = &self.failure {
            return Err(Error::new(
                ErrorKind::Numeric,
                format!("this model is not saved, because its training failed: {failure}"),
            ));
        }
        let (config, genes, target_sum) = (self.config.clone(), self.genes.clone(), self.target_sum);
        let state = State::new(&Description { config, genes, target_sum });
        on_device!(&self.net, net => state.with_network("net", net))
    }
}

impl Model for CellJepa {
    const KIND: &'static str = "cell-jepa";
    const ABOUT: &'static str = "an encoder of cells that is trained without labels: embeddings, no predictions";
    const LEARNS_FROM: &'static [DataKind] = &[DataKind::Cells];
    const IS_ENCODER: bool = true;
    type Config = CellJepaSettings;

    fn check_device(device: Device) -> Result<()> {
        device.check()
    }

    fn fit(data: &TrainingData, config: &CellJepaSettings, run: &mut Run<'_>) -> Result<(Self, History)> {
        let cells =
            data.cells.as_ref().ok_or_else(|| Error::inapplicable("an effects dataset has no cells to embed"))?;
        // Interrupted before its first epoch, a training has no checkpoint to go on from.
        run.resume &= run.dir.as_deref().is_some_and(has_checkpoint);
        let mut model = Self::new(&cells.data, &cells.split, config.model.clone(), run.seed, run.device)?;
        let training = TrainConfig { seed: run.seed, ..config.train.clone() };
        let trained = model.fit_with(&cells.data, &cells.split, &training, run);
        let history = match (trained, &run.dir) {
            // A training cannot go on from a collapse.
            (Err(error), Some(dir)) if error.kind() == ErrorKind::Numeric => {
                forget_checkpoints(dir)?;
                return Err(error.at(format!("no model is kept in {}", dir.display())));
            }
            (trained, _) => trained?,
        };
        Ok((model, history))
    }

    fn restore(state: State, device: Device) -> Result<Self> {
        let Description { config, genes, target_sum } = state.description()?;
        let mut model = Self::build(config, genes, target_sum, 0, device)?;
        on_device!(&mut model.net, net => state.fill("net", net))?;
        Ok(model)
    }
}
