//! What a benchmark asks of a predictor, and what the predictor may look at.
//!
//! A [`Predictor`] is fitted to a [`TrainingData`], which holds nothing of the held-out conditions, and answers with the
//! effect of a condition. What it cannot do (a gene that it has never seen, data of the wrong kind) is an
//! [`ErrorKind::Inapplicable`](crate::ErrorKind) error whose message is the reason: the benchmark lists it and goes on.

use crate::{
    Error, Result,
    data::{Condition, FeatureSources, TrainingData},
    device::Device,
    model::{SettingsFile, Trained},
};
use ndarray::{Array1, Array2};
use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

/// A way to predict effects, before it has seen data.
pub trait Predictor: Send + Sync {
    /// The name in tables and in `genailab bench --models`. A model with one entry has its
    /// [`KIND`](crate::model::Model::KIND) (`jepa-diffusion`); baselines and variants of a model are named in `snake_case`
    /// (`scaled_additive`, `vae_conditional`).
    fn name(&self) -> &str;

    /// One sentence: what it predicts, with its source.
    fn description(&self) -> &str;

    /// Everything that changes its result, for the hash that a resumed benchmark compares.
    fn settings(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Names a file of gene sets (GMT), by which genes are known that were never perturbed; ignored by predictors that have
    /// no use for it.
    fn set_gene_sets(&mut self, file: &Path) {
        let _ = file;
    }

    /// Names features by which perturbations are known that were never measured; those that a predictor has no use for are ignored. The
    /// default knows gene sets.
    fn set_features(&mut self, sources: &FeatureSources) {
        if let Some(file) = &sources.gene_sets {
            self.set_gene_sets(file);
        }
    }

    /// Lays the settings of a file over its own; what the file leaves out stays as it is.
    ///
    /// # Errors
    /// A setting that is unknown, of a wrong type or out of its range, with its line; a predictor without settings.
    fn configure(&mut self, file: &SettingsFile) -> Result<()> {
        let message = format!("the model {} has no settings", self.name());
        Err(Error::config(message).at(file.path().display()))
    }

    /// Where its training is computed; ignored by predictors that train no network.
    ///
    /// # Errors
    /// The device is not there, or the model cannot be computed on it: the message names the model.
    fn set_device(&mut self, device: Device) -> Result<()> {
        let _ = device;
        Ok(())
    }

    /// Gives it the flag that ends its training when it is set (Ctrl-C); ignored by predictors that are fitted at once.
    fn set_interrupt(&mut self, flag: &Arc<AtomicBool>) {
        let _ = flag;
    }

    /// Fits to the training fold.
    ///
    /// # Errors
    /// [`ErrorKind::Inapplicable`](crate::ErrorKind) with the reason where this data is not for it.
    fn fit(&self, training: &TrainingData) -> Result<Box<dyn Fitted>>;
}

/// A fitted predictor. It stays on the thread that fitted it: a model on CUDA cannot leave it.
pub trait Fitted {
    /// The mean effect `(genes,)` of a condition.
    ///
    /// # Errors
    /// [`ErrorKind::Inapplicable`](crate::ErrorKind) with the reason where it has no answer.
    fn effect(&self, condition: &Condition) -> Result<Array1<f32>>;

    /// `n` cells of a condition in log-normalised expression, `(n, genes)`. `None` where the predictor knows means only:
    /// then control cells shifted by the effect stand for it.
    fn cells(&self, condition: &Condition, n: usize, seed: u64) -> Option<Result<Array2<f32>>> {
        let _ = (condition, n, seed);
        None
    }

    /// The trained model behind it, for questions in the model's own terms; `None` where there is none.
    fn model(&self) -> Option<&dyn Trained> {
        None
    }
}
