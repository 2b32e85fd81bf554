//! The settings of a conditional mean with a residual.

use crate::{
    Error, Result,
    data::{DataKind, Dataset, MetadataEncoder, Split},
    math::seeds::stream,
    model::{
        ModelConfig,
        flow::{Flow, FlowConfig, TransportConfig},
    },
    nn::{Activation, FinishConfig, Norm},
    train::TrainConfig,
};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

/// Purpose of the random stream that divides rows.
const DIVISION: u64 = 1;

/// What is held out, and how the rows are divided into folds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldOut {
    /// Single rows: other samples of the same metadata may be trained on.
    #[default]
    Rows,
    /// All rows of a combination of categorical values: each value was seen, but not together.
    Combinations,
}

/// Which metadata, and what is held out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetadataConfig {
    /// Columns of `obs`: `NAME`, `NAME:categorical` or `NAME:continuous`.
    pub columns: Vec<String>,
    /// What is held out.
    pub hold_out: HoldOut,
}

/// The mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MeanConfig {
    /// Folds of the cross-fitting; default 5.
    pub folds: usize,
    /// Whether there is a network beside the linear part; default true.
    pub network: bool,
    /// Width of the embeddings of levels; default 32.
    pub embedding: usize,
    /// Widths of the hidden layers; default one of 64.
    pub hidden: Vec<usize>,
    /// Share of the hidden units that are dropped in training; default 0.1.
    pub dropout: f32,
    /// Principal components of the linear part's residual that the network predicts, or as many as there are; default 32.
    pub components: usize,
}

impl Default for MeanConfig {
    fn default() -> Self {
        Self { folds: 5, network: true, embedding: 32, hidden: vec![64], dropout: 0.1, components: 32 }
    }
}

impl MeanConfig {
    pub(super) fn finish(&self) -> FinishConfig {
        FinishConfig { norm: Norm::Layer, activation: Activation::Silu, dropout: self.dropout }
    }
}

/// The distribution of the residual.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum ResidualKind {
    /// Factor analysis.
    Gaussian,
    /// A flow of the residual's principal components, conditional on the metadata, and independent noise.
    Flow {
        /// The flow.
        #[serde(default)]
        model: FlowConfig,
        /// Its solver.
        #[serde(default)]
        sampling: TransportConfig,
    },
}

/// The residual.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResidualConfig {
    /// Its distribution.
    pub distribution: ResidualKind,
    /// Hidden factors, or principal components of a flow; at most a quarter of the rows. Default 10.
    pub factors: usize,
    /// Whether the size of the residual may depend on the metadata; it does where that predicts it. Default true.
    pub scale_by_metadata: bool,
}

impl Default for ResidualConfig {
    fn default() -> Self {
        Self { distribution: ResidualKind::Gaussian, factors: 10, scale_by_metadata: true }
    }
}

/// The tables of a configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MeanResidualSettings {
    /// The metadata.
    pub metadata: MetadataConfig,
    /// The mean.
    pub mean: MeanConfig,
    /// The residual.
    pub residual: ResidualConfig,
    /// The training of the mean's network.
    pub train: TrainConfig,
    /// The training of a flow.
    pub flow_train: TrainConfig,
}

impl Default for MeanResidualSettings {
    fn default() -> Self {
        let train = TrainConfig {
            epochs: 200,
            batch_size: 64,
            learning_rate: 3e-3,
            weight_decay: 1e-2,
            clip_norm: Some(10.0),
            early_stopping: Some(20),
            ..TrainConfig::default()
        };
        Self {
            metadata: MetadataConfig::default(),
            mean: MeanConfig::default(),
            residual: ResidualConfig::default(),
            train,
            flow_train: TrainConfig { batch_size: 64, ..Flow::training() },
        }
    }
}

impl ModelConfig for MeanResidualSettings {
    fn default_for(_: DataKind) -> Self {
        Self::default()
    }

    fn validate(&self) -> Result<()> {
        let MeanConfig { folds, embedding, hidden, dropout, components, .. } = &self.mean;
        let rules = [
            (*folds < 2, "folds must be at least 2"),
            (*embedding == 0, "embedding must be at least 1"),
            (hidden.contains(&0), "hidden must not name a width of 0"),
            (!(0.0..1.0).contains(dropout), "dropout must be at least 0 and below 1"),
            (*components == 0, "components must be at least 1"),
            (self.residual.factors == 0, "factors must be at least 1"),
        ];
        if let Some((_, rule)) = rules.iter().find(|(broken, _)| *broken) {
            return Err(Error::config(format!("model configuration: {rule}")));
        }
        if let ResidualKind::Flow { model, .. } = &self.residual.distribution {
            model.validate()?;
        }
        self.train.validate()?;
        self.flow_train.validate()
    }

    fn set_epochs(&mut self, epochs: usize) {
        self.train.epochs = epochs;
        self.flow_train.epochs = epochs;
    }

    fn seed(&self) -> u64 {
        self.train.seed
    }

    fn set_metadata(&mut self, columns: &[String], hold_out: Option<HoldOut>) -> Result<()> {
        if !columns.is_empty() {
            self.metadata.columns = columns.to_vec();
        }
        self.metadata.hold_out = hold_out.unwrap_or(self.metadata.hold_out);
        Ok(())
    }

    fn needs_labels(&self) -> bool {
        false
    }

    /// The folds validate: no rows are kept apart for it. Rows whose level of a column would be in no training row are trained on.
    fn divide(&self, data: &Dataset, [_, test]: [f64; 2], seed: u64) -> Result<Option<Split>> {
        let all: Vec<usize> = (0..data.n_cells()).collect();
        let encoder = MetadataEncoder::fit(&data.cells, &all, &self.metadata.columns)?;
        let encoded = encoder.encode(&data.cells, &all)?;
        let (group_of, n_groups) = match self.metadata.hold_out {
            HoldOut::Rows => (all.clone(), all.len()),
            HoldOut::Combinations if encoder.n_levels() == 0 => {
                return Err(Error::config(
                    "--hold-out combinations: no metadata column is categorical; name one, or hold out rows",
                ));
            }
            HoldOut::Combinations => encoder.level_combinations(&encoded),
        };
        let mut groups = vec![Vec::new(); n_groups];
        group_of.iter().enumerate().for_each(|(row, &group)| groups[group].push(row));
        groups.shuffle(&mut stream(seed, DIVISION, 0));
        let mut left = vec![0_usize; encoder.n_levels()];
        encoded.levels.iter().flatten().for_each(|&level| left[level as usize] += 1);
        let wanted = (test * all.len() as f64).round() as usize;
        let mut held_out = Vec::new();
        for rows in groups {
            // The rows of a group share their levels.
            let spared = |&level: &u32| left[level as usize] > rows.len();
            if held_out.len() < wanted && encoded.levels[rows[0]].iter().all(spared) {
                encoded.levels[rows[0]].iter().for_each(|&level| left[level as usize] -= rows.len());
                held_out.extend(rows);
            }
        }
        held_out.sort_unstable();
        let train = all.into_iter().filter(|row| held_out.binary_search(row).is_err()).collect();
        Ok(Some(Split { train, validation: Vec::new(), test: held_out }))
    }
}
