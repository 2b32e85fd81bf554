//! A flow model as data, for the models that it is a part of.

use super::{Flow, config::FlowConfig, model::Trained};
use crate::{Result, device::Device, model::State};
use serde::{Deserialize, Serialize};

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
        let mut model = Self::new(saved.dims, saved.condition, &saved.config, 0, device)?;
        model.net.fill_from(state)?;
        model.trained = Some(saved.trained);
        Ok(model)
    }
}
