//! A saved diffusion model: `model.json` says what it is, `model.safetensors` holds its weights.

use super::{Diffusion, config::DiffusionConfig, standard::Scales};
use crate::{
    Result,
    device::Device,
    model::folder::{self, Header},
};
use serde::{Deserialize, Serialize};
use std::path::Path;

const KIND: &str = "diffusion";

/// The content of `model.json`.
#[derive(Serialize, Deserialize)]
struct Saved {
    #[serde(flatten)]
    header: Header,
    config: DiffusionConfig,
    dims: usize,
    condition: usize,
    scales: Scales,
}

impl Diffusion {
    /// Writes the model to a folder: `model.json` and `model.safetensors`.
    ///
    /// # Errors
    /// A model that is not trained; a folder that cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let saved = Saved {
            header: Header::of(KIND),
            config: self.config,
            dims: self.dims,
            condition: self.condition,
            scales: self.scales()?.clone(),
        };
        folder::write_description(dir, &saved)?;
        self.net.save(&folder::weights(dir))
    }

    /// Reads a model back from its folder.
    ///
    /// # Errors
    /// No model there, a model of another kind or of a newer format, weights that do not fit.
    pub fn load(dir: &Path, device: Device) -> Result<Self> {
        let saved: Saved = folder::read_description(dir, KIND)?;
        let weights = folder::finished_weights(dir)?;
        let mut model = Self::new(saved.dims, saved.condition, &saved.config, 0, device)?;
        model.net.load(&weights)?;
        model.scales = Some(saved.scales);
        Ok(model)
    }
}
