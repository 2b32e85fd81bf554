//! A flow model as data, for the models that it is a part of.

use super::{Flow, config::FlowConfig, model::Trained};
use crate::{
    Result,
    device::Device,
    model::{State, diffusion::saved::check_saved},
};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The description in `model.json`.
#[derive(Serialize, Deserialize)]
struct Description {
    config: FlowConfig,
    dims: usize,
    condition: usize,
    trained: Trained,
}

impl Flow {
    /// Its kind in `model.json`.
    pub const KIND: &'static str = "flow";

    /// The model as data.
    ///
    /// # Errors
    /// A model that is not trained.
    pub fn state(&self) -> Result<State> {
        let description = Description {
            config: self.config,
            dims: self.dims,
            condition: self.condition,
            trained: self.trained()?.clone(),
        };
        self.net.add_to(State::new(&description))
    }

    /// The model that [`Self::state`] described.
    ///
    /// # Errors
    /// Weights that do not fit the description.
    pub fn restore(state: &State, device: Device) -> Result<Self> {
        let saved: Description = state.description()?;
        check_saved(&saved.config.net, (saved.dims, saved.condition), &saved.trained.scales, state)?;
        let mut model = Self::new(saved.dims, saved.condition, &saved.config, 0, device)?;
        model.net.fill_from(state)?;
        model.trained = Some(saved.trained);
        Ok(model)
    }

    /// Writes the model to a folder: `model.json` and `model.safetensors`.
    ///
    /// # Errors
    /// A model that is not trained; a folder that cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        self.state()?.write(dir, Self::KIND)
    }

    /// Reads a model back from its folder.
    ///
    /// # Errors
    /// No model there, one of another kind or version, weights that do not fit.
    pub fn load(dir: &Path, device: Device) -> Result<Self> {
        Self::restore(&State::read(dir, Self::KIND)?, device).map_err(|e| e.at(dir.display()))
    }
}
