//! The checkpoint of a running training: one file that holds everything that the next epoch depends on.
//!
//! `last.safetensors` holds the weights (`model/…`), the best ones where early stopping keeps them and they are others
//! (`best/…`), Adam's moments (`adam/…`), and, as JSON metadata, the position, the settings and the history. Randomness
//! needs no state: every step draws from a generator of its own, made of the seed and the step's number.

use super::{History, TrainConfig, schedule::Plateau, stopping::Stopping};
use crate::{
    Error, ErrorKind, Result,
    nn::{Adam, Backend, Checkpoint, Params, Snapshot},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The file of a training's checkpoint.
pub(crate) const CHECKPOINT: &str = "last.safetensors";
const STATE: &str = "training";
const MODEL: &str = "model";
const BEST: &str = "best";
const ADAM: &str = "adam";
/// The setting that may differ when a training is resumed.
const FREE: &str = "epochs";

/// Whether a training left its checkpoint in `dir`.
pub(crate) fn has_checkpoint(dir: &Path) -> bool {
    dir.join(CHECKPOINT).exists()
}

/// Where a training stands after an epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) config: TrainConfig,
    pub(super) train_rows: usize,
    pub(super) validation_rows: usize,
    /// Epochs done.
    pub(super) epochs: usize,
    /// Optimizer steps done.
    pub(super) steps: usize,
    pub(super) plateau: Plateau,
    pub(super) stopping: Stopping,
    pub(super) adam_steps: BTreeMap<String, u64>,
    pub(super) history: History,
}

impl State {
    pub(super) fn new(config: &TrainConfig, train_rows: usize, validation_rows: usize) -> Self {
        Self {
            config: config.clone(),
            train_rows,
            validation_rows,
            epochs: 0,
            steps: 0,
            plateau: Plateau::default(),
            stopping: Stopping::default(),
            adam_steps: BTreeMap::new(),
            history: History::default(),
        }
    }

    /// Where the checkpoint of a training in `dir` is.
    pub(super) fn path(dir: &Path) -> PathBuf {
        dir.join(CHECKPOINT)
    }

    /// Writes the checkpoint, all or nothing.
    pub(super) fn save<D: Backend, M: Params<D>>(
        &mut self,
        dir: &Path,
        model: &M,
        best: Option<&Snapshot>,
        adam: &Adam<D>,
    ) -> Result<()> {
        let (moments, steps) = adam.export()?;
        self.adam_steps = steps;
        let mut checkpoint = Checkpoint::default();
        checkpoint.add(MODEL, Snapshot::of(model)?);
        checkpoint.add(ADAM, moments);
        // In most epochs the best weights are the last ones, and are not written twice.
        if let Some(best) = best.filter(|_| self.stopping.best_epoch != self.epochs) {
            checkpoint.add(BEST, best.clone());
        }
        let state = serde_json::to_string(self).expect("numbers and names always serialise");
        checkpoint.metadata.insert(STATE.to_owned(), state);
        checkpoint.write(&Self::path(dir))
    }

    /// Goes back to the checkpoint in `dir`: fills the model and the optimizer, and gives the state and, if early
    /// stopping keeps them, the best weights.
    pub(super) fn resume<D: Backend, M: Params<D>>(
        dir: &Path,
        now: &Self,
        model: &mut M,
        adam: &mut Adam<D>,
        device: &D,
    ) -> Result<(Self, Option<Snapshot>)> {
        let path = Self::path(dir);
        if !path.exists() {
            return Err(Error::config(format!(
                "nothing to resume: there is no {}; give the folder of the training that was interrupted, or train \
                 without resuming",
                path.display()
            )));
        }
        let mut checkpoint = Checkpoint::read(&path)?;
        Self::fill(&mut checkpoint, now, model, adam, device).map_err(|e| e.at(path.display()))
    }

    fn fill<D: Backend, M: Params<D>>(
        checkpoint: &mut Checkpoint,
        now: &Self,
        model: &mut M,
        adam: &mut Adam<D>,
        device: &D,
    ) -> Result<(Self, Option<Snapshot>)> {
        let state = checkpoint.metadata.get(STATE).ok_or_else(|| {
            Error::data("this file holds weights, but not the state of a training: it cannot be resumed from")
        })?;
        let mut state: Self = serde_json::from_str(state).map_err(|e| {
            Error::data(format!("the state of the training is damaged or of another version of genailab: {e}"))
        })?;
        state.check(now)?;
        let weights = checkpoint.take(MODEL);
        weights.restore(model)?;
        adam.import(&checkpoint.take(ADAM), &state.adam_steps, model, device)?;
        let best = checkpoint.take(BEST);
        let best = match (now.config.early_stopping, state.stopping.best_epoch == state.epochs) {
            (None, _) => None,
            (Some(_), true) => Some(weights),
            (Some(_), false) => Some(best),
        };
        state.config.epochs = now.config.epochs;
        Ok((state, best))
    }

    /// Checks that the training to resume has the settings of the one that now begins.
    fn check(&self, now: &Self) -> Result<()> {
        let fields = |state: &Self| match serde_json::to_value(&state.config) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => unreachable!("a struct of named fields serialises as an object"),
        };
        let (then, new) = (fields(self), fields(now));
        let mut differences: Vec<String> = then
            .iter()
            .filter(|(name, value)| *name != FREE && new.get(*name) != Some(value))
            .map(|(name, value)| format!("{name} was {value} and is now {}", new.get(name).unwrap_or(&().into())))
            .collect();
        for (what, then, now) in [
            ("the number of training rows", self.train_rows, now.train_rows),
            ("the number of validation rows", self.validation_rows, now.validation_rows),
        ] {
            if then != now {
                differences.push(format!("{what} was {then} and is now {now}"));
            }
        }
        if differences.is_empty() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Config,
            format!(
                "cannot resume with other settings: {}; give the same ones (only `{FREE}` may differ), or train anew in \
                 another folder",
                differences.join(", ")
            ),
        ))
    }
}
