//! A saved model: `model.json` says what it is, `model.safetensors` holds its weights.

use super::{
    condition::Vocabulary,
    config::VaeConfig,
    count_vae::{CountVae, TrainedOn, on_device},
};
use crate::model::folder::{self, Header};
use crate::{
    Result,
    device::Device,
    nn::{load_params, save_params},
};
use serde::{Deserialize, Serialize};
use std::path::Path;

const KIND: &str = "count-vae";

/// The content of `model.json`.
#[derive(Serialize, Deserialize)]
struct Saved {
    #[serde(flatten)]
    header: Header,
    trained_on: TrainedOn,
    with_remainder: bool,
    config: VaeConfig,
    vocabulary: Vocabulary,
}

impl CountVae {
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
        let then: Saved = folder::read_description(dir, KIND)?;
        let now = self.description();
        let mut differences = folder::changed_settings(&then.config, &now.config);
        if then.vocabulary != now.vocabulary
            || then.trained_on != now.trained_on
            || then.with_remainder != now.with_remainder
        {
            differences.push(
                "the data, the split or the seed differ (other genes, perturbations, lanes or library sizes)"
                    .to_owned(),
            );
        }
        folder::refuse_differences(dir, &differences)
    }

    fn description(&self) -> Saved {
        Saved {
            header: Header::of(KIND),
            trained_on: self.trained_on,
            with_remainder: self.with_remainder,
            config: self.config.clone(),
            vocabulary: self.vocabulary.clone(),
        }
    }

    /// Writes the model to a folder: `model.json` and `model.safetensors`.
    ///
    /// # Errors
    /// A folder that cannot be written; nothing is left half-written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        self.save_description(dir)?;
        on_device!(&self.net, net => save_params(net, &folder::weights(dir)))
    }

    /// Reads a model back from its folder.
    ///
    /// # Errors
    /// No model there, a model of another kind or of a newer format, weights that do not fit.
    pub fn load(dir: &Path, device: Device) -> Result<Self> {
        let saved: Saved = folder::read_description(dir, KIND)?;
        let mut model =
            Self::build(saved.config, saved.vocabulary, saved.trained_on, saved.with_remainder, None, 0, device)?;
        let weights = folder::finished_weights(dir)?;
        on_device!(&mut model.net, net => load_params(net, &weights))?;
        Ok(model)
    }
}
