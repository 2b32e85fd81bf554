//! A diffusion model as data, for the models that it is a part of.

use super::{Diffusion, config::DiffusionConfig, net::ScoreNetConfig, standard::Scales};
use crate::{Error, Result, device::Device, model::State};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The description in `model.json`.
#[derive(Serialize, Deserialize)]
struct Description {
    config: DiffusionConfig,
    dims: usize,
    condition: usize,
    scales: Scales,
}

impl Diffusion {
    /// Its kind in `model.json`.
    pub const KIND: &'static str = "score-network";

    /// The model as data.
    ///
    /// # Errors
    /// A model that is not trained.
    pub fn state(&self) -> Result<State> {
        let description = Description {
            config: self.config,
            dims: self.dims,
            condition: self.condition,
            scales: self.scales()?.clone(),
        };
        self.net.add_to(State::new(&description))
    }

    /// The model that [`Self::state`] described.
    ///
    /// # Errors
    /// Weights that do not fit the description.
    pub fn restore(state: &State, device: Device) -> Result<Self> {
        let saved: Description = state.description()?;
        check_saved(&saved.config.net, (saved.dims, saved.condition), &saved.scales, state)?;
        let mut model = Self::new(saved.dims, saved.condition, &saved.config, 0, device)?;
        model.net.fill_from(state)?;
        model.scales = Some(saved.scales);
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

/// Checks the description of a diffusion or of a flow, of rows of `dims` numbers with conditions of `condition`, before its
/// network is made.
///
/// # Errors
/// A network that is larger than the arrays of the state; scales of other widths.
pub(crate) fn check_saved(
    net: &ScoreNetConfig,
    (dims, condition): (usize, usize),
    scales: &Scales,
    state: &State,
) -> Result<()> {
    scales.check(dims, condition)?;
    match net.n_main_weights(dims, condition) {
        Some(weights) if weights <= state.n_values() => Ok(()),
        _ => Err(Error::data(
            "model.json was edited: the network that it describes is larger than its arrays; train again",
        )),
    }
}
