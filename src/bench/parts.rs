//! Finished parts of a benchmark (one model on one split), a file each, kept from run to run.
//!
//! A part is found by the SHA-256 of everything that its scores depend on (data, split, model and settings, metrics,
//! version), so a second run reads what the first computed, and a changed setting recomputes what it changes and nothing
//! else. The first line of a file is the SHA-256 of the rest: half a file, or a changed one, is computed again.

use super::{Absent, InteractionCurve, MeanPoints, Row, data::sha256, own_space::OwnSpacePart};
use crate::{Error, Result, data::Condition, files::write_atomically};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// One model on one split, finished.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) seed: u64,
    pub(super) model: String,
    pub(super) fit_seconds: Option<f64>,
    pub(super) predict_seconds: Option<f64>,
    /// Whether the model predicts cells itself.
    pub(super) draws_cells: bool,
    /// Condition, metric, value.
    pub(super) scores: Vec<(String, String, f64)>,
    /// Metric, reason, number of conditions.
    pub(super) absent: Vec<(String, String, usize)>,
    /// Effect of each judged condition, of the first split only: for figures.
    pub(super) effects: Option<Vec<Option<Vec<f32>>>>,
    /// How synergies are ranked, of the first split only: for figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) interactions: Option<InteractionCurve>,
    /// The judged conditions in the common space, of the first split only: for figures. Those of a model hold its
    /// predictions, those of the observed effects the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) points: Option<MeanPoints>,
    /// The model in its own space, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) own_space: Option<OwnSpacePart>,
    /// Why the model failed, where it did; such a part is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<String>,
    /// What the model's training did otherwise than its settings say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) adjusted: Option<String>,
    /// The judged conditions, in the part that holds the observed effects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) conditions: Vec<Condition>,
}

impl Part {
    pub(super) fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        self.scores.iter().map(|(perturbation, metric, value)| Row {
            seed: self.seed,
            model: self.model.clone(),
            perturbation: perturbation.clone(),
            metric: metric.clone(),
            value: *value,
        })
    }

    pub(super) fn absent(&self) -> impl Iterator<Item = Absent> + '_ {
        self.absent.iter().map(|(metric, reason, n)| Absent {
            model: self.model.clone(),
            metric: metric.clone(),
            reason: reason.clone(),
            n: *n,
        })
    }
}

/// The folder of parts; without one nothing is kept.
pub(super) struct Parts(Option<PathBuf>);

/// The state of a part on disk.
pub(super) enum Found {
    /// It is finished.
    Whole(Box<Part>),
    /// It is damaged: the file's name.
    Damaged(String),
    /// It was never computed.
    Nothing,
}

impl Parts {
    /// Parts in `folder/parts`, which is made when the first one is kept.
    pub(super) fn new(folder: Option<&Path>) -> Self {
        Self(folder.map(|folder| folder.join("parts")))
    }

    /// The name of the part that depends on `material`.
    pub(super) fn key(material: &serde_json::Value) -> String {
        sha256(material.to_string().as_bytes())[..32].to_owned()
    }

    fn path(&self, key: &str) -> Option<PathBuf> {
        self.0.as_ref().map(|folder| folder.join(format!("{key}.json")))
    }

    pub(super) fn read(&self, key: &str) -> Found {
        let Some(path) = self.path(key) else { return Found::Nothing };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Found::Nothing,
            Err(_) => return Found::Damaged(path.display().to_string()),
        };
        let body = bytes.iter().position(|&byte| byte == b'\n').map(|end| (&bytes[..end], &bytes[end + 1..]));
        body.filter(|(sum, body)| sha256(body).as_bytes() == *sum)
            .and_then(|(_, body)| serde_json::from_slice(body).ok())
            .map_or_else(|| Found::Damaged(path.display().to_string()), |part| Found::Whole(Box::new(part)))
    }

    pub(super) fn write(&self, key: &str, part: &Part) -> Result<()> {
        let (Some(folder), Some(path)) = (&self.0, self.path(key)) else { return Ok(()) };
        fs::create_dir_all(folder).map_err(|error| Error::io("create the folder", folder, error))?;
        let body = serde_json::to_vec(part).expect("every score is finite and every name is text");
        let mut bytes = sha256(&body).into_bytes();
        bytes.push(b'\n');
        bytes.extend(body);
        write_atomically(&path, &bytes)
    }
}
