//! `genailab.toml` beside a data file: how its columns and labels are read, written down once.

use super::OpenOptions;
use crate::{Error, Result, data::Expression};
use serde::Deserialize;
use std::path::Path;

/// The name of the file.
const NAME: &str = "genailab.toml";

/// The keys are the options of the command line.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Beside {
    perturbation_column: Option<String>,
    counts_layer: Option<String>,
    lane_column: Option<String>,
    dose_column: Option<String>,
    control: Names,
    drop_label: Names,
    separator: Option<String>,
    guide_suffix: Option<bool>,
    round_counts: Option<bool>,
    expression: Option<Expression>,
    obs: Option<String>,
}

/// One name or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Names {
    One(String),
    Several(Vec<String>),
}

impl Default for Names {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl Names {
    fn list(self) -> Vec<String> {
        match self {
            Self::One(name) => vec![name],
            Self::Several(names) => names,
        }
    }
}

impl OpenOptions {
    /// These options, and for what they leave open those of `genailab.toml` in the folder of `data`, if there is one; names of
    /// control and labels to drop add up.
    ///
    /// # Errors
    /// A file that cannot be read, or a key in it that is no option: the line.
    pub fn or_beside(mut self, data: &Path) -> Result<Self> {
        let path = data.with_file_name(NAME);
        if !path.is_file() {
            return Ok(self);
        }
        let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
        let beside: Beside = toml::from_str(&text).map_err(|e| {
            let line = e.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            Error::config(format!("{} line {line}: {}", path.display(), e.message().replace('\n', " ")))
        })?;
        self.perturbation_column = self.perturbation_column.or(beside.perturbation_column);
        self.counts_layer = self.counts_layer.or(beside.counts_layer);
        self.lane_column = self.lane_column.or(beside.lane_column);
        self.dose_column = self.dose_column.or(beside.dose_column);
        // A path in the file is meant from the file's folder.
        self.obs = self.obs.or(beside.obs.map(|table| data.with_file_name(table)));
        self.round_counts |= beside.round_counts.unwrap_or(false);
        self.expression = self.expression.or(beside.expression);
        self.naming.separator = self.naming.separator.or(beside.separator);
        self.naming.guide_suffix |= beside.guide_suffix.unwrap_or(false);
        self.naming.control_names.extend(beside.control.list());
        self.naming.drop_labels.extend(beside.drop_label.list());
        Ok(self)
    }
}
