//! A saved flow: `model.json` says what it is, `model.safetensors` holds its weights.

use super::{Flow, config::FlowConfig, model::Trained};
use crate::{
    Result,
    device::Device,
    model::folder::{self, Header},
};
use serde::{Deserialize, Serialize};
use std::path::Path;

const KIND: &str = "flow";

/// The content of `model.json`.
#[derive(Serialize, Deserialize)]
struct Saved {
    #[serde(flatten)]
    header: Header,
    config: FlowConfig,
    dims: usize,
    condition: usize,
    trained: Trained,
}

impl Flow {
    /// Writes the flow to a folder: `model.json` and `model.safetensors`.
    ///
    /// # Errors
    /// A flow that is not trained; a folder that cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let saved = Saved {
            header: Header::of(KIND),
            config: self.config,
            dims: self.dims,
            condition: self.condition,
            trained: self.trained()?.clone(),
        };
        folder::write_description(dir, &saved)?;
        self.net.save(&folder::weights(dir))
    }

    /// Reads a flow back from its folder.
    ///
    /// # Errors
    /// No model there, a model of another kind or of a newer format, weights that do not fit.
    pub fn load(dir: &Path, device: Device) -> Result<Self> {
        let saved: Saved = folder::read_description(dir, KIND)?;
        let weights = folder::finished_weights(dir)?;
        let mut flow = Self::new(saved.dims, saved.condition, &saved.config, 0, device)?;
        flow.net.load(&weights)?;
        flow.trained = Some(saved.trained);
        Ok(flow)
    }
}
