//! A saved model of cells: `model.json` says what it is, `model.safetensors` holds its weights.

use super::{
    cell_jepa::{CellJepa, on_device},
    config::CellJepaConfig,
};
use crate::{
    Error, ErrorKind, Result,
    device::Device,
    model::folder::{self, Header},
    nn::{Snapshot, load_params, save_params},
};
use serde::{Deserialize, Serialize};
use std::path::Path;

const KIND: &str = "cell-jepa";

/// The content of `model.json`.
#[derive(Serialize, Deserialize)]
struct Saved {
    #[serde(flatten)]
    header: Header,
    config: CellJepaConfig,
    genes: Vec<String>,
    target_sum: f32,
}

impl CellJepa {
    /// Writes what the model is, without weights, to `dir/model.json`: an interrupted training can then be resumed.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn save_description(&self, dir: &Path) -> Result<()> {
        folder::write_description(dir, &self.description())
    }

    /// Checks that `dir/model.json` describes this model, so that a training which is resumed there is the same one.
    ///
    /// # Errors
    /// No description there, or one of another model: the settings that differ, or what else does.
    pub fn check_description(&self, dir: &Path) -> Result<()> {
        let (then, now): (Saved, Saved) = (folder::read_description(dir, KIND)?, self.description());
        let mut differences = folder::changed_settings(&then.config, &now.config);
        if then.genes != now.genes || then.target_sum != now.target_sum {
            differences.push("the data, the split or the seed differ (other genes or other library sizes)".to_owned());
        }
        folder::refuse_differences(dir, &differences)
    }

    fn description(&self) -> Saved {
        Saved {
            header: Header::of(KIND),
            config: self.config.clone(),
            genes: self.genes.clone(),
            target_sum: self.target_sum,
        }
    }

    /// Writes the model to a folder: `model.json` and `model.safetensors`.
    ///
    /// # Errors
    /// A model whose training failed (a collapse): its weights are no good; a folder that cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        if let Some(failure) = &self.failure {
            return Err(Error::new(
                ErrorKind::Numeric,
                format!("this model is not saved, because its training failed: {failure}"),
            ));
        }
        self.save_description(dir)?;
        on_device!(&self.net, net => save_params(net, &folder::weights(dir)))
    }

    /// All its weights, those of the teacher too.
    ///
    /// # Errors
    /// Those of the network's walk.
    pub(super) fn snapshot(&self) -> Result<Snapshot> {
        on_device!(&self.net, net => Snapshot::of(net))
    }

    /// From parts that were saved with another model.
    ///
    /// # Errors
    /// Weights that do not fit.
    pub(super) fn restored(
        config: CellJepaConfig,
        genes: Vec<String>,
        target_sum: f32,
        weights: &Snapshot,
    ) -> Result<Self> {
        let mut model = Self::build(config, genes, target_sum, 0, Device::Cpu)?;
        on_device!(&mut model.net, net => weights.restore(net))?;
        Ok(model)
    }

    /// Reads a model back from its folder.
    ///
    /// # Errors
    /// No model there, a model of another kind or of a newer format, weights that do not fit.
    pub fn load(dir: &Path, device: Device) -> Result<Self> {
        let saved: Saved = folder::read_description(dir, KIND)?;
        let weights = folder::finished_weights(dir)?;
        let mut model = Self::build(saved.config, saved.genes, saved.target_sum, 0, device)?;
        on_device!(&mut model.net, net => load_params(net, &weights))?;
        Ok(model)
    }
}
