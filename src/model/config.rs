//! The settings of a model: what a configuration file and the options of a command can say to any of them.

use super::HoldOut;
use crate::{
    Error, Result,
    data::{CourseColumns, DataKind, Dataset, FeatureSources, Split},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::path::Path;

/// Settings of a model and of its training: the tables of a configuration file.
pub trait ModelConfig: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// The defaults for a dataset of this kind.
    fn default_for(kind: DataKind) -> Self;

    /// Checks every setting.
    ///
    /// # Errors
    /// A setting out of its range, by name.
    fn validate(&self) -> Result<()>;

    /// Sets the number of passes over the training data.
    fn set_epochs(&mut self, epochs: usize);

    /// Names a file of gene sets (GMT), by which genes are known that were never perturbed; ignored by models that have no
    /// use for it.
    fn set_gene_sets(&mut self, file: &Path) {
        let _ = file;
    }

    /// Names features by which perturbations are known that were never measured; those that a model has no use for are ignored. The
    /// default knows gene sets.
    fn set_features(&mut self, sources: &FeatureSources) {
        if let Some(file) = &sources.gene_sets {
            self.set_gene_sets(file);
        }
    }

    /// The seed, where a file sets it.
    fn seed(&self) -> u64;

    /// The settings of a size (`tiny`, `small`, `medium`, `large`); `None` for a model that has one size.
    fn of_size(size: &str) -> Option<Self> {
        let _ = size;
        None
    }

    /// The size for a training on so many cells; `None` for a model that has one size.
    fn size_for(cells: usize) -> Option<&'static str> {
        let _ = cells;
        None
    }

    /// Trains a part of the model only: `a`, `b` or `ab` of a model that is trained in phases.
    ///
    /// # Errors
    /// A phase that there is not.
    fn set_phase(&mut self, phase: &str) -> Result<()> {
        Err(Error::config(format!("--phase {phase}: this model is not trained in phases; leave the option out")))
    }

    /// Begins with the encoder of a trained model of other data, in the folder `dir`.
    ///
    /// # Errors
    /// A model that cannot.
    fn set_from(&mut self, dir: &Path) -> Result<()> {
        Err(Error::config(format!("--from {}: this model begins anew; leave the option out", dir.display())))
    }

    /// Names the columns of times, doses, courses and contexts of cells; those that are not named stay as they are.
    ///
    /// # Errors
    /// A model that knows no times.
    fn set_course_columns(&mut self, columns: &CourseColumns) -> Result<()> {
        let _ = columns;
        Err(Error::config(
            "--time-column, --course-column: this model knows no times; leave the option out, or train world-model or static-dynamic",
        ))
    }

    /// How cells are divided for a model that is not judged on cells of the conditions it has seen; `held_out` are the shares of
    /// validation and test. `None`: the cells of each perturbation are divided.
    ///
    /// # Errors
    /// Columns that are missing.
    fn divide(&self, data: &Dataset, held_out: [f64; 2], seed: u64) -> Result<Option<Split>> {
        let _ = (data, held_out, seed);
        Ok(None)
    }

    /// Names the columns of metadata that expression is predicted from, and what is held out.
    ///
    /// # Errors
    /// A model that knows no metadata.
    fn set_metadata(&mut self, columns: &[String], hold_out: Option<HoldOut>) -> Result<()> {
        let _ = (columns, hold_out);
        Err(Error::config(
            "--metadata, --hold-out: this model knows no metadata; leave the option out, or train mean-residual",
        ))
    }

    /// Names columns of cells that are conditions beside the perturbation.
    ///
    /// # Errors
    /// A model that takes none.
    fn set_covariates(&mut self, columns: &[String]) -> Result<()> {
        Err(Error::config(format!(
            "--covariate {}: this model takes no covariates; leave the option out, or train a vae",
            columns.join(" --covariate ")
        )))
    }

    /// Whether the cells must be labelled with their perturbation.
    fn needs_labels(&self) -> bool {
        !self.encoder_alone()
    }

    /// Whether the trained model embeds cells and predicts nothing: the training is then judged by its embeddings.
    fn encoder_alone(&self) -> bool {
        false
    }
}

/// The settings of a model that has none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

impl ModelConfig for NoSettings {
    fn default_for(_: DataKind) -> Self {
        Self {}
    }
    fn validate(&self) -> Result<()> {
        Ok(())
    }
    fn set_epochs(&mut self, _: usize) {}
    fn seed(&self) -> u64 {
        0
    }
}
