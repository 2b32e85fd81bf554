//! What a training recorded: one record per epoch; as a file, one JSON object per line.

use crate::{Error, Result, files::write_atomically};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};

/// Means over the rows of an epoch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// The loss that the optimizer minimises.
    pub loss: f64,
    /// What the model recorded beside it (see [`Loss::parts`](super::Loss::parts)).
    pub parts: BTreeMap<String, f64>,
}

/// One epoch of a training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Epoch, counted from 1.
    pub epoch: usize,
    /// Optimizer steps since the beginning.
    pub steps: usize,
    /// Learning rate of the epoch's last step.
    pub learning_rate: f64,
    /// Over the training rows, each with the weights of its step.
    pub train: Metrics,
    /// Over the validation rows, with the weights at the end of the epoch.
    pub validation: Option<Metrics>,
    /// Mean over the steps of the gradient's global norm before clipping.
    pub gradient_norm: f64,
    /// Time that the epoch took, validation included, in seconds.
    pub seconds: f64,
    /// Training rows per second, without the time of validation.
    pub cells_per_second: f64,
    /// When the epoch ended, in seconds since 1970.
    pub unix_time: f64,
}

impl EpochRecord {
    /// The loss that early stopping and the learning-rate schedule go by: validation, or training where there is no
    /// validation.
    pub fn monitored_loss(&self) -> f64 {
        self.validation.as_ref().unwrap_or(&self.train).loss
    }

    /// The record's metrics by name, as TensorBoard shows them: `train/loss`, `validation/nll`, …
    pub fn scalars(&self) -> Vec<(String, f64)> {
        let mut scalars = Vec::new();
        for (set, metrics) in [("train", Some(&self.train)), ("validation", self.validation.as_ref())] {
            let Some(metrics) = metrics else { continue };
            scalars.push((format!("{set}/loss"), metrics.loss));
            scalars.extend(metrics.parts.iter().map(|(name, value)| (format!("{set}/{name}"), *value)));
        }
        scalars.push(("optimizer/learning_rate".to_owned(), self.learning_rate));
        scalars.push(("optimizer/gradient_norm".to_owned(), self.gradient_norm));
        scalars.push(("speed/cells_per_second".to_owned(), self.cells_per_second));
        scalars
    }
}

/// The records of a training, one per epoch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct History {
    /// The epochs in order.
    pub epochs: Vec<EpochRecord>,
}

impl History {
    /// The last epoch.
    pub fn last(&self) -> Option<&EpochRecord> {
        self.epochs.last()
    }

    /// The epoch of the lowest validation loss (training loss where there is no validation); the first of several.
    pub fn best(&self) -> Option<&EpochRecord> {
        self.epochs.iter().min_by(|a, b| a.monitored_loss().total_cmp(&b.monitored_loss()))
    }

    /// One history for an ensemble, over the epochs that all members have: means of the training losses, their parts and
    /// the gradient norms, the sum of the seconds, everything else from the first member. Validation is left out.
    pub fn mean(members: &[Self]) -> Self {
        let Some(first) = members.first() else { return Self::default() };
        let n = members.len() as f64;
        let epochs = members.iter().map(|member| member.epochs.len()).min().unwrap_or(0);
        let record = |epoch: usize| {
            let all = || members.iter().map(|member| &member.epochs[epoch]);
            let mean = |value: &dyn Fn(&EpochRecord) -> f64| all().map(value).sum::<f64>() / n;
            let parts = first.epochs[epoch]
                .train
                .parts
                .keys()
                .map(|name| (name.clone(), mean(&|record| record.train.parts.get(name).copied().unwrap_or(0.0))));
            EpochRecord {
                train: Metrics { loss: mean(&|record| record.train.loss), parts: parts.collect() },
                validation: None,
                gradient_norm: mean(&|record| record.gradient_norm),
                seconds: all().map(|record| record.seconds).sum(),
                cells_per_second: mean(&|record| record.cells_per_second),
                ..first.epochs[epoch].clone()
            }
        };
        Self { epochs: (0..epochs).map(record).collect() }
    }

    /// One JSON object per epoch, each on its own line.
    pub fn to_json_lines(&self) -> String {
        let line = |record| serde_json::to_string(record).expect("numbers and names always serialise") + "\n";
        self.epochs.iter().map(line).collect()
    }

    /// Writes the records to a file, one JSON object per line, all or nothing.
    ///
    /// # Errors
    /// A folder that is missing or cannot be written, a full disk.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_atomically(path, self.to_json_lines().as_bytes())
    }

    /// Reads the file that [`Self::write`] wrote.
    ///
    /// # Errors
    /// No file there; a line that is no record, by its number.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io("read the history", path, e))?;
        let record = |(number, line): (usize, &str)| {
            serde_json::from_str(line).map_err(|e| {
                Error::data(format!("{}, line {}: not a record of a training: {e}", path.display(), number + 1))
            })
        };
        Ok(Self { epochs: text.lines().enumerate().map(record).collect::<Result<_>>()? })
    }
}
