//! What several commands share: how a data file is read, a configuration file, Ctrl-C.

use genailab::{
    Error, Result,
    data::{Naming, OpenOptions, Opened, QcConfig},
    model::{Likelihood, VaeConfig},
    train::TrainConfig,
};
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// How the columns of a data file are read; found by their usual names if not given.
#[derive(clap::Args, Debug, Clone, Default)]
pub struct DataArgs {
    /// Column of obs that names the perturbation [default: perturbation, condition, …]
    #[arg(long, value_name = "COLUMN")]
    pub perturbation_column: Option<String>,
    /// Layer that holds the counts [default: layer "counts", else X, else raw]
    #[arg(long, value_name = "LAYER")]
    pub counts_layer: Option<String>,
    /// Column of obs that names the lane, batch or replicate [default: gem_group, batch, replicate, …]
    #[arg(long, value_name = "COLUMN")]
    pub lane_column: Option<String>,
    /// Read GENE_1 and GENE_2 as two guides of GENE rather than as two perturbations
    #[arg(long)]
    pub guide_suffix: bool,
}

impl DataArgs {
    /// Opens a cells or an effects dataset and says what was noticed while reading it.
    pub fn open(&self, file: &Path) -> Result<Opened> {
        let options = OpenOptions {
            perturbation_column: self.perturbation_column.clone(),
            counts_layer: self.counts_layer.clone(),
            lane_column: self.lane_column.clone(),
            naming: Naming { guide_suffix: self.guide_suffix, ..Naming::default() },
        };
        genailab::data::open_with(file, &options)
    }
}

/// Fractions of each perturbation's cells (or of the perturbations, for effects) that are held out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fractions {
    /// Watched while training.
    pub validation: f64,
    /// Judged at the end.
    pub test: f64,
}

impl Default for Fractions {
    fn default() -> Self {
        Self { validation: 0.1, test: 0.1 }
    }
}

/// A configuration file: every key may be left out, an unknown one is refused.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The model.
    pub model: VaeConfig,
    /// Its training.
    pub train: TrainConfig,
    /// What is held out.
    pub split: Fractions,
    /// Quality control before anything else; none if left out.
    pub qc: Option<QcConfig>,
}

impl Config {
    /// Reads a TOML file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
        toml::from_str(&text).map_err(|e| {
            let place = e.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            Error::config(format!("{} line {place}: {}", path.display(), e.message().replace('\n', " ")))
        })
    }

    /// What suits effects where nothing else is asked for: few rows, real values.
    pub fn for_effects() -> Self {
        Self {
            model: VaeConfig {
                latent: 16,
                hidden: vec![128],
                likelihood: Likelihood::Gaussian,
                condition: 32,
                ..VaeConfig::default()
            },
            train: TrainConfig { epochs: 200, batch_size: 32, ..TrainConfig::default() },
            ..Self::default()
        }
    }
}

/// A flag that Ctrl-C raises: the first asks the training to stop at its last checkpoint, the second ends the program.
pub fn interrupt_flag() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&flag);
    ctrlc::set_handler(move || {
        if raised.swap(true, Ordering::SeqCst) {
            std::process::exit(1);
        }
        eprintln!("stopping; press Ctrl-C again to stop at once");
    })
    .map_err(|e| Error::config(format!("cannot listen for Ctrl-C: {e}")))?;
    Ok(flag)
}

/// Makes the output folder, so that a folder that cannot be written is known before any work is done.
pub fn output_folder(dir: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(dir).map_err(|e| Error::io("create the folder", dir, e))?;
    tempfile::Builder::new()
        .prefix(".genailab-")
        .tempfile_in(dir)
        .map_err(|e| Error::io("write into the folder", dir, e))?;
    Ok(dir.to_owned())
}
